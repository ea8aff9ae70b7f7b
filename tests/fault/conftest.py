"""Fixtures of the fault matrix."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from promise import MODES, Delivery

from harness import Postgres, Run, Walferry
from harness.kafka_cluster import KafkaCluster
from harness.walferry import merged


@pytest.fixture(scope="session")
def whole_run_cluster(run: Run) -> Iterator[KafkaCluster]:
    brokers = KafkaCluster(run).start()
    yield brokers
    brokers.stop()


@pytest.fixture
def cluster(whole_run_cluster: KafkaCluster) -> KafkaCluster:
    """Three brokers, all of them up; a test need not bring back what it has killed."""
    return whole_run_cluster.start()


@pytest.fixture
def cluster_task(cluster: KafkaCluster, task: Callable[..., Walferry]) -> Callable[..., Walferry]:
    """Like task(), into the three brokers, with a copy of each topic on each."""
    def make(**changes: Any) -> Walferry:
        return task(**merged({"sink": {"brokers": cluster.brokers, "topic_replication": 3}}, changes))

    return make


@pytest.fixture(params=MODES)
def delivery(request: pytest.FixtureRequest) -> Delivery:
    """Both promises in turn."""
    return Delivery(request.param)


@pytest.fixture(scope="module")
def small_server(run: Run) -> Iterator[Postgres]:
    """A server with little of everything: one slot, two WAL senders, few connections."""
    server = Postgres(run, {"max_replication_slots": 1, "max_wal_senders": 2, "max_connections": 12,
                            "superuser_reserved_connections": 3, "min_wal_size": "32MB", "max_wal_size": "32MB"})
    server.install_walferry()
    server.start()
    yield server
    server.stop("immediate")


@pytest.fixture
def role(server: Postgres, test_id: str) -> Iterator[str]:
    """A role of the test's own, with a password, that reads replication streams."""
    name = test_id[:50] + "_role"
    server.psql(f"create role \"{name}\" login replication password 'first'")
    yield name
    server.hba()
    server.psql(f'drop owned by "{name}"; drop role "{name}"')

"""Fixtures over real parts. One server and one broker serve the whole run; each test has its own database, slot
and topics."""

import re
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from harness import Kafka, Postgres, Run, Walferry
from harness.guarded_kafka import GuardedKafka, start_guarded_kafka
from harness.walferry import merged

# The broker takes what a large test sends; a test of the limit sets max.message.bytes on its topic.
LARGEST_MESSAGE = 256 * 1024 * 1024


@pytest.fixture(scope="session")
def run() -> Iterator[Run]:
    """The folder and the processes of this pytest run."""
    with Run() as whole:
        yield whole


@pytest.fixture(scope="session")
def server(run: Run) -> Postgres:
    """The PostgreSQL server, with the plugin and the extension installed."""
    postgres = Postgres(run)
    postgres.install_walferry()
    return postgres.start()


@pytest.fixture(scope="session")
def broker(run: Run) -> Kafka:
    """The Kafka broker. It creates no topic by itself."""
    return Kafka(run, {"message.max.bytes": LARGEST_MESSAGE, "socket.request.max.bytes": 2 * LARGEST_MESSAGE},
                 heap="1g").start()


@pytest.fixture(scope="session")
def guarded_kafka(run: Run) -> Iterator[GuardedKafka]:
    """A second broker: with SASL, TLS and rules about who may write, and one listener behind a proxy."""
    guarded = start_guarded_kafka(run)
    yield guarded
    guarded.broker.stop()


@pytest.fixture
def test_id(request: pytest.FixtureRequest) -> str:
    """A name for this test's things: a valid identifier, unique in the run."""
    counter = request.config.stash.setdefault(_COUNTER, [0])
    counter[0] += 1
    return f"{re.sub(r'[^a-z0-9]+', '_', request.node.name.lower())[:40].strip('_')}_{counter[0]}"


_COUNTER: pytest.StashKey[list[int]] = pytest.StashKey()


@pytest.fixture
def database(server: Postgres, test_id: str) -> Iterator[str]:
    """A new, empty database; dropped afterwards, with its slots."""
    if not server.running():  # the test before may have left it down
        server.start()
    server.create_database(test_id)
    yield test_id
    if not server.running():
        server.start()
    server.drop_database(test_id)


@pytest.fixture
def slot_name(test_id: str) -> str:
    """A name for a slot; also the name of the task, from which the slot's name is made."""
    return test_id


@pytest.fixture
def topic_prefix(broker: Kafka, test_id: str) -> Iterator[str]:
    """What the names of this test's topics begin with; those topics are deleted afterwards."""
    if not broker.running():
        broker.start()
    prefix = test_id + "."
    yield prefix
    if not broker.running():
        broker.start()
    for topic in broker.topics():
        if topic.startswith(prefix):
            broker.delete_topic(topic)


@pytest.fixture
def task(run: Run, server: Postgres, broker: Kafka, database: str, slot_name: str,
         topic_prefix: str) -> Iterator[Callable[..., Walferry]]:
    """A factory: task(source={…}, sink={…}, …) makes a `walferry run` of this test's database into topics
    `<topic_prefix>{schema}.{table}`, and what is given is merged over that. Killed when the test ends."""
    made: list[Walferry] = []

    def make(**changes: Any) -> Walferry:
        base = {
            "name": slot_name,
            "source": {"dsn": server.dsn(database)},
            "sink": {"brokers": broker.brokers, "format": "canal-json", "topic": topic_prefix + "{schema}.{table}"},
        }
        made.append(Walferry(run, merged(base, changes)))
        return made[-1]

    yield make
    for walferry in made:
        if walferry.running():
            walferry.kill()

"""The corpus, sent once through everything."""

from collections.abc import Iterator

import pytest
from harness import Kafka, Postgres, Run
from workbench import Workbench


@pytest.fixture(scope="module")
def workbench(run: Run, server: Postgres, broker: Kafka, request: pytest.FixtureRequest) -> Iterator[Workbench]:
    """A database, a slot and a topic for all tests of the module."""
    bench = Workbench(run, server, broker, request.module.__name__)
    yield bench
    bench.close()

"""Fixtures of the shipper's tests."""

from collections.abc import Iterator

import pytest

from harness import Run
from harness.guarded_kafka import GuardedKafka, start_guarded_kafka


@pytest.fixture(scope="session")
def guarded_kafka(run: Run) -> Iterator[GuardedKafka]:
    """A second broker: with SASL, TLS and rules about who may write, and one listener behind a proxy."""
    guarded = start_guarded_kafka(run)
    yield guarded
    guarded.broker.stop()

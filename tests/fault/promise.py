"""The two promises of delivery, and what a reader of each sees."""

from dataclasses import dataclass
from typing import Any

import pytest
from confluent_kafka import KafkaException, TopicPartition
from confluent_kafka.admin import AclOperation

from harness.guarded_kafka import GuardedKafka
from harness.kafka import Kafka, Record
from harness.stream import CounterLoad, assert_ordered, without_repeats

MODES = ["at-least-once", "exactly-once"]

# Of a test that takes the fixture `delivery`: for the default promise alone, where the other makes no difference.
at_least_once = pytest.mark.parametrize("delivery", ["at-least-once"], indirect=True)


@dataclass(frozen=True)
class Delivery:
    """`mode` as sink.delivery names it."""

    mode: str

    def sink(self, **more: Any) -> dict[str, Any]:
        """What a task's sink needs for it."""
        return {"delivery": self.mode, **more}

    def allow(self, guarded: GuardedKafka, task: str, topic: str) -> None:
        """Lets the user of the guarded broker do what a task with one topic needs."""
        for name in (topic, f"walferry.progress.{task}"):
            guarded.allow(name, AclOperation.WRITE, AclOperation.READ, AclOperation.DESCRIBE, AclOperation.CREATE,
                          AclOperation.DESCRIBE_CONFIGS)
        for producer in (0, 1):
            guarded.allow_transactions(f"walferry-{task}-{producer}")

    @property
    def isolation(self) -> str:
        return "read_committed" if self.mode == "exactly-once" else "read_uncommitted"

    def repeats(self, load: CounterLoad, broker: Kafka, topic: str) -> int:
        """Asserts that the topic holds all of the load's changes in order per key; how many came again."""
        return load.check(broker, topic, self.isolation)

    def consume(self, broker: Kafka, topic: str) -> list[Record]:
        """What a reader gets who trusts this promise: under exactly-once one that reads committed records only."""
        return broker.consume(topic, self.isolation)

    def ids(self, broker: Kafka, topic: str) -> list[int]:
        """The column `id` of all rows in the topic, in order; fails where a position comes twice or out of order."""
        records = self.consume(broker, topic)
        unique, repeats = without_repeats(records)
        assert repeats == 0, f"{repeats} of {len(records)} records came again"
        assert_ordered(unique)
        return row_ids(unique)


def written(broker: Kafka, topic: str) -> int:
    """How many records stand in partition 0, those of an open Kafka transaction too."""
    consumer = broker.consumer(isolation_level="read_uncommitted")
    try:
        return consumer.get_watermark_offsets(TopicPartition(topic, 0), timeout=10)[1]
    except KafkaException:  # there is no such topic yet
        return 0
    finally:
        consumer.close()


def row_ids(records: list[Record]) -> list[int]:
    return [int(record.json["data"][0]["id"]) for record in records]

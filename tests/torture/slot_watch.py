"""Looks from outside at what the shipper tells the server: never more than its last progress record says."""

import contextlib
import json
import threading
import time
from collections import deque
from typing import Any

import psycopg2
from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition

from harness import Kafka, Postgres
from harness.postgres import lsn_from_text
from stage import silent_logger

_EXAMPLES = 10
_VISIBLE = 3.0  # seconds that a committed record may take to be seen


class SlotWatch:
    """Asks for the slot's confirmed position, then for the progress records that are there by then. The position must not
    be past what the last of them allows. Before the first record there is nothing to compare."""

    def __init__(self, server: Postgres, broker: Kafka, database: str, slot: str, topic: str,
                 every: float) -> None:
        self._server, self._database, self._slot, self._topic = server, database, slot, topic
        self._every = every  # seconds
        self._consumer: Any = Consumer({
            "bootstrap.servers": broker.brokers, "group.id": f"watch-{slot}", "enable.auto.commit": False,
            "isolation.level": "read_committed", "enable.partition.eof": True, "auto.offset.reset": "error",
            "reconnect.backoff.max.ms": 500, "fetch.wait.max.ms": 20, "logger": silent_logger()})
        self._next = -1  # offset of the first record that was not read; -1: the topic was not seen
        self._last: tuple[tuple[int, int], int] | None = None  # (epoch, sequence), what may be confirmed
        self._recent: deque[tuple[int, int]] = deque(maxlen=200)  # when the latest were written, in ms, and what they allow
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="slot watch", daemon=True)
        self.comparisons = 0
        self.violations = 0
        self.findings: list[str] = []
        self.failure: BaseException | None = None

    def __enter__(self) -> "SlotWatch":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join(30)
        self._consumer.close()

    def _watch(self) -> None:
        try:
            while not self._ended.wait(0.02):
                with contextlib.suppress(psycopg2.Error, KafkaException), \
                        contextlib.closing(self._server.connect(self._database)) as connection:
                    cursor = connection.cursor()
                    while not self._ended.wait(self._every):
                        cursor.execute("select confirmed_flush_lsn from pg_replication_slots where slot_name = %s", (self._slot,))
                        row = cursor.fetchone()
                        if row is not None and row[0] is not None:
                            self._compare(lsn_from_text(row[0]))
        except BaseException as failure:
            self.failure = failure
            raise

    def _compare(self, confirmed: int) -> None:
        asked_at = time.time() * 1000
        if not self._read_records() or self._last is None:
            return
        self.comparisons += 1
        # A record that Kafka has taken in a transaction is seen a moment after the commit: one written before the slot was
        # asked counts.
        deadline = time.monotonic() + _VISIBLE
        while confirmed > self._last[1] and not any(written <= asked_at and confirmed <= allowed
                                                    for written, allowed in self._recent):
            if time.monotonic() > deadline:
                self._violated(confirmed)
                return
            if not self._read_records() or self._ended.wait(0.05):
                return

    def _violated(self, confirmed: int) -> None:
        assert self._last is not None
        self.violations += 1
        if len(self.findings) < _EXAMPLES:
            (epoch, sequence), allowed = self._last
            self.findings.append(f"the slot is confirmed up to {confirmed:X}, progress record {epoch}.{sequence} says "
                                 f"{allowed:X}")

    def _read_records(self) -> bool:
        """All that a reader can see now: the slot's position was read before. False if it could not be had."""
        partition = TopicPartition(self._topic, 0)
        if self._next < 0:
            if self._topic not in self._consumer.list_topics(timeout=2).topics:
                return False
            self._next = self._consumer.get_watermark_offsets(partition, timeout=2)[0]
            self._consumer.assign([TopicPartition(self._topic, 0, self._next)])
        end = self._consumer.get_watermark_offsets(partition, timeout=2)[1]
        deadline = time.monotonic() + 10
        while self._next < end:
            if time.monotonic() > deadline or self._ended.is_set():
                return False
            for message in self._consumer.consume(1000, timeout=0.05):
                if message.error() is None:
                    self._take(message.timestamp()[1], message.value())
                    self._next = message.offset() + 1
                elif message.error().code() == KafkaError._PARTITION_EOF:  # past the marks of transactions, too
                    self._next = max(self._next, message.offset())
        return True

    def _take(self, written: int, value: bytes | None) -> None:
        if value is None:
            return
        record = json.loads(value)
        if record["state"] != "streaming":
            return
        order = int(record["epoch"]), int(record["sequence"])
        if self._last is None or self._last[0] <= order:
            self._last = order, min(lsn_from_text(record["position"]), lsn_from_text(record["reread"]))
            self._recent.append((written, self._last[1]))

"""Stage "kafka": a backlog from its slot through `walferry run` into a topic of a real broker.

The topic stamps records with the time at which the broker appends them (LogAppendTime), so the rate is taken between
the first and the last record and holds no start-up; what start-up costs is its own number.
"""

import contextlib
import itertools
import re
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from confluent_kafka import KafkaError, Producer, TopicPartition

from bench.drain import copy_slot, load_behind_slot
from bench.measure import cpu_seconds, memory_mb, summaries
from bench.workloads import Workload
from harness import Kafka, Postgres, Run, Walferry
from harness.kafka import LIBRARIES
from harness.postgres import lsn_from_text
from harness.run import wait_until

BROKER_SETTINGS = {"message.max.bytes": 10485760, "num.io.threads": 2, "num.network.threads": 2}

# Beyond the defaults: the compression that every measured producer uses, Debezium too.
SHIPPER_KAFKA = {"compression.type": "lz4"}

_SLOT, _COPY = "bench_base", "bench_run"
_TIMEOUT_S = 1800.0
_SAMPLE = 1000
_WARM_UP_RECORDS = 500_000
_WARM_UP_TRANSACTION = 5_000
_numbers = itertools.count(1)


def broker_version() -> str:
    for jar in LIBRARIES.glob("kafka_2*.jar"):
        found = re.search(r"-([0-9.]+)\.jar$", jar.name)
        if found:
            return found.group(1)
    return "unknown"


def task(postgres: Postgres, kafka: Kafka, dbname: str, slot: str, topic: str,
         delivery: str = "at-least-once") -> dict[str, Any]:
    """A task of which Kafka knows nothing yet: it begins where the slot stands."""
    return {"name": f"bench-{next(_numbers)}", "source": {"dsn": postgres.dsn(dbname), "slot": slot, "create_slot": False},
            "sink": {"brokers": kafka.brokers, "format": "canal-json", "topic": topic, "delivery": delivery,
                     "kafka": SHIPPER_KAFKA}}


@dataclass(frozen=True)
class Arrival:
    """What the topic tells: all times are the broker's, at which it appended."""

    records: int
    first_ms: int
    seconds: float
    rows_per_s: float
    second_half_rows_per_s: float  # without the warming up of whatever needs it
    record_bytes: float
    stored_bytes: float


class Bench:
    """The servers of a run and what is asked of them."""

    def __init__(self, run: Run, postgres: Postgres, kafka: Kafka, scale: float, repetitions: int,
                 say: Callable[[str], None]) -> None:
        self.run, self.postgres, self.kafka = run, postgres, kafka
        self.scale, self.repetitions, self.say = scale, repetitions, say

    def warm_up(self) -> None:
        """Half a million records, as many in transactions, and a reader of them, so that no measurement pays for the first
        compilations of the broker's code."""
        self.kafka.create_topic("warm-up")
        settings = {"bootstrap.servers": self.kafka.brokers, "enable.idempotence": True, "linger.ms": 5,
                    "queue.buffering.max.messages": _WARM_UP_RECORDS, "log_level": 0, **SHIPPER_KAFKA}
        plain, transactional = Producer(settings), Producer({**settings, "transactional.id": "warm-up"})
        for number in range(_WARM_UP_RECORDS):
            plain.produce("warm-up", b"value %d" % number * 20)
        plain.flush()
        transactional.init_transactions()
        for first in range(0, _WARM_UP_RECORDS, _WARM_UP_TRANSACTION):
            transactional.begin_transaction()
            for number in range(first, first + _WARM_UP_TRANSACTION):
                transactional.produce("warm-up", b"value %d" % number * 20)
            transactional.commit_transaction()
        self.arrival("warm-up", transactional=True)
        self.kafka.delete_topic("warm-up")

    @contextlib.contextmanager
    def backlog(self, workload: Workload, plugin: str) -> Iterator[tuple[int, int]]:
        """A database with the workload's changes behind a slot; yields the number of rows and the end position."""
        rows = workload.scaled(self.scale)
        self.postgres.create_database(workload.name)
        try:
            self.say(f"{workload.name}: loading {rows} rows ({workload.title})")
            yield rows, lsn_from_text(load_behind_slot(self.postgres, workload, rows, _SLOT, plugin))
        finally:
            self.postgres.drop_database(workload.name)

    @contextlib.contextmanager
    def slot_and_topic(self, workload: Workload, plugin: str) -> Iterator[tuple[str, str]]:
        """A copy of the backlog's slot, and the workload's empty topic."""
        topic = f"public.{workload.name}"
        self.kafka.create_topic(topic, 1, {"message.timestamp.type": "LogAppendTime"})
        copy_slot(self.postgres, workload.name, _SLOT, _COPY, plugin)
        try:
            yield _COPY, topic
        finally:
            self.postgres.drop_slot(_COPY)
            self.kafka.delete_topic(topic)

    def walsender(self, slot: str) -> int | None:
        """The process that serves the slot, if any."""
        rows = self.postgres.query("select active_pid from pg_replication_slots where slot_name = %s", (slot,))
        return int(rows[0][0]) if rows and rows[0][0] else None

    def wait_walsender(self, slot: str, running: Callable[[], bool]) -> int:
        found: list[int] = []

        def served() -> bool:
            if not running():
                raise RuntimeError(f"what should read slot {slot} has ended")
            found.extend(pid for pid in [self.walsender(slot)] if pid is not None)
            return bool(found)

        wait_until(served, f"a reader of slot {slot}", 120)
        return found[0]

    def arrival(self, topic: str, transactional: bool = False) -> Arrival:
        """`transactional`: some of the offsets are those of Kafka's own marks."""
        consumer = self.kafka.consumer(enable_partition_eof=transactional)
        try:
            begin = TopicPartition(topic, 0, 0)
            end = consumer.get_watermark_offsets(begin, timeout=10)[1]
            if end == 0:
                raise RuntimeError(f"nothing arrived in topic {topic}")
            consumer.assign([begin])
            sample = read_records(consumer, min(end, _SAMPLE))
            first, middle = (_time_of(consumer, topic, offset) for offset in (0, end // 2))
            records, last = end, _time_of(consumer, topic, end - 1) if not transactional else 0
            if transactional:
                consumer.seek(begin)
                records, last = _count(consumer)

            def rate_from(start: int) -> float:
                # Records that came in one batch with the first one were made before the clock started.
                later = consumer.offsets_for_times([TopicPartition(topic, 0, start + 1)], timeout=10)[0].offset
                return (end - later if later >= 0 else 0) * 1000 / max(last - start, 1)

            rate, second_half_rate = rate_from(first), rate_from(middle)
        finally:
            consumer.close()
        size = sum(len(message.value() or b"") + len(message.key() or b"")
                   + sum(len(name) + len(value) for name, value in message.headers() or []) for message in sample)
        logs = (Path(self.kafka.properties["log.dirs"]) / f"{topic}-0").glob("*.log")
        return Arrival(records, first, (last - first) / 1000, rate, second_half_rate, size / len(sample),
                       sum(log.stat().st_size for log in logs) / records)

    def first_value(self, topic: str) -> bytes:
        """The value of the topic's first record."""
        consumer = self.kafka.consumer()
        try:
            consumer.assign([TopicPartition(topic, 0, 0)])
            return bytes(read_records(consumer, 1)[0].value())
        finally:
            consumer.close()

    def measure(self, workload: Workload) -> dict[str, Any]:
        with self.backlog(workload, "walferry") as (rows, end):
            runs = [self.once(workload, rows, end) for _ in range(self.repetitions)]
        return {"title": workload.title, "rows": rows, **summaries(runs)}

    def once(self, workload: Workload, rows: int, end: int, delivery: str = "at-least-once") -> dict[str, float]:
        with self.slot_and_topic(workload, "walferry") as (slot, topic):
            broker_before = cpu_seconds(self.kafka.pid)
            started = time.time()
            walferry = Walferry(self.run, task(self.postgres, self.kafka, workload.name, slot, topic, delivery)).start()
            walsender = self.wait_walsender(slot, walferry.running)
            self.postgres.wait_confirmed(slot, end, _TIMEOUT_S)
            walsender_cpu, shipper_cpu = cpu_seconds(walsender), cpu_seconds(walferry.pid)
            peak, walsender_peak = memory_mb(walferry.pid), memory_mb(walsender)
            broker_cpu = cpu_seconds(self.kafka.pid) - broker_before
            status = walferry.stop()
            if status != 0:
                raise RuntimeError(f"walferry ended with status {status}:\n{walferry.log()[-4000:]}")
            arrival = self.arrival(topic, transactional=delivery == "exactly-once")
        if arrival.records != rows:
            raise RuntimeError(f"{workload.name}: {rows} rows were changed and {arrival.records} records arrived")
        cpu = {"shipper": shipper_cpu, "walsender": walsender_cpu, "broker": broker_cpu}
        found = result(rows, arrival, started, cpu)
        found |= {"shipper_peak_rss_mb": peak, "walsender_peak_rss_mb": walsender_peak}
        self.say(f"kafka {workload.name}, {delivery}: {line(found)}")
        return found


def result(rows: int, arrival: Arrival, started: float, cpu: Mapping[str, float]) -> dict[str, float]:
    """`started`: when the reader of the slot was started, in seconds of the wall clock; `cpu` in seconds."""
    return {"rows_per_s": arrival.rows_per_s, "seconds": arrival.seconds,
            "second_half_rows_per_s": arrival.second_half_rows_per_s,
            "start_to_first_s": arrival.first_ms / 1000 - started,
            **{f"{name}_cpu_us_per_row": seconds * 1e6 / rows for name, seconds in cpu.items()},
            "record_bytes": arrival.record_bytes, "stored_bytes": arrival.stored_bytes}


def line(found: Mapping[str, float]) -> str:
    cpu = ", ".join(f"{name.removesuffix('_cpu_us_per_row')} {value:.2f}" for name, value in found.items()
                    if name.endswith("_cpu_us_per_row"))
    return f"{found['rows_per_s']:9.0f} rows/s; CPU us per row: {cpu}; {found['record_bytes']:.0f} B/record"


def _time_of(consumer: Any, topic: str, offset: int) -> int:
    consumer.seek(TopicPartition(topic, 0, offset))
    return int(read_records(consumer, 1)[0].timestamp()[1])


def _count(consumer: Any) -> tuple[int, int]:
    """How many records there are from here to the end, and when the last of them was appended."""
    records, last = 0, 0
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        for message in consumer.consume(10_000, timeout=1.0):
            error = message.error()
            if error is None:
                records, last = records + 1, int(message.timestamp()[1])
            elif error.code() == KafkaError._PARTITION_EOF:
                return records, last
            else:
                raise RuntimeError(f"reading the topic failed: {error}")
    raise TimeoutError(f"the end of the topic did not come after {records} records")


def read_records(consumer: Any, count: int) -> list[Any]:
    messages: list[Any] = []
    deadline = time.monotonic() + 30
    while len(messages) < count:
        for message in consumer.consume(count - len(messages), timeout=1.0):
            if message.error():
                raise RuntimeError(f"reading the topic failed: {message.error()}")
            messages.append(message)
        if time.monotonic() > deadline:
            raise TimeoutError(f"only {len(messages)} of {count} records could be read")
    return messages

"""Stage "latency": from COMMIT to the consumer.

A writer on one connection inserts one row at a time, each a transaction, on a fixed timetable, and notes the monotonic
clock when the answer to the statement, which commits it, has come. A consumer in another process notes the same clock
when librdkafka hands it the record. The difference is the latency: it holds decoding, the shipper, the broker's append
and the fetch, and no commit time. Where a background load is asked for, another connection inserts 500 rows to a
transaction on its own timetable, into a table whose topic nobody reads; it costs CPU on this machine as well.
"""

import contextlib
import multiprocessing
import re
import threading
import time
from multiprocessing.connection import Connection
from typing import Any

import psycopg2
from confluent_kafka import Consumer, TopicPartition

from bench.into_kafka import Bench, task
from bench.measure import cpu_seconds, memory_mb, percentile
from bench.workloads import TEN_COLUMNS, insert_ten
from harness import Postgres, Walferry

# What a reader does for whom nothing may come twice.
ISOLATION = {"at-least-once": "read_uncommitted", "exactly-once": "read_committed"}

_SLOT, _DATABASE = "bench_latency", "latency"
_STEADY_ROWS_PER_S = 2000
_PROBES_PER_S = 200
_LOAD_ROWS = 500
_ID = re.compile(rb'"data":\[\{"id":"?(\d+)')
_WARM_UP_S = 3.0


def _consume(brokers: str, topic: str, isolation: str, told: Connection) -> None:
    """Child process: tells that it is ready, then notes arrivals until the id 0 comes, then tells them."""
    consumer = Consumer({"bootstrap.servers": brokers, "group.id": "bench-latency", "enable.auto.commit": False,
                         "fetch.wait.max.ms": 10, "fetch.min.bytes": 1, "isolation.level": isolation,
                         "log_level": 0})
    consumer.assign([TopicPartition(topic, 0, 0)])
    consumer.get_watermark_offsets(TopicPartition(topic, 0), timeout=10)
    told.send("ready")
    arrivals: dict[int, int] = {}
    while 0 not in arrivals:
        message = consumer.poll(60.0)
        now = time.monotonic_ns()
        if message is None or message.error():
            told.send(f"the consumer got {message.error() if message else 'nothing for a minute'}")
            return
        found = _ID.search(message.value() or b"")
        if found:
            arrivals.setdefault(int(found.group(1)), now)
    consumer.close()
    told.send(arrivals)


def _write(dsn: str, per_second: int, seconds: float, told: Connection) -> None:
    """Child process: inserts on a timetable, and at the end the row with the id 0."""
    committed: dict[int, int] = {}
    with contextlib.closing(psycopg2.connect(dsn)) as connection, connection.cursor() as cursor:
        connection.autocommit = True
        cursor.execute(f"create function probe(low bigint, high bigint) returns void language plpgsql as "
                       f"$$ begin {insert_ten('probe')}; end $$")
        cursor.execute("prepare put(bigint) as select probe($1, $1)")
        started = time.monotonic_ns()
        count = int(per_second * seconds)
        for number in range(1, count + 1):
            ahead = started + number * 1_000_000_000 // per_second - time.monotonic_ns()
            if ahead > 0:
                time.sleep(ahead / 1e9)
            cursor.execute("execute put(%s)", (number,))
            committed[number] = time.monotonic_ns()
        elapsed = (time.monotonic_ns() - started) / 1e9
        cursor.execute("execute put(0)")
    told.send((committed, count / elapsed))


class _Load:
    """Inserts `per_second` rows a second, 500 to a transaction, until it is stopped; does what it can."""

    def __init__(self, postgres: Postgres, per_second: float) -> None:
        self._postgres, self._period = postgres, _LOAD_ROWS / per_second
        self._stop = threading.Event()
        self._rows = 0
        self._seconds = 0.0
        self._thread = threading.Thread(target=self._run)

    def _run(self) -> None:
        with contextlib.closing(self._postgres.connect(_DATABASE)) as connection, connection.cursor() as cursor:
            cursor.execute(f"create function load(low bigint, high bigint) returns void language plpgsql as "
                           f"$$ begin {insert_ten('ten')}; end $$")
            cursor.execute("prepare put(bigint, bigint) as select load($1, $2)")
            started, batch = time.monotonic(), 0
            while not self._stop.wait(max(0.0, started + batch * self._period - time.monotonic())):
                cursor.execute("execute put(%s, %s)", (batch * _LOAD_ROWS + 1, (batch + 1) * _LOAD_ROWS))
                batch += 1
            self._rows, self._seconds = batch * _LOAD_ROWS, time.monotonic() - started

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> float:
        """Ends it; the rows per second that it reached."""
        self._stop.set()
        self._thread.join()
        return self._rows / self._seconds if self._seconds else 0.0


def _measure_one(bench: Bench, title: str, probes_per_s: int, load_rows_per_s: float, seconds: float,
                 delivery: str) -> dict[str, Any]:
    postgres, kafka = bench.postgres, bench.kafka
    postgres.create_database(_DATABASE)
    for topic in ("probe", "ten"):
        kafka.create_topic(topic)
    try:
        for table in ("probe", "ten"):
            postgres.query(f"create table {table} {TEN_COLUMNS}", dbname=_DATABASE)
        postgres.query("select pg_create_logical_replication_slot(%s, 'walferry')", (_SLOT,), _DATABASE)
        walferry = Walferry(bench.run, task(postgres, kafka, _DATABASE, _SLOT, "{table}", delivery)).start()
        walsender = bench.wait_walsender(_SLOT, walferry.running)
        found = _exchange(bench, walferry, walsender, probes_per_s, load_rows_per_s, seconds, ISOLATION[delivery])
        if walferry.stop() != 0:
            raise RuntimeError(f"walferry failed:\n{walferry.log()[-4000:]}")
    finally:
        postgres.drop_database(_DATABASE)
        for topic in ("probe", "ten"):
            kafka.delete_topic(topic)
    found["title"] = title
    bench.say(f"latency, {delivery}, {title}: p50 {found['p50_ms']:.2f} ms, p99 {found['p99_ms']:.2f} ms, "
              f"max {found['max_ms']:.2f} ms of {found['samples']}")
    return found


def _exchange(bench: Bench, walferry: Walferry, walsender: int, probes_per_s: int, load_rows_per_s: float,
              seconds: float, isolation: str) -> dict[str, Any]:
    context = multiprocessing.get_context("spawn")  # not fork: librdkafka has threads in this process
    from_consumer, consumer_end = context.Pipe(duplex=False)
    from_writer, writer_end = context.Pipe(duplex=False)
    consumer = context.Process(target=_consume, args=(bench.kafka.brokers, "probe", isolation, consumer_end), daemon=True)
    writer = context.Process(target=_write, daemon=True,
                             args=(bench.postgres.dsn(_DATABASE), probes_per_s, seconds + _WARM_UP_S, writer_end))
    consumer.start()
    consumer_end.close()  # here, so that the end of the child is seen as the end of the pipe
    ready = from_consumer.recv()
    if ready != "ready":
        raise RuntimeError(str(ready))
    shipper_before, walsender_before, started = cpu_seconds(walferry.pid), cpu_seconds(walsender), time.monotonic()
    writer.start()
    writer_end.close()
    load = _Load(bench.postgres, load_rows_per_s) if load_rows_per_s else None
    if load:
        load.start()
    try:
        committed, rate = from_writer.recv()
    finally:
        loaded = load.stop() if load else 0.0
    arrivals = from_consumer.recv()
    if not isinstance(arrivals, dict):
        raise RuntimeError(str(arrivals))
    elapsed = time.monotonic() - started
    writer.join()
    consumer.join()
    # The first seconds hold first connections, caches and the Java broker's own warming up.
    measured = [number for number in committed if number > probes_per_s * _WARM_UP_S]
    lost = [number for number in measured if number not in arrivals]
    if lost:
        raise RuntimeError(f"{len(lost)} of {len(measured)} rows did not arrive, the first is {lost[0]}")
    waits = sorted((arrivals[number] - committed[number]) / 1e6 for number in measured)
    return {"samples": len(waits), "probes_per_s": rate, "load_rows_per_s": loaded,
            "load_asked_rows_per_s": load_rows_per_s,
            "p50_ms": percentile(waits, 0.5), "p99_ms": percentile(waits, 0.99), "p999_ms": percentile(waits, 0.999), "max_ms": waits[-1], "min_ms": waits[0],
            "shipper_cpu_share": (cpu_seconds(walferry.pid) - shipper_before) / elapsed,
            "walsender_cpu_share": (cpu_seconds(walsender) - walsender_before) / elapsed,
            "shipper_peak_rss_mb": memory_mb(walferry.pid)}


def measure(bench: Bench, backlog_rows_per_s: float | None, seconds: float,
            delivery: str = "at-least-once") -> dict[str, Any]:
    """`backlog_rows_per_s`: what the stage kafka reached; without it there is no half load to measure at."""
    title = f"{_STEADY_ROWS_PER_S} one-row transactions/s"
    found = {"steady": _measure_one(bench, title, _STEADY_ROWS_PER_S, 0, seconds, delivery)}
    if backlog_rows_per_s:
        half = backlog_rows_per_s / 2
        title = f"half load, {half:.0f} rows/s beside {_PROBES_PER_S} one-row transactions/s"
        found["half_load"] = _measure_one(bench, title, _PROBES_PER_S, half, seconds, delivery)
    return found

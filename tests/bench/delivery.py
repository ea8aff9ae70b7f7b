"""Stage "delivery": what each promise costs, and how soon a task is at work again after a crash.

Both modes take turns on the same changes. `backlog`: rates and CPU, as in the stage kafka. `latency`: commit to consumer,
as in the stage latency; the reader of exactly-once reads committed records only. `restart`: kill -9, then the time until
the broker appends the first record that was not there. `takeover`: the first of two shippers dies or hangs, and the time
until the broker appends the other one's first record.
"""

import contextlib
import json
import signal
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import datetime
from typing import Any

from confluent_kafka import TopicPartition

from bench import latency
from bench.into_kafka import Bench, read_records, task
from bench.measure import summaries, summary
from bench.workloads import WORKLOADS, Workload
from harness import Kafka, Walferry
from harness.run import wait_until
from harness.stream import CounterLoad

MODES = ("at-least-once", "exactly-once")
_TIMEOUT_S = 600.0
_ROWS = 1_200_000
_KILLED_AT = 0.85  # of them in Kafka
_ROWS_BEFORE = 5
_TAKEOVER_DATABASE = "takeover"


def measure(bench: Bench, seconds: float) -> dict[str, Any]:
    found: dict[str, Any] = {"backlog": _backlog(bench)}
    rate = found["backlog"]["exactly-once"]["rows_per_s"]["median"]  # the same load for both
    found["latency"] = {f"{mode}, {name}": result
                        for mode in MODES
                        for name, result in latency.measure(bench, rate, seconds, mode).items()}
    large = replace(WORKLOADS["bulk"], rows=_ROWS, rows_per_transaction=_ROWS)
    small = replace(WORKLOADS["ten"], rows=_ROWS)
    found["restart"] = [{"load": load, **_restart(bench, workload, mode)}
                        for load, workload in (("large", large), ("backlog", small)) for mode in MODES]
    found["takeover"] = [_takeover(bench, mode, end) for end in ("kill -9", "SIGSTOP") for mode in MODES]
    return found


# --- rates ---


def _backlog(bench: Bench) -> dict[str, Any]:
    """Pairs of runs, of which either mode comes first in turn."""
    workload = WORKLOADS["ten"]
    runs: dict[str, list[dict[str, float]]] = {mode: [] for mode in MODES}
    with bench.backlog(workload, "walferry") as (rows, end):
        for turn in range(bench.repetitions):
            for mode in MODES if turn % 2 == 0 else reversed(MODES):
                runs[mode].append(bench.once(workload, rows, end, mode))
    ratios = summary(other["rows_per_s"] / one["rows_per_s"] for one, other in zip(*runs.values()))
    return {mode: {"title": workload.title, "rows": rows, **summaries(runs[mode])} for mode in MODES} | {"ratio": ratios}


# --- starting again after a kill ---


def _restart(bench: Bench, workload: Workload, mode: str) -> dict[str, Any]:
    """The task is at work on the topic already when the rows come that it will not finish."""
    server, rows, name, topic = bench.postgres, workload.scaled(bench.scale), "restart", f"public.{workload.name}"
    server.create_database(name)
    bench.kafka.create_topic(topic, 1, {"message.timestamp.type": "LogAppendTime"})
    connection = server.connect(name)
    try:
        workload.prepare(connection, rows)
        server.query("select pg_create_logical_replication_slot(%s, 'walferry')", (name,), name)
        walferry = Walferry(bench.run, task(server, bench.kafka, name, name, topic, mode)).start()
        for row in range(-_ROWS_BEFORE, 0):
            server.query(f"insert into {workload.name} (id) values (%s)", (row,), name)
            server.wait_confirmed(name)
        walferry.stop()
        workload.load(connection, rows)
        walferry.start()
        with _watermark(bench.kafka, topic) as written:
            wait_until(lambda: written() >= rows * _KILLED_AT, "most of the rows in Kafka", _TIMEOUT_S, interval=0.002)
            walferry.kill()
            there = _at_rest(written)
        # The server finds out that its client is gone; that time is not the shipper's.
        wait_until(lambda: bench.walsender(name) is None, "the server to let go of the slot", 60)
        started = time.time()
        walferry.start()
        server.wait_confirmed(name, timeout=_TIMEOUT_S)
        log = walferry.log()
        if walferry.stop() != 0:
            raise RuntimeError(f"walferry failed:\n{walferry.log()[-4000:]}")
        first_ms = _time_after(bench.kafka, topic, there)
        _check_count(bench, topic, rows + _ROWS_BEFORE)
    finally:
        connection.close()
        bench.kafka.delete_topic(topic)
        server.drop_database(name)
    found = {"title": workload.title, "mode": mode, "rows": rows, "there": there,
             "start_to_first_s": first_ms / 1000 - started, "start_to_streaming_s": _logged(log, "streaming")[0] - started,
             **_tail(log)}
    bench.say(f"restart, {mode}, {workload.title}: first new record after {found['start_to_first_s']:.2f} s; "
              f"tail of {found['tail_records']} records in {found['tail_s']:.2f} s")
    return found


def _check_count(bench: Bench, topic: str, rows: int) -> None:
    """Committed records: one that a crash made come again would be one too many."""
    found = bench.arrival(topic, transactional=True).records
    if found != rows:
        raise RuntimeError(f"{rows} rows were changed and {found} records arrived")


@contextlib.contextmanager
def _watermark(kafka: Kafka, topic: str) -> Iterator[Callable[[], int]]:
    """Asks for the offset after the topic's last record, of open transactions too."""
    consumer = kafka.consumer(isolation_level="read_uncommitted")
    try:
        yield lambda: int(consumer.get_watermark_offsets(TopicPartition(topic, 0), timeout=10)[1])
    finally:
        consumer.close()


def _at_rest(written: Callable[[], int]) -> int:
    """What a killed process had sent may still be on its way through the broker."""
    last = [written()]

    def same() -> bool:
        before, last[0] = last[0], written()
        return before == last[0]

    wait_until(same, "the topic to come to rest", 30, interval=0.3)
    return last[0]


def _time_after(kafka: Kafka, topic: str, offset: int) -> int:
    """When the broker appended the first record from there on."""
    consumer = kafka.consumer(isolation_level="read_uncommitted")
    try:
        consumer.assign([TopicPartition(topic, 0, offset)])
        return int(read_records(consumer, 1)[0].timestamp()[1])
    finally:
        consumer.close()


def _logged(log: str, text: str) -> tuple[float, dict[str, Any]]:
    """When a line that begins so was logged, in seconds of the wall clock, and the line."""
    for line in map(json.loads, log.splitlines()):
        if line["msg"].startswith(text):
            return datetime.fromisoformat(line["ts"].replace("Z", "+00:00")).timestamp(), line
    raise RuntimeError(f"the log has no line that begins with '{text}':\n{log[-4000:]}")


def _tail(log: str) -> dict[str, float]:
    """From the line before the tails are read (the progress record and START_REPLICATION fall into it) to the one after."""
    begun = _logged(log, "using the replication slot")[0]
    if "kafka: looked at" not in log:
        return {"tail_records": 0, "tail_s": 0.0}
    ended, line = _logged(log, "kafka: looked at")
    return {"tail_records": int(line["msg"].split()[3]), "tail_s": ended - begun}


# --- a standby ---


def _takeover(bench: Bench, mode: str, how: str) -> dict[str, Any]:
    runs = [_takeover_once(bench, mode, how) for _ in range(bench.repetitions)]
    found = {"mode": mode, "how": how, **summaries(runs)}
    bench.say(f"takeover, {mode}, {how}: {found['seconds']['median']:.2f} s "
              f"(at most {found['seconds']['max']:.2f} s)")
    return found


def _takeover_once(bench: Bench, mode: str, how: str) -> dict[str, float]:
    server, kafka, name = bench.postgres, bench.kafka, _TAKEOVER_DATABASE
    topic = f"public.{CounterLoad.TABLE}"
    server.create_database(name)
    kafka.create_topic(topic, 1, {"message.timestamp.type": "LogAppendTime"})
    try:
        server.query("select pg_create_logical_replication_slot(%s, 'walferry')", (name,), name)
        both = task(server, kafka, name, name, topic, mode)
        first = Walferry(bench.run, both).start()
        first.wait_for_log('"streaming"')
        second = Walferry(bench.run, both).start()
        second.wait_for_log("standing by")
        with CounterLoad(server, name, rows=1, pause=0.002) as load:
            load.go_on(500)
            ended = time.time()
            first.process.send_signal(signal.SIGKILL if how == "kill -9" else signal.SIGSTOP)
            second.wait_for_log('"streaming"', 30)
            load.go_on(500)
        server.wait_confirmed(name)
        if first.running():
            first.kill()
        if second.stop() != 0:
            raise RuntimeError(f"walferry failed:\n{second.log()[-4000:]}")
        times = [record.timestamp_ms / 1000 for record in kafka.consume(topic, latency.ISOLATION[mode])]
    finally:
        kafka.delete_topic(topic)
        server.drop_database(name)
    # Nobody writes in between: the longest pause is the one from the first shipper to the second.
    _, after = max(zip(times, times[1:]), key=lambda pair: pair[1] - pair[0])
    return {"seconds": after - ended}

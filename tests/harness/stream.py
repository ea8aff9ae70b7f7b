"""What must hold of the records that a shipper wrote: nothing lost, in order per key, repeats told by position."""

import contextlib
import json
import sys
import threading
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg2

from harness.kafka import Kafka, Record
from harness.postgres import Postgres, lsn_from_text
from harness.run import wait_until


@dataclass(frozen=True, order=True)
class Position:
    """The header walferry.position: system identifier, timeline, commit LSN, ordinal, which part of that change, and of a
    split record's chunks which one; the last one, as every record that is not split, has none."""

    system: int
    timeline: int
    lsn: int
    ordinal: int
    part: int = 0
    chunk: int = sys.maxsize


def position(record: Record) -> Position:
    system, timeline, lsn, ordinal = record.header["walferry.position"].decode("ascii").split(":")
    ordinal, _, chunk = ordinal.partition(".c")
    ordinal, _, part = ordinal.partition(".")
    return Position(int(system), int(timeline), lsn_from_text(lsn), int(ordinal), int(part or 0),
                    int(chunk or sys.maxsize))


def without_repeats(records: Iterable[Record]) -> tuple[list[Record], int]:
    """The first record of each position, and how many came again. A repeat must be the same change."""
    first: dict[Position, Record] = {}
    repeats = 0
    for record in records:
        at = position(record)
        if at not in first:
            first[at] = record
            continue
        repeats += 1
        same, again = dict(first[at].json), dict(record.json)
        same.pop("ts")  # when it was written
        again.pop("ts")
        assert (same, first[at].key) == (again, record.key), f"two changes at {at}"
    return list(first.values()), repeats


def assert_ordered(records: Iterable[Record]) -> None:
    """Positions rise within each partition of each topic."""
    last: dict[tuple[str, int], Position] = {}
    for record in records:
        at = position(record)
        place = record.topic, record.partition
        assert place not in last or last[place] < at, f"{at} after {last[place]} in {place}"
        last[place] = at


class CounterLoad:
    """A thread that counts up rows of a table in small transactions, and goes on after every lost connection.

    The table says afterwards what must be in Kafka: for a key whose counter is v, the values 0 to v, in this order.
    """

    KEYS = 40
    TABLE = "counters"

    def __init__(self, server: Postgres, database: str, rows: int = 8, pause: float = 0.01) -> None:
        self._server = server
        self._pause = pause  # seconds between transactions: leaves the machine some room
        self._database = database
        self._rows = rows
        self._stop = threading.Event()
        self.committed = 0
        server.psql(f"create table {self.TABLE} (k int primary key, v int not null, pad text)", database)
        self._thread = threading.Thread(target=self._work, daemon=True)

    def __enter__(self) -> "CounterLoad":
        """Call it when the slot is there: earlier rows are not in the stream."""
        self._server.psql(f"insert into {self.TABLE} select k, 0, repeat('x', 200) "
                          f"from generate_series(1, {self.KEYS}) k", self._database)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self) -> None:
        self._stop.set()
        self._thread.join(30)

    def go_on(self, transactions: int = 100, timeout: float = 30.0) -> None:
        """Waits until so many more have been committed."""
        wanted = self.committed + transactions
        wait_until(lambda: self.committed >= wanted, f"{transactions} more transactions", timeout)

    def _work(self) -> None:
        turn = 0
        while not self._stop.is_set():
            with contextlib.suppress(psycopg2.Error), \
                    contextlib.closing(self._server.connect(self._database)) as connection, \
                    connection.cursor() as cursor:
                while not self._stop.is_set():
                    first = turn * self._rows % self.KEYS
                    turn += 1
                    cursor.execute(f"update {self.TABLE} set v = v + 1 where k between %s and %s",
                                   (first + 1, first + self._rows))
                    self.committed += 1
                    self._stop.wait(self._pause)
            self._stop.wait(0.05)  # the server may be away

    def check(self, broker: Kafka, topic: str, isolation: str = "read_uncommitted") -> int:
        """Asserts that the topic holds every change in order per key; returns how many records are repeats."""
        truth = dict(self._server.query(f"select k, v from {self.TABLE}", dbname=self._database))
        records, repeats = without_repeats(broker.consume(topic, isolation))
        values: dict[int, list[int]] = defaultdict(list)
        for record in records:
            row = record.json["data"][0]
            values[int(row["k"])].append(int(row["v"]))
        for key, value in truth.items():
            assert values[key] == list(range(value + 1)), f"key {key}: {len(values[key])} of {value + 1}, or disorder"
        assert values.keys() == truth.keys()
        return repeats


def progress_records(broker: Kafka, task: str) -> list[dict[str, Any]]:
    """What the task has written about its progress, the latest last; a hole in the list is the cleaner's."""
    return [record.json for record in broker.consume(f"walferry.progress.{task}")]


def last_progress(broker: Kafka, task: str) -> dict[str, Any]:
    return max(progress_records(broker, task), key=lambda record: (record["epoch"], record["sequence"]))


def log_lines(text: str) -> list[dict[str, Any]]:
    """The lines of a JSON log; a line that is none fails."""
    return [json.loads(line) for line in text.splitlines()]


def peak_memory(pid: int) -> int:
    """The most memory that a process has had resident, in bytes."""
    for line in Path(f"/proc/{pid}/status").read_text(encoding="ascii").splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    raise ValueError(f"process {pid} has no VmHWM")

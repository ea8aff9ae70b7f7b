"""Tasks with an outage log: what its tests share."""

import contextlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from harness import Kafka, Postgres, Run, Walferry
from harness.kafka import Record

# What a reader of each mode's promise sets.
ISOLATION = {"at-least-once": "read_uncommitted", "exactly-once": "read_committed"}
both = pytest.mark.parametrize("mode", list(ISOLATION))


def make(task: Callable[..., Walferry], run: Run, mode: str, sink: Mapping[str, Any] | None = None,
         **spool: Any) -> tuple[Walferry, Path]:
    """A task with an outage log that begins soon, and the folder of its spool."""
    folder = run.subfolder("spool")
    walferry = task(sink={"delivery": mode, **(sink or {})}, retry={"max_delay": "500ms"},
                    spool={"directory": str(folder), "outage": True, "outage_after": "1s", **spool})
    return walferry, folder


def start(walferry: Walferry, pattern: str = '"streaming"') -> None:
    walferry.start()
    walferry.wait_for_log(pattern, timeout=60)


def ids(records: Iterable[Record]) -> list[int]:
    return [int(record.json["data"][0]["id"]) for record in records]


@contextlib.contextmanager
def outage(server: Postgres, broker: Kafka, database: str, slot_name: str, walferry: Walferry) -> Iterator[None]:
    """The task has row 0 of the new table t in Kafka, which is away; it was stopped with rows 1 and 2 in its outage log."""
    server.psql("create table t (id int primary key)", database)
    start(walferry)
    server.psql("insert into t values (0)", database)
    server.wait_confirmed(slot_name)
    broker.stop()
    try:
        server.psql("insert into t values (1)", database)
        walferry.wait_for_log("streaming into the outage log", timeout=30)
        server.psql("insert into t values (2)", database)
        server.wait_confirmed(slot_name)
        assert walferry.stop() == 0
        yield
    finally:
        broker.start()


def hold(run: Run, server: Postgres, broker: Kafka, database: str, slot_name: str, task: Callable[..., Walferry],
         mode: str = "at-least-once", **more: Any) -> tuple[Walferry, Path]:
    """A task after such an outage; Kafka is there again."""
    walferry, folder = make(task, run, mode, **more)
    with outage(server, broker, database, slot_name, walferry):
        pass
    return walferry, folder

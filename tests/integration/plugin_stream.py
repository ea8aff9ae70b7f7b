"""What the tests of the plugin share: a reader of the replication protocol that keeps the frames as they are, and their
decoding by the extension."""

import contextlib
import json
import os
import select
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg2
import psycopg2.extras
import pytest
from harness import Postgres

# Tests of minutes or of gigabytes.
slow = pytest.mark.skipif(os.environ.get("WALFERRY_SLOW", "") in ("", "0"), reason="slow; WALFERRY_SLOW=1 runs it")

LAST = 0x20  # a flag of the frame (docs/wire-format.md)


def is_last(frame: bytes) -> bool:
    """Whether the frame ends its transaction."""
    return bool(frame[2] & LAST)


class Stream:
    """START_REPLICATION on a slot of `database`, which is created when it is missing. Frames are confirmed at once when
    they end a transaction, unless `confirm` is false (even then psycopg2 may confirm whole transactions that it has read).
    `settings`: of the session, as in PGOPTIONS."""

    def __init__(self, server: Postgres, database: str, slot: str, options: dict[str, Any] | None = None, *,
                 confirm: bool = True, settings: str = "") -> None:
        self._confirm = confirm
        # A test may be busy elsewhere for longer than the server would wait for an answer.
        self.connection = server.connect(database, connection_factory=psycopg2.extras.LogicalReplicationConnection,
                                         options=f"-c wal_sender_timeout=0 {settings}")
        with contextlib.suppress(psycopg2.errors.DuplicateObject):
            self.connection.cursor().create_replication_slot(slot, output_plugin="walferry")
        self._options = {} if options is None else {"options": json.dumps(options)}
        self.pid: int = self.connection.get_backend_pid()
        self.start(slot)

    def start(self, slot: str) -> None:
        """Begins to stream; again, when an ERROR has ended the stream but not the connection."""
        self.cursor = self.connection.cursor()
        self.cursor.start_replication(slot_name=slot, decode=False, options=self._options)

    def __enter__(self) -> "Stream":
        return self

    def __exit__(self, *_: object) -> None:
        self.connection.close()

    def frames(self, until: int, timeout: float = 120.0) -> Iterator[bytes]:
        """Frames up to the position `until`: the server says when it has nothing more before that."""
        deadline = time.monotonic() + timeout
        while True:
            message = self.cursor.read_message()
            if message is not None:
                frame = bytes(message.payload)
                if self._confirm and is_last(frame):
                    self.cursor.send_feedback(flush_lsn=message.data_start)
                yield frame
                continue
            if self.cursor.wal_end >= until:
                return
            if time.monotonic() > deadline:
                raise TimeoutError(f"the server has sent nothing up to {until:X} in {timeout:g} s")
            self.cursor.send_feedback(reply=True)
            select.select([self.connection], [], [], 0.1)

    def confirm(self, lsn: int) -> None:
        self.cursor.send_feedback(flush_lsn=lsn, force=True)


def capture(server: Postgres, database: str, slot: str, options: dict[str, Any] | None = None) -> list[bytes]:
    """All frames of the slot up to now."""
    with Stream(server, database, slot, options) as stream:
        return list(stream.frames(server.current_lsn()))


def create_slot(server: Postgres, database: str, slot: str) -> None:
    server.query("select pg_create_logical_replication_slot(%s, 'walferry')", (slot,), dbname=database)


class Decoder:
    """A UTF-8 database with the extension, in which frames of any database can be read."""

    def __init__(self, server: Postgres, database: str) -> None:
        self._server = server
        self._database = database
        server.query("create extension if not exists walferry", dbname=database)

    def changes(self, frames: list[bytes]) -> list[dict[str, Any]]:
        """One dictionary for each change: operation, relation, before, after, unchanged, detail, ordinal, xid."""
        return self._rows("decode", frames)

    def columns(self, frames: list[bytes]) -> list[dict[str, Any]]:
        """One dictionary for each column of each announced schema: id, relation, column_name, key_position, …"""
        return self._rows("relations", frames)

    def _rows(self, function: str, frames: list[bytes]) -> list[dict[str, Any]]:
        with contextlib.closing(self._server.connect(self._database)) as connection, connection.cursor() as cursor:
            cursor.execute("create temp table frames (n serial, frame bytea)")
            psycopg2.extras.execute_values(cursor, "insert into frames (frame) values %s", [(f,) for f in frames])
            cursor.execute(f"""
                select to_json(d) from (select frame from frames order by n) f, walferry.{function}(f.frame) d""")
            return [row[0] for row in cursor.fetchall()]


def memory_of(pid: int) -> int:
    """Bytes of memory that the process has for itself alone: anonymous pages, no shared buffers, no files."""
    for line in Path(f"/proc/{pid}/status").read_text(encoding="ascii").splitlines():
        if line.startswith("RssAnon:"):
            return int(line.split()[1]) * 1024
    raise RuntimeError("the kernel does not tell RssAnon")


def walsender_pid(server: Postgres, slot: str) -> int | None:
    rows = server.query("select active_pid from pg_replication_slots where slot_name = %s", (slot,))
    return rows[0][0] if rows else None

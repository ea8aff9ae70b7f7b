"""Tables altered at random by several sessions that write rows, while the slot is read: each row is decoded as it was
written, with the schema of its moment. WALFERRY_STORM_SECONDS and WALFERRY_STORM_SEED choose another storm."""

import contextlib
import os
import random
import re
import threading
from typing import Any

import psycopg2
import psycopg2.errors
import pytest
from checker import check
from harness import Postgres
from harness.run import wait_until
from plugin_stream import Decoder, Stream, create_slot, slow
from storm import Writer, set_up

MB = 1024 * 1024

# So little that most transactions spill to disk, or are streamed where the reader asks for it.
SMALL_MEMORY = "64kB"


class PatientReader(threading.Thread):
    """Reads and confirms a slot by the SQL function, broken off by timeouts most of the time."""

    def __init__(self, server: Postgres, database: str, slot: str, seed: int) -> None:
        super().__init__(name="patient reader")
        self._connection = server.connect(database)
        self._slot = slot
        self._chance = random.Random(seed)
        self._ended = threading.Event()
        self.frames: list[bytes] = []
        self.cancelled = 0
        self.failure: BaseException | None = None

    def finish(self) -> None:
        """Makes it read to the end and stop."""
        self._ended.set()
        self.join()
        if self.failure:
            raise self.failure

    def run(self) -> None:
        try:
            with contextlib.closing(self._connection), self._connection.cursor() as cursor:
                cursor.execute(f"set logical_decoding_work_mem = '{SMALL_MEMORY}'")
                while not self._ended.is_set():
                    self._read(cursor, self._chance.randrange(1, 60))
                while self._read(cursor, 0):
                    pass
        except BaseException as failure:  # noqa: BLE001 (told to the test)
            self.failure = failure

    def _read(self, cursor: Any, milliseconds: int) -> int:
        """The number of frames; 0 also when the timeout came first."""
        # To get the changes would confirm them before they have arrived here.
        cursor.execute("begin")
        cursor.execute("set local statement_timeout = %s", (milliseconds,))
        try:
            cursor.execute("select lsn, data from pg_logical_slot_peek_binary_changes(%s, null, 500)", (self._slot,))
            rows = cursor.fetchall()
            cursor.execute("commit")
            if rows:
                cursor.execute("select pg_replication_slot_advance(%s, %s)", (self._slot, rows[-1][0]))
            self.frames.extend(bytes(row[1]) for row in rows)
            return len(rows)
        except psycopg2.errors.QueryCanceled:
            self.cancelled += 1
            while self._connection.info.transaction_status != psycopg2.extensions.TRANSACTION_STATUS_IDLE:
                with contextlib.suppress(psycopg2.errors.QueryCanceled):
                    cursor.execute("rollback")
            return 0


def plugin_memory(server: Postgres, pid: int) -> int:
    """Bytes in the plugin's memory contexts of a walsender."""
    begin = len(server.log())
    server.query("select pg_log_backend_memory_contexts(%s)", (pid,))
    wait_until(lambda: re.search(r"Grand total: ", server.log()[begin:]) is not None, "the memory contexts", 30)
    return sum(int(size) for size in re.findall(r"walferry [a-z ]+: (\d+) total", server.log()[begin:]))


def has_assertions(server: Postgres) -> bool:
    return bool(server.query("show debug_assertions")[0][0] == "on")


def storm(server: Postgres, database: str, slot: str, seconds: float, seed: int, options: dict[str, Any] | None = None,
          settings: str = "") -> None:
    print(f"storm of {seconds:g} s, seed {seed}")  # pytest shows it when the test fails
    create_slot(server, database, slot)
    create_slot(server, database, slot + "_patient")
    set_up(server, database)
    writers = [Writer(server, database, number, seconds, seed) for number in range(4)]
    patient = PatientReader(server, database, slot + "_patient", seed)
    live: list[bytes] = []
    with Stream(server, database, slot, options, settings=f"-c logical_decoding_work_mem={SMALL_MEMORY} {settings}") as stream:
        for thread in (*writers, patient):
            thread.start()
        try:
            while any(writer.is_alive() for writer in writers):
                live.extend(stream.frames(server.current_lsn()))
        finally:
            for writer in writers:
                writer.join()
            patient.finish()
        for writer in writers:
            if writer.failure:
                raise writer.failure
        live.extend(stream.frames(server.current_lsn()))
        memory = plugin_memory(server, stream.pid)
    journal = [entry for writer in writers for entry in writer.journal]
    truncated = {schema for writer in writers for schema in writer.truncated}
    altered = sum(writer.altered for writer in writers)
    print(f"{len(journal)} rows, {altered} statements of DDL, {patient.cancelled} reads cancelled, "
          f"{memory} bytes in the plugin, refused: {[writer.refused for writer in writers]}")
    assert len(journal) > 20 * seconds and altered > 2 * seconds
    assert memory < 16 * MB
    decoder = Decoder(server, database)
    if options and options.get("streaming"):
        assert any(change["kind"] == "stream" for change in decoder.changes(live))
    for reader, frames in (("stream", live), ("patient reader", patient.frames)):
        check(reader, journal, truncated, decoder.changes(frames), decoder.columns(frames))


def test_rows_of_transactions_in_progress_keep_the_schema_of_their_moment(server: Postgres, database: str,
                                                                          slot_name: str) -> None:
    storm(server, database, slot_name, 4, seed=7, options={"streaming": True})


@slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("seed", [21, 22])
def test_invalidations_at_every_look_up_change_nothing(server: Postgres, database: str, slot_name: str,
                                                       seed: int) -> None:
    if not has_assertions(server):
        pytest.skip("debug_discard_caches needs a server with assertions")
    options = {"streaming": seed % 2 == 0}
    storm(server, database, slot_name, 10, seed, options, settings="-c debug_discard_caches=1")


SECONDS = float(os.environ.get("WALFERRY_STORM_SECONDS", "60"))
SEED = int(os.environ.get("WALFERRY_STORM_SEED", "2"))


def test_rows_keep_the_schema_of_their_moment(server: Postgres, database: str, slot_name: str) -> None:
    storm(server, database, slot_name, 4, seed=1)


@slow
@pytest.mark.timeout(20 * SECONDS + 600)
@pytest.mark.parametrize("seed", [SEED, SEED + 1, SEED + 2])
def test_rows_keep_the_schema_of_their_moment_for_long(server: Postgres, database: str, slot_name: str,
                                                       seed: int) -> None:
    storm(server, database, slot_name, SECONDS, seed, {"streaming": seed % 2 == 0})

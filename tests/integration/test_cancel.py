"""Decoding that is broken off at any moment, by a timeout, a cancel or the end of a process: the slot then gives exactly
what it would have given, also to the very session that was broken off, and nothing of it stays in memory."""

import contextlib
import itertools
import random
import threading
import time
from collections.abc import Callable
from typing import Any

import psycopg2
import psycopg2.errors
import pytest
from harness import Postgres
from harness.postgres import lsn_from_text
from harness.run import wait_until
from plugin_stream import Decoder, Stream, create_slot, slow, walsender_pid

# All that takes time in a decoding session: output functions, schemas that change, values out of line, exceptions.
HISTORY = """
create type mood as enum ('sad', 'ok');
create table t (id int primary key, a int[], j jsonb, n numeric, s text, m mood);
alter table t replica identity full;
create table k (id int primary key, v text);
do $$ begin
    for i in 1 .. {transactions} loop
        insert into t (id, a, j, n, s, m)
            select i * 1000 + g, array[g, null, i], jsonb_build_object('k', g, 'l', array[i, g]), g / 7.0,
                case when g % 50 = 0 then (select string_agg(md5(x::text), '') from generate_series(g, g + 200) x)
                    else 'text ' || g end, 'ok'
            from generate_series(1, {rows}) g;
        execute format('alter table t add column c%s int default %s', i, i);
        update t set n = n + 1 where id % 5 = 0 and id > i * 1000;
        begin
            insert into k select -g, 'lost' from generate_series(1, 20) g;
            raise division_by_zero;
        exception when division_by_zero then
            insert into k values (i, 'kept');
        end;
        execute format('alter type mood add value ''m%s''', i);
        delete from t where id % 11 = 0 and id > i * 1000;
        execute format('alter table t drop column c%s', i);
        commit;
    end loop;
end $$;
"""

# Of what a session decodes, so that two sessions can be compared without moving the frames.
DIGEST = """select md5(string_agg(md5(data), '' order by number))
    from pg_logical_slot_peek_binary_changes(%s, null, null) with ordinality c(lsn, xid, data, number)"""

LEFT_OVER = "select count(*) from pg_backend_memory_contexts where name like 'walferry%%'"
MEMORY = "select sum(total_bytes)::bigint from pg_backend_memory_contexts"


class History:
    """A database with a slot and committed transactions behind it, and what decoding them has to give."""

    def __init__(self, server: Postgres, database: str, slot: str, transactions: int = 15, rows: int = 300) -> None:
        self.server, self.database, self.slot = server, database, slot
        self._copies = 0
        create_slot(server, database, slot)
        server.psql(HISTORY.format(transactions=transactions, rows=rows), database)  # statement by statement
        self.end = server.current_lsn()
        self._decoder = Decoder(server, database)
        with contextlib.closing(server.connect(database)) as connection, connection.cursor() as cursor:
            cursor.execute(DIGEST, (slot,))
            self.digest = cursor.fetchone()[0]
            cursor.execute("select data from pg_logical_slot_peek_binary_changes(%s, null, null)", (slot,))
            self.frames = [bytes(row[0]) for row in cursor.fetchall()]
        self.changes = self.decode(self.frames)
        # The truth is the table: replaying the changes gives it.
        tables: dict[str, dict[str, Any]] = {"public.t": {}, "public.k": {}}
        for change in self.changes:
            rows_of = tables[change["relation"]]
            old = rows_of.pop(change["before"]["id"]) if change["before"] else {}
            if change["after"]:  # which lacks unchanged values out of line
                rows_of[change["after"]["id"]] = {**old, **change["after"]}
        for table, columns in (("t", ("id", "a", "j", "n", "s", "m")), ("k", ("id", "v"))):
            pairs = ", ".join(f"'{column}', {column}::text" for column in columns)
            wanted = {row["id"]: row for (row,) in
                      server.query(f"select json_build_object({pairs}) from {table}", dbname=database)}
            replayed = {key: {c: row[c] for c in columns} for key, row in tables[f"public.{table}"].items()}
            assert replayed == wanted and wanted

    def decode(self, frames: list[bytes]) -> list[dict[str, Any]]:
        return self._decoder.changes(frames)

    def copy(self) -> str:
        """A slot of its own for a stream: psycopg2 confirms what it has read of its own accord."""
        self._copies += 1
        name = f"{self.slot}_{self._copies}"
        self.server.query("select pg_copy_logical_replication_slot(%s, %s)", (self.slot, name), dbname=self.database)
        return name

    def due(self, slot: str) -> list[dict[str, Any]]:
        """The changes that the slot has to give: those after the position that is confirmed."""
        confirmed = self.server.confirmed_lsn(slot) or 0
        return [change for change in self.changes if lsn_from_text(change["end_lsn"]) > confirmed]

    def stream(self, slot: str, *, confirm: bool = False) -> Stream:
        """A new session, once the one before has let the slot go."""
        wait_until(lambda: walsender_pid(self.server, slot) is None, "the slot to be free", 30)
        return Stream(self.server, self.database, slot, confirm=confirm)

    def read_to_end(self, slot: str) -> None:
        due = self.due(slot)
        with self.stream(slot) as stream:
            assert self.decode(list(stream.frames(self.end))) == due
        self.server.drop_slot(slot)

    def peek(self, cursor: Any) -> None:
        cursor.execute(DIGEST, (self.slot,))
        assert cursor.fetchone()[0] == self.digest


@pytest.fixture
def history(server: Postgres, database: str, slot_name: str) -> History:
    return History(server, database, slot_name)


def seconds_of(action: Callable[[], None]) -> float:
    start = time.monotonic()
    action()
    return time.monotonic() - start


def surely(cursor: Any, statement: str) -> None:
    """Executes it although the timeout of the statement before may still hold."""
    while True:
        try:
            cursor.execute(statement)
            return
        except psycopg2.errors.QueryCanceled:
            pass


def broken_off_by_timeouts(history: History, rounds: int, seed: int) -> None:
    chance = random.Random(seed)
    with contextlib.closing(history.server.connect(history.database)) as connection, connection.cursor() as cursor:
        history.peek(cursor)
        longest = max(2, int(1000 * seconds_of(lambda: history.peek(cursor))))
        cursor.execute(MEMORY)
        before = cursor.fetchone()[0]
        cancelled = 0
        for number in range(rounds):
            cursor.execute("set statement_timeout = %s", (chance.randrange(1, longest + 1),))
            try:
                history.peek(cursor)
            except psycopg2.errors.QueryCanceled:
                cancelled += 1
            surely(cursor, "set statement_timeout = 0")
            if number % 10 == 9:
                history.peek(cursor)
        assert cancelled > 0
        history.peek(cursor)
        cursor.execute(LEFT_OVER)
        assert cursor.fetchone()[0] == 0
        cursor.execute(MEMORY)
        assert cursor.fetchone()[0] - before < 1024 * 1024


def test_a_statement_timeout_leaves_no_trace(history: History) -> None:
    broken_off_by_timeouts(history, 40, seed=1)


def test_a_cancelled_decode_can_be_repeated_in_the_same_transaction(history: History) -> None:
    chance = random.Random(2)
    with contextlib.closing(history.server.connect(history.database)) as connection, connection.cursor() as cursor:
        longest = max(2, int(1000 * seconds_of(lambda: history.peek(cursor))))
        connection.autocommit = False
        cancelled = 0
        for _ in range(12):
            cursor.execute("savepoint s")
            cursor.execute("set local statement_timeout = %s", (chance.randrange(1, longest),))
            try:
                history.peek(cursor)
            except psycopg2.errors.QueryCanceled:
                cancelled += 1
            surely(cursor, "rollback to s")
            cursor.execute(LEFT_OVER)
            assert cursor.fetchone()[0] == 0
        assert cancelled > 0
        history.peek(cursor)
        connection.commit()




class Interruption(threading.Thread):
    """Calls `function` for the backend `pid` from within the server, after `delay` seconds."""

    def __init__(self, server: Postgres, function: str, pid: int, delay: float) -> None:
        super().__init__()
        self._server, self._query, self._arguments = server, f"select pg_sleep(%s), {function}(%s)", (delay, pid)
        self.start()

    def run(self) -> None:
        self._server.query(self._query, self._arguments)


def read_interrupted(history: History, stream: Stream, function: str, delay: float) -> bool:
    """Reads frames until the interruption; they must be the first of those that are due. True if it came before the
    last of them."""
    interruption = Interruption(history.server, function, stream.pid, delay)
    frames: list[bytes] = []
    try:
        frames.extend(stream.frames(history.end))
        interruption.join()
        for _ in stream.frames(history.server.current_lsn() + 1):
            pass
    except psycopg2.Error:
        pass
    else:
        raise AssertionError(f"{function} did not end the stream")
    interruption.join()
    assert frames == history.frames[:len(frames)]
    return len(frames) < len(history.frames)


def time_to_stream(history: History) -> float:
    slot = history.copy()
    with history.stream(slot) as stream:
        longest = seconds_of(lambda: list(stream.frames(history.end)))
    history.server.drop_slot(slot)
    return longest


def cancelled_streams(history: History, rounds: int, seed: int) -> None:
    """One walsender process that is cancelled again and again."""
    chance = random.Random(seed)
    longest = time_to_stream(history)
    early = 0
    sizes: list[int] = []
    slot = history.copy()
    with history.stream(slot) as stream:
        for _ in range(rounds):
            early += read_interrupted(history, stream, "pg_cancel_backend", chance.uniform(0, longest))
            with stream.connection.cursor() as cursor:
                cursor.execute(LEFT_OVER.replace("%%", "%"))
                assert cursor.fetchone()[0] == 0
                cursor.execute(MEMORY)
                sizes.append(cursor.fetchone()[0])
            history.read_to_end(slot)
            slot = history.copy()
            stream.start(slot)
        assert list(stream.frames(history.end)) == history.frames
    assert early > 0
    # The server's caches grow to what they need.
    assert sizes[-1] - sizes[rounds // 2] < 1024 * 1024


def test_a_cancelled_walsender_streams_again(history: History) -> None:
    cancelled_streams(history, 8, seed=3)


def terminated_streams(history: History, rounds: int, seed: int) -> None:
    chance = random.Random(seed)
    longest = time_to_stream(history)
    early = 0
    for _ in range(rounds):
        slot = history.copy()
        with history.stream(slot) as stream:
            early += read_interrupted(history, stream, "pg_terminate_backend", chance.uniform(0, longest))
        history.read_to_end(slot)
    assert early > 0


def test_a_terminated_walsender_loses_nothing(history: History) -> None:
    terminated_streams(history, 8, seed=4)


def test_confirmed_transactions_alone_are_left_out_after_an_interruption(history: History) -> None:
    chance = random.Random(5)
    sessions = 0
    while due := history.due(history.slot):
        frames: list[bytes] = []
        sessions += 1
        with history.stream(history.slot, confirm=True) as stream:
            wanted = chance.randrange(1, 12)
            for frame in stream.frames(history.end):
                frames.append(frame)
                if len(frames) == wanted:
                    history.server.query("select pg_terminate_backend(%s, 10000)", (stream.pid,))
                    break
        seen = history.decode(frames)
        assert seen == due[:len(seen)] and seen
    assert sessions > 1


@pytest.mark.parametrize("mode", ["fast", "smart", "immediate"])
def test_a_server_that_is_stopped_in_the_middle_of_decoding_loses_nothing(history: History, mode: str) -> None:
    server = history.server
    slot = history.copy()
    with history.stream(slot) as stream:
        frames = stream.frames(history.end)
        seen = [next(frames)]
        stopper = threading.Thread(target=server.stop, args=(mode,))
        stopper.start()
        # A walsender that shuts down sends all there is first; a reader that goes away sets it free.
        with contextlib.suppress(psycopg2.Error):
            seen.extend(itertools.islice(frames, 3))
        stream.connection.close()
        stopper.join()
        assert seen == history.frames[:len(seen)]
    server.start()
    history.read_to_end(slot)


@slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("seed", [11, 12, 13])
def test_hundreds_of_interruptions_lose_nothing(server: Postgres, database: str, slot_name: str, seed: int) -> None:
    history = History(server, database, slot_name, 20, 400)
    broken_off_by_timeouts(history, 300, seed)
    cancelled_streams(history, 100, seed)
    terminated_streams(history, 100, seed)

"""Tables that are altered at random while rows are written and decoded: every row must be read with the schema that it
was written with."""

import contextlib
import random
import threading
import time
from typing import Any

import psycopg2
import psycopg2.errors
import pytest
from harness import Postgres
from plugin_stream import Decoder, Stream, capture, create_slot, slow

TABLES = 4
TYPES = ("int", "text", "numeric", "bool", "mood", "int[]", "jsonb")
VALUES = {"int": "7", "text": "'text'", "numeric": "1.50", "bool": "true", "mood": "'ok'", "int[]": "'{1,2}'",
          "jsonb": "'{\"a\": 1}'"}

# Errors that belong to the game: the other writers have been there first.
EXPECTED = (psycopg2.errors.UndefinedTable, psycopg2.errors.UndefinedColumn, psycopg2.errors.DuplicateColumn,
            psycopg2.errors.DeadlockDetected, psycopg2.errors.DuplicateTable, psycopg2.errors.DuplicateObject,
            psycopg2.errors.LockNotAvailable, psycopg2.errors.InternalError, psycopg2.errors.InvalidTableDefinition,
            psycopg2.errors.DatatypeMismatch, psycopg2.errors.ObjectNotInPrerequisiteState)


class Writer(threading.Thread):
    """Inserts rows and alters tables at random; remembers each committed row as the server returned it."""

    def __init__(self, server: Postgres, database: str, number: int, seconds: float, seed: int) -> None:
        super().__init__(name=f"writer {number}")
        self._connection = server.connect(database, autocommit=False)
        self._number = number
        self._until = time.monotonic() + seconds
        self._random = random.Random(f"{seed} {number}")
        self.rows: dict[int, dict[str, Any]] = {}
        self.failure: BaseException | None = None

    def run(self) -> None:
        try:
            with contextlib.closing(self._connection), self._connection.cursor() as cursor:
                cursor.execute("set lock_timeout = '2s'; set deadlock_timeout = '20ms'")
                self._connection.commit()
                while time.monotonic() < self._until:
                    self._transaction(cursor)
        except BaseException as failure:  # noqa: BLE001 (told to the test)
            self.failure = failure

    def _transaction(self, cursor: Any) -> None:
        written: dict[int, dict[str, Any]] = {}
        try:
            for _ in range(self._random.randrange(1, 6)):
                if self._random.random() < 0.4:
                    cursor.execute(self._change())
                else:
                    self._insert(cursor, written)
            if self._random.random() < 0.1:
                self._connection.rollback()
                return
            self._connection.commit()
            self.rows.update(written)
        except EXPECTED:
            self._connection.rollback()

    def _insert(self, cursor: Any, written: dict[int, dict[str, Any]]) -> None:
        table = f"storm{self._random.randrange(TABLES)}"
        key = len(self.rows) * 1000 + len(written) * 10 + self._number
        # Each column in its output form, which is what decode() shows. The lock keeps the columns as they are.
        cursor.execute(f"lock table {table} in row exclusive mode")
        cursor.execute("""select string_agg(format('%%L, case when num_nulls(%%I) = 0 then format(''%%%%s'', %%I) end',
            attname, attname, attname), ', ') from pg_attribute
            where attrelid = to_regclass(%s) and attnum > 0 and not attisdropped""", (table,))
        pairs = cursor.fetchone()[0]
        if pairs is None:
            raise psycopg2.errors.UndefinedTable
        cursor.execute(f"insert into {table} (id) values ({key}) returning json_build_object({pairs})")
        written[key] = cursor.fetchone()[0]

    def _change(self) -> str:
        table = f"storm{self._random.randrange(TABLES)}"
        column, other = (f"c{self._random.randrange(6)}" for _ in range(2))
        kind = self._random.choice(TYPES)
        return self._random.choice([
            f"alter table {table} add column {column} {kind}",
            f"alter table {table} add column {column} {kind} default {VALUES[kind]}",
            f"alter table {table} drop column {column}",
            f"alter table {table} rename {column} to {other}",
            f"alter table {table} alter {column} type text",
            f"alter table {table} alter {column} set default null",
            f"alter table {table} replica identity full",
            f"alter table {table} replica identity default",
            f"alter type mood add value if not exists 'm{self._random.randrange(30)}'",
            f"alter table {table} rename to {table}_away; alter table {table}_away rename to {table}",
            f"create index on {table} (id)",
            f"analyze {table}",
            f"truncate {table}",
            f"update {table} set id = id where id % 7 = 0",
            f"savepoint s; alter table {table} add column lost int; rollback to s",
        ])


def storm(server: Postgres, database: str, slot: str, seconds: float, seed: int) -> None:
    create_slot(server, database, slot)
    server.query("create type mood as enum ('sad', 'ok')", dbname=database)
    for number in range(TABLES):
        server.query(f"create table storm{number} (id int primary key, c0 int, c1 text default 'é')", dbname=database)
    writers = [Writer(server, database, number, seconds, seed) for number in range(4)]
    live: list[bytes] = []
    with Stream(server, database, slot, confirm=False) as stream:
        for writer in writers:
            writer.start()
        while any(writer.is_alive() for writer in writers):
            live.extend(stream.frames(server.current_lsn()))
        live.extend(stream.frames(server.current_lsn()))
    for writer in writers:
        writer.join()
        if writer.failure:
            raise writer.failure

    wanted = {key: row for writer in writers for key, row in writer.rows.items()}
    assert len(wanted) > 50
    decoder = Decoder(server, database)
    for frames in (live, capture(server, database, slot)):  # while it happened, and all of it again afterwards
        seen = {int(c["after"]["id"]): c["after"] for c in decoder.changes(frames) if c["operation"] == "insert"}
        assert seen.keys() == wanted.keys()
        keys = {c["column_name"] for c in decoder.columns(frames) if c["key_position"]}
        assert keys == {"id"}
        assert not [c for c in decoder.columns(frames) if c["column_name"] == "id" and c["key_position"] != 1]
        assert [(seen[key], wanted[key]) for key in wanted if seen[key] != wanted[key]] == []


def test_invalidations_at_every_look_up_change_nothing(server: Postgres, database: str, slot_name: str) -> None:
    create_slot(server, database, slot_name)
    server.query("create type mood as enum ('sad', 'ok')", dbname=database)
    server.query("create table t (v text, m mood, id int, part int, primary key (part, id))", dbname=database)
    server.query("insert into t values ('a', 'ok', 1, 2)", dbname=database)
    server.query("alter table t add column n numeric default 1.5", dbname=database)
    server.query("update t set id = 3", dbname=database)
    with contextlib.closing(server.connect(database)) as connection, connection.cursor() as cursor:
        def read() -> tuple[list[Any], list[Any]]:
            found = []
            for function in ("decode", "relations"):
                cursor.execute(f"""select to_json(d)::jsonb - 'relid' from pg_logical_slot_peek_binary_changes(%s, null,
                    null) c, walferry.{function}(c.data) d""", (slot_name,))
                found.append([row[0] for row in cursor.fetchall()])
            return found[0], found[1]

        cursor.execute("create extension walferry")
        plain = read()
        try:
            cursor.execute("set debug_discard_caches = 1")
        except psycopg2.errors.InvalidParameterValue:
            pytest.skip("this server is built without debug_discard_caches")
        assert read() == plain


def test_rows_keep_the_schema_of_their_moment(server: Postgres, database: str, slot_name: str) -> None:
    storm(server, database, slot_name, 4, seed=1)


@slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("seed", [2, 3, 4])
def test_rows_keep_the_schema_of_their_moment_for_long(server: Postgres, database: str, slot_name: str,
                                                       seed: int) -> None:
    storm(server, database, slot_name, 60, seed)

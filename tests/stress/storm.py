"""Sessions that alter tables and types at random while they write rows, and a journal of what each committed row was, with
the schema of its moment, as the server itself told it to the writer.

What changes the meaning of rows without a lock on their table (names of types and schemas, labels) is done under an
advisory lock that a transaction takes with its first row and keeps until its end. Without it the server itself, whose
catalog caches serve one decoded transaction after the other, may show such a row under either name: docs/testing.md."""

import contextlib
import dataclasses
import random
import threading
import time
from typing import Any

import psycopg2
import psycopg2.errors
from ddl import SETUP, Ddl
from harness import Postgres

# The schema of a table as relations() shows it.
SCHEMA = """
with keys as (
    select indrelid, indkey, indnkeyatts, indisprimary, indisreplident from pg_index
    where indisvalid and indisunique and indimmediate and indpred is null),
chosen as (
    select c.oid, c.relreplident, pk.indkey as pk, pk.indnkeyatts as pk_size,
        case c.relreplident when 'd' then pk.indkey when 'i' then ri.indkey end as ri,
        case c.relreplident when 'd' then pk.indnkeyatts when 'i' then ri.indnkeyatts end as ri_size
    from pg_class c left join keys pk on pk.indrelid = c.oid and pk.indisprimary
        left join keys ri on ri.indrelid = c.oid and ri.indisreplident
    where c.oid = %s),
positions as (
    select oid, relreplident, (string_to_array(ri::text, ' ')::int[])[:ri_size] as identity,
        coalesce((string_to_array(pk::text, ' ')::int[])[:pk_size],
            (string_to_array(ri::text, ' ')::int[])[:ri_size]) as key
    from chosen)
select quote_ident(nspname) || '.' || quote_ident(relname), p.relreplident::text, relpersistence::text,
    array_agg(array[attname, format_type(atttypid, null), (case typtype when 'd' then
            greatest(typtypmod, (select typtypmod from pg_type below where below.oid = t.typbasetype))
            else atttypmod end)::text,
        coalesce(array_position(p.key, attnum::int), 0)::text, (attnum = any(coalesce(p.identity, '{}')))::text,
        attnotnull::text, (attgenerated <> '')::text]::text[] order by attnum)
from positions p join pg_class c on c.oid = p.oid join pg_namespace n on n.oid = relnamespace
    join pg_attribute a on attrelid = p.oid join pg_type t on t.oid = atttypid
where attnum > 0 and not attisdropped
group by 1, 2, 3"""

# A row as JSON of the text of each value, null for null. (A composite value of nulls "is null", but is not.)
PAIRS = """select string_agg(format('%%L, case when num_nulls(t.%%I) = 0 then format(''%%%%s'', t.%%I) end', attname, attname,
    attname), ', ' order by attnum) from pg_attribute where attrelid = %s and attnum > 0 and not attisdropped"""

NAMES_LOCK = 1


@dataclasses.dataclass(frozen=True)
class Schema:
    relation: str
    replica_identity: str
    columns: tuple[tuple[str, ...], ...]  # name, type, modifier, place in the key, identity, not null, generated

    def identity(self) -> set[str]:
        return {column[0] for column in self.columns if column[4] == "true"}


@dataclasses.dataclass
class Entry:
    """One row written: what decoding has to show."""
    operation: str
    schema: Schema
    before: dict[str, Any] | None
    after: dict[str, Any] | None


class Undone(Exception):
    """The writer rolls back of its own will."""


class Writer(threading.Thread):
    """One session: transactions of rows and DDL, with savepoints, some of them rolled back."""

    def __init__(self, server: Postgres, database: str, number: int, seconds: float, seed: int) -> None:
        super().__init__(name=f"writer {number}")
        self._connection = server.connect(database, autocommit=False)
        self._cursor = self._connection.cursor()
        self._until = time.monotonic() + seconds
        self._chance = random.Random(f"{seed} {number}")
        self._ddl = Ddl(self._chance)
        self._next = (number + 1) * 10_000_000
        self.journal: list[Entry] = []
        self.truncated: set[Schema] = set()
        self.altered = 0
        self.refused: dict[str, int] = {}  # statements that the server refused, by code
        self.failure: BaseException | None = None

    def run(self) -> None:
        try:
            with contextlib.closing(self._connection):
                self._cursor.execute("set lock_timeout = '500ms'; set deadlock_timeout = '20ms'; "
                                     "set search_path = pg_catalog")
                self._connection.commit()
                while time.monotonic() < self._until:
                    if self._chance.random() < 0.06:
                        self._rename()
                    else:
                        self._transaction()
        except BaseException as failure:  # noqa: BLE001 (told to the test)
            self.failure = failure

    def _refuse(self, error: psycopg2.Error, statement: str = "") -> None:
        """What the server refuses belongs to the game, unless it refuses everything because it has crashed."""
        if error.pgcode is None or error.pgcode.startswith("57P"):
            raise error
        self.refused[error.pgcode] = self.refused.get(error.pgcode, 0) + 1

    def _unlock(self) -> None:
        self._cursor.execute("select pg_advisory_unlock_all()")

    def _rename(self) -> None:
        try:
            self._cursor.execute("select pg_advisory_lock(%s)", (NAMES_LOCK,))
            self._cursor.execute(self._ddl.of_names())
            self._connection.commit()
            self.altered += 1
        except psycopg2.Error as error:
            self._refuse(error)
            self._connection.rollback()
        self._unlock()
        self._connection.commit()

    def _transaction(self) -> None:
        written: list[Entry] = []
        truncated: set[Schema] = set()
        altered = 0
        try:
            for _ in range(self._chance.randrange(1, 9)):
                mark = len(written)
                self._cursor.execute("savepoint s")
                try:
                    if self._chance.random() < 0.35:
                        self._cursor.execute(self._ddl.of_tables(self._tables()))
                        altered += 1
                    else:
                        self._rows(written, truncated)
                    if self._chance.random() < 0.12:
                        raise Undone
                    if self._chance.random() < 0.5:
                        self._cursor.execute("release s")  # else those to come are nested in it
                except (psycopg2.Error, Undone) as error:
                    if isinstance(error, psycopg2.Error):
                        self._refuse(error)
                    self._cursor.execute("rollback to s")
                    del written[mark:]
            if self._chance.random() < 0.1:
                raise Undone
            self._connection.commit()
            self.journal.extend(written)
            self.truncated.update(truncated)
            self.altered += altered
        except (psycopg2.Error, Undone) as error:
            if isinstance(error, psycopg2.Error):
                self._refuse(error)
            self._connection.rollback()
        self._unlock()
        self._connection.commit()

    def _tables(self) -> list[tuple[int, str, str]]:
        self._cursor.execute("""select c.oid, quote_ident(nspname) || '.' || quote_ident(relname), relkind::text
            from pg_class c join pg_namespace n on n.oid = relnamespace
            where relkind in ('r', 'p') and nspname like 'app%' order by 2""")
        return list(self._cursor.fetchall())

    def _schema(self, oid: int) -> Schema | None:
        """None for a table whose rows are not in the log."""
        self._cursor.execute(SCHEMA, (oid,))
        relation, identity, persistence, columns = self._cursor.fetchone()
        if persistence != "p":
            return None
        return Schema(relation, identity, tuple(tuple(column) for column in columns))

    def _numbers(self, count: int) -> list[int]:
        self._next += count
        return list(range(self._next - count, self._next))

    def _rows(self, written: list[Entry], truncated: set[Schema]) -> None:
        oid, table, kind = self._chance.choice(self._tables())
        self._cursor.execute("select pg_advisory_lock_shared(%s)", (NAMES_LOCK,))
        self._cursor.execute(f"lock table {table} in row exclusive mode")
        self._cursor.execute("select %s = to_regclass(%s)::oid", (oid, table))
        if not self._cursor.fetchone()[0]:
            raise Undone  # another table has this name by now
        self._cursor.execute(PAIRS, (oid,))
        pairs = f"t.tableoid, json_build_object({self._cursor.fetchone()[0]})"
        self._cursor.execute("""select attname, format_type(atttypid, null) from pg_attribute where attrelid = %s
            and attnum > 0 and not attisdropped and attgenerated = '' and attname like 'c%%'""", (oid,))
        columns = dict(self._cursor.fetchall())
        action = self._chance.choices(("insert", "update", "delete", "truncate"), (50, 35, 14, 1))[0]
        only = "" if kind == "p" else "only "
        if action == "truncate":
            if kind == "p":
                raise Undone
            self._cursor.execute(f"truncate only {table}")
            if schema := self._schema(oid):
                truncated.add(schema)
        elif action == "insert":
            some = [name for name in columns if self._chance.random() < 0.6]
            names = ", ".join(["id", "op", *(f'"{name}"' for name in some)])
            numbers = self._numbers(self._chance.choice((1, 1, 1, 2, 30)))
            values = ", ".join("(" + ", ".join([str(number), str(number),
                                                *(self._ddl.value(columns[name]) for name in some)]) + ")"
                               for number in numbers)
            self._cursor.execute(f"insert into {table} as t ({names}) values {values} returning {pairs}")
            for leaf, row in self._cursor.fetchall():
                if schema := self._schema(leaf):
                    written.append(Entry("insert", schema, None, row))
        else:
            self._cursor.execute(f"select id::text from {only}{table} t limit 1 offset %s",
                                 (self._chance.randrange(20),))
            found = self._cursor.fetchone()
            if found is None:
                raise Undone
            this = f"id::text = '{found[0]}'"
            self._cursor.execute(f"select {pairs} from {only}{table} t where {this} for update")
            rows = self._cursor.fetchall()
            if len(rows) != 1:
                raise Undone
            leaf, before = rows[0]
            if action == "delete":
                self._cursor.execute(f"delete from {only}{table} t where {this}")
                if schema := self._schema(leaf):
                    written.append(Entry("delete", schema, before, None))
                return
            number = self._numbers(1)[0]
            sets = [f"op = {number}", *(f'"{name}" = {self._ddl.value(kind_of)}' for name, kind_of in columns.items()
                                        if self._chance.random() < 0.3)]
            if kind != "p" and self._chance.random() < 0.2:
                sets.append(f"id = {number}")
            self._cursor.execute(f"update {only}{table} t set {', '.join(sets)} where {this} returning {pairs}")
            leaf, after = self._cursor.fetchone()
            if schema := self._schema(leaf):
                written.append(Entry("update", schema, before, after))


def set_up(server: Postgres, database: str) -> None:
    server.psql(SETUP, database)

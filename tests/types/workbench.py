"""A database whose changes are read twice: as frames, by walferry.decode, and as Canal JSON, from a Kafka topic."""

import contextlib
import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import canal_reader
from changes import Change, Image, Stage, Table
from harness import Kafka, Postgres, Run, Walferry
from harness.postgres import lsn_from_text
from harness.run import wait_until

# Under these the server's text is that of docs/types.md.
_PINNED = {"datestyle": "ISO", "intervalstyle": "postgres", "timezone": "UTC", "extra_float_digits": "1",
           "bytea_output": "hex",
           "lc_monetary": "C", "search_path": "pg_catalog", "quote_all_identifiers": "off", "xmloption": "content"}
PINNED = "; ".join(f"set {name} = '{value}'" for name, value in _PINNED.items())

# Settings that would change the text of values if the walsender obeyed them.
HOSTILE = {"datestyle": "'SQL, DMY'", "intervalstyle": "iso_8601", "timezone": "'Asia/Kolkata'",
           "extra_float_digits": "-15",
           "bytea_output": "escape", "search_path": "public", "quote_all_identifiers": "on",
           "client_encoding": "LATIN1"}


def quoted(name: str) -> str:
    """As an SQL identifier."""
    return '"' + name.replace('"', '""') + '"'


class Workbench:
    """One database, one slot, one topic. `cursor` belongs to a connection with pinned settings."""

    def __init__(self, run: Run, server: Postgres, broker: Kafka, name: str) -> None:
        self._run, self.server, self._broker, self.name = run, server, broker, name
        self.topic = f"{name}.all"
        server.create_database(name)
        for setting, value in HOSTILE.items():
            server.query(f"alter database {quoted(name)} set {setting} = {value}")
        broker.create_topic(self.topic)
        self._connections = contextlib.ExitStack()
        self.cursor = self.connect()
        self.server_version = self.cursor.connection.server_version // 10000
        self.cursor.execute("create extension walferry")
        self.cursor.execute("select pg_create_logical_replication_slot(%s, 'walferry')", (name,))

    def connect(self) -> Any:
        connection = self._connections.enter_context(contextlib.closing(
            self.server.connect(self.name, options="-c client_encoding=UTF8")))
        cursor = connection.cursor()
        cursor.execute(PINNED)
        return cursor

    def close(self) -> None:
        self._connections.close()
        self.server.drop_database(self.name)
        self._broker.delete_topic(self.topic)

    # --- the server's own word ---

    def truth(self, table: Table, columns: Sequence[str]) -> dict[str, Image]:
        """The rows of the table by their id, in the text of the types' output functions (that of format's %s)."""
        texts = [f"case when num_nulls({quoted(name)}) = 0 then format('%s', {quoted(name)}) end" for name in columns]
        self.cursor.execute(f"select {', '.join(texts)} from {quoted(table[0])}.{quoted(table[1])}")
        place = list(columns).index("id")
        return {row[place]: dict(zip(columns, row)) for row in self.cursor.fetchall()}

    # --- the two ways ---

    def frames(self, slot: str) -> list[bytes]:
        """What stands in the slot, read in a session with the database's own settings, and left there."""
        with contextlib.closing(self.server.connect(self.name)) as connection, connection.cursor() as cursor:
            cursor.execute("select data from pg_logical_slot_peek_binary_changes(%s, null, null)", (slot,))
            return [bytes(row[0]) for row in cursor.fetchall()]

    def decode(self, frames: Iterable[bytes], tables: Iterable[Table]) -> list[Change]:
        """The frames' changes, by walferry.decode."""
        self.cursor.execute("create temp table if not exists frames (n serial, frame bytea); truncate pg_temp.frames")
        for frame in frames:
            self.cursor.execute("insert into pg_temp.frames (frame) values (%s)", (frame,))
        named: dict[str, Table] = {}
        for table in tables:
            self.cursor.execute("select format('%%I.%%I', %s, %s)", table)
            named[self.cursor.fetchone()[0]] = table
        self.cursor.execute("select d.operation, d.relation, d.commit_lsn, d.before::text, d.after::text, d.unchanged "
                            "from (select frame from pg_temp.frames order by n) f, walferry.decode(f.frame) d")
        return [Change(operation, named.get(relation, ("", relation)), lsn_from_text(lsn),
                       before and json.loads(before), after and json.loads(after),
                       frozenset(unchanged or ()))
                for operation, relation, lsn, before, after, unchanged in self.cursor.fetchall()]

    def ship(self) -> Walferry:
        """A started shipper from this slot into this topic."""
        return Walferry(self._run, {
            "name": self.name, "source": {"dsn": self.server.dsn(self.name), "create_slot": False},
            "sink": {"brokers": self._broker.brokers, "format": "canal-json", "topic": self.topic}}).start()

    def canal(self) -> list[tuple[Change, dict[str, Any]]]:
        """All of the topic, once the shipper has brought everything there."""
        self.server.wait_confirmed(self.name)
        return [canal_reader.read(record) for record in self._broker.consume(self.topic)]


class TableUnderTest:
    """A table with a column `id`, whose statements are recorded as stages. `columns` are those that it has now."""

    def __init__(self, bench: Workbench, name: Table, columns: Sequence[str], stages: list[Stage]) -> None:
        self._bench, self.name, self.columns, self._stages = bench, name, list(columns), stages
        self.sql = f"{quoted(name[0])}.{quoted(name[1])}"
        self.identity, self.key = "d", ("id",)
        self.refresh()

    def refresh(self) -> None:
        """Reads the rows again: after DDL."""
        self.rows = self._bench.truth(self.name, self.columns)

    def set_identity(self, identity: str, key: tuple[str, ...], sql: str) -> None:
        self._bench.cursor.execute(f"alter table {self.sql} replica identity {sql}")
        self.identity, self.key = identity, key

    def execute(self, operation: str, sql: str, parameters: Sequence[Any] | None = None) -> None:
        """One statement that inserts, updates or deletes. It returns the rows' ids: the old and the new where they
        differ."""
        self._bench.cursor.execute(sql, parameters)
        touched = self._bench.cursor.fetchall()
        before = self.rows
        self.refresh()
        stage = Stage(operation, self.name, self.identity, key=self.key)
        for row in touched:
            stage.rows.append((None if operation == "insert" else before[row[0]],
                               None if operation == "delete" else self.rows[row[-1]]))
        self._stages.append(stage)

"""Writers whose every committed row change is known from outside: concurrent sessions, each with a model of the rows that
it owns and a journal of what it did to them.

Each transaction begins with a row in `marker`, which names it; every row that is inserted or updated carries the number of
its change. A COMMIT whose answer was lost is looked up afterwards by its transaction id."""

import contextlib
import json
import random
import threading
from array import array
from collections.abc import Callable
from typing import Any

import psycopg2
import psycopg2.errors
from journal import CHANGE_BITS, Journal, Row, change_text

from harness import Postgres

KEYS = 400  # rows that a writer keeps in each table
SHARED_KEYS = 20
SCHEMA = "shop"
_WRITER_RANGE = 1_000_000_000
TRANSACTIONS = 10_000_000  # of one writer


def setup_sql(writers: int) -> str:
    """The tables, before the slot is there."""
    lines = [f"""
        create schema {SCHEMA};
        set search_path = {SCHEMA};
        create table marker (txn bigint primary key, writer int not null, xid bigint not null);
        create table keyed (id bigint primary key, change_id bigint not null, amount numeric(12,2), paid boolean, note text);
        create table keyless (change_id bigint not null, v text);
        alter table keyless replica identity full;
        create index on keyless (change_id);
        create table wide (id bigint primary key, change_id bigint not null, small text, big text);
        alter table wide alter big set storage external;
        create table wide_full (like wide including all);
        alter table wide_full replica identity full;
        create table shared (k int primary key, v bigint not null, change_id bigint not null);
        create table bulk (id bigint primary key, change_id bigint not null, pad text);
        create table parts (k bigint primary key, change_id bigint not null, v text) partition by range (k);"""]
    for writer in range(writers):
        first = writer * _WRITER_RANGE
        half = first + _WRITER_RANGE // 2
        lines.append(f"""
            create table parts_{writer}_a partition of parts for values from ({first}) to ({half});
            create table parts_{writer}_b partition of parts for values from ({half}) to ({first + _WRITER_RANGE});
            create table evolving_{writer} (id bigint primary key, change_id bigint not null, c0 text);
            create table scratch_{writer} (id bigint primary key, change_id bigint not null);""")
    return "".join(lines)


def fill_shared_sql() -> str:
    """The rows that all writers count up: once, when the slot is there."""
    return (f"insert into {SCHEMA}.marker values (0, -1, txid_current()); "
            f"insert into {SCHEMA}.shared select k, 0, k from generate_series(1, {SHARED_KEYS}) k")


def journal_shared_fill(journal: Journal, xid: int) -> None:
    texts = [change_text(SCHEMA, "marker", "INSERT", ["txn"], {"txn": "0", "writer": "-1", "xid": str(xid)}, None)]
    texts += [change_text(SCHEMA, "shared", "INSERT", ["k"], {"k": str(k), "v": "0", "change_id": str(k)}, None)
              for k in range(1, SHARED_KEYS + 1)]
    journal.committed(-1, 0, xid, array("q", map(hash, texts)), texts, ())


class _Undone(Exception):
    """The writer rolls back of its own will."""


class _Transaction:
    """What a transaction has done so far, and how to take it back in the model."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.xid = 0
        self.hashes: array[int] = array("q")
        self.texts: list[str] = []
        self.undone: list[int] = []
        self.undo: list[Callable[[], None]] = []
        self._changes = 0

    def next_change(self, count: int = 1) -> int:
        """The number of the next change; numbers of changes that are rolled back are not given out again."""
        self._changes += count
        if self._changes >> CHANGE_BITS:
            raise ValueError("the transaction has too many changes")
        return (self.number << CHANGE_BITS) + self._changes - count + 1

    def add(self, text: str) -> None:
        self.texts.append(text)
        self.hashes.append(hash(text))

    def mark(self) -> tuple[int, int, int]:
        return len(self.hashes), len(self.texts), len(self.undo)

    def back_to(self, mark: tuple[int, int, int]) -> None:
        changes, texts, undo = mark
        self.undone.extend(self.hashes[changes:])
        del self.hashes[changes:]
        del self.texts[texts:]
        while len(self.undo) > undo:
            self.undo.pop()()


class _Table:
    """The rows of one table that one writer owns, as the topic would show them."""

    def __init__(self, name: str, columns: list[str], key: list[str] | None, *, full: bool = False,
                 external: str | None = None) -> None:
        self.name = name
        self.columns = columns
        self.key = key
        self.full = full
        self.external = external  # the column that is kept out of line, of which an UPDATE tells only where it changed
        self.rows: dict[int, Row] = {}

    def inserted(self, row: Row) -> str:
        return change_text(SCHEMA, self.name, "INSERT", self.key, row, None)

    def updated(self, before: Row, after: Row) -> str:
        old: Row = {}
        data = after
        if self.full:
            old = {column: value for column, value in before.items() if value != after[column]}
        else:
            if self.key and any(before[column] != after[column] for column in self.key):
                old = {column: before[column] for column in self.key}
            # What is not out of line, as NULL, is always there.
            if self.external and before[self.external] is not None and before[self.external] == after[self.external]:
                data = {column: value for column, value in after.items() if column != self.external}
        return change_text(SCHEMA, self.name, "UPDATE", self.key, data, old)

    def deleted(self, row: Row) -> str:
        data = row if self.full else {column: row[column] for column in self.key or ()}
        return change_text(SCHEMA, self.name, "DELETE", self.key, data, None)

    def truncated(self) -> str:
        return change_text(SCHEMA, self.name, "TRUNCATE", None, None, None)


class Writer(threading.Thread):
    """One session after another, until stop()."""

    def __init__(self, server: Postgres, database: str, number: int, seed: int, journal: Journal, pause: float) -> None:
        super().__init__(name=f"writer {number}", daemon=True)
        self._server = server
        self._database = database
        self._number = number
        self._chance = random.Random(f"{seed} writer {number}")
        self._journal = journal
        self._pause = pause
        self._stop_asked = threading.Event()
        self._turn = threading.Condition()
        self._held = False
        self._at_rest = False
        self._large: list[int] = []  # rows of large transactions that were asked for
        self.transactions = 0  # begun so far: the last one has this number
        self._next_key = 0
        self._tables = {
            "keyed": _Table("keyed", ["id", "change_id", "amount", "paid", "note"], ["id"]),
            "keyless": _Table("keyless", ["change_id", "v"], None, full=True),
            "wide": _Table("wide", ["id", "change_id", "small", "big"], ["id"], external="big"),
            "wide_full": _Table("wide_full", ["id", "change_id", "small", "big"], ["id"], full=True, external="big"),
            "a": _Table(f"parts_{number}_a", ["k", "change_id", "v"], ["k"]),
            "b": _Table(f"parts_{number}_b", ["k", "change_id", "v"], ["k"]),
            "evolving": _Table(f"evolving_{number}", ["id", "change_id", "c0"], ["id"]),
            "scratch": _Table(f"scratch_{number}", ["id", "change_id"], ["id"]),
        }
        self._added_columns = 0
        self._cursor: Any = None
        self.committed = 0
        self.failure: BaseException | None = None

    def stop(self) -> None:
        self._stop_asked.set()
        self.go_on()

    def hold(self, timeout: float) -> None:
        """Returns when the transaction at hand has ended; no other one begins before go_on()."""
        with self._turn:
            self._held = True
            if not self._turn.wait_for(lambda: self._at_rest or not self.is_alive(), timeout):
                raise TimeoutError(f"{self.name} did not rest within {timeout:g} s")

    def go_on(self) -> None:
        with self._turn:
            self._held = False
            self._turn.notify_all()

    def _rest_while_held(self) -> None:
        with self._turn:
            self._at_rest = True
            self._turn.notify_all()
            self._turn.wait_for(lambda: not self._held)
            self._at_rest = False

    def large_transaction(self, rows: int) -> None:
        """One of the next transactions has so many rows."""
        self._large.append(rows)

    def run(self) -> None:
        try:
            while not self._stop_asked.is_set():
                try:
                    with contextlib.closing(self._server.connect(self._database, autocommit=False)) as connection:
                        self._cursor = connection.cursor()
                        self._cursor.execute(f"set search_path = {SCHEMA}; set lock_timeout = '5s'; "
                                             # Bulk statements come in the order of the keys.
                                             "set enable_seqscan = off; set enable_bitmapscan = off")
                        connection.commit()
                        while not self._stop_asked.is_set():
                            self._rest_while_held()
                            self._transaction(connection)
                            self._stop_asked.wait(self._pause * self._chance.random() * 2)
                except (psycopg2.OperationalError, psycopg2.InterfaceError):  # also from rollback() of a lost connection
                    self._stop_asked.wait(0.05)  # the server is away
        except BaseException as failure:
            self.failure = failure
            raise

    # --- a transaction and its outcome ---

    def _transaction(self, connection: Any) -> None:
        self.transactions += 1
        transaction = _Transaction(self._number * TRANSACTIONS + self.transactions)
        committing = False
        try:
            self._mark(transaction)
            self._work(transaction)
            committing = True
            connection.commit()
        except _Undone:
            self._rolled_back(transaction)
            connection.rollback()
            return
        except psycopg2.Error as error:
            # An answer of the server to COMMIT, such as a deadlock, has a code: there is none where it did not answer,
            # and a shutdown's code says nothing about the COMMIT.
            if committing and (error.pgcode is None or error.pgcode.startswith("57P")):
                self._journal.asked_for_outcome()
                if self._has_committed(transaction):
                    self._committed(transaction)
                else:
                    self._rolled_back(transaction)
                raise psycopg2.OperationalError("the connection was lost") from error
            self._rolled_back(transaction)
            if connection.closed:
                raise psycopg2.OperationalError("the connection was lost") from error
            if not isinstance(error, psycopg2.OperationalError):
                raise  # a mistake of the writer's
            connection.rollback()
            return
        self._committed(transaction)

    def _committed(self, transaction: _Transaction) -> None:
        self.committed += 1
        self._journal.committed(self._number, transaction.number, transaction.xid, transaction.hashes, transaction.texts,
                                transaction.undone)

    def _rolled_back(self, transaction: _Transaction) -> None:
        texts = list(transaction.texts)
        transaction.back_to((0, 0, 0))
        self._journal.undid(self._number, transaction.number, transaction.xid, transaction.undone, texts)

    def _has_committed(self, transaction: _Transaction) -> bool:
        """Asks until the server is there and the transaction has ended. Its row in `marker` tells; its number does not: one
        that a crash has undone without a trace is unknown to the server, or given to another transaction."""
        while True:
            with contextlib.suppress(psycopg2.OperationalError, psycopg2.InterfaceError):
                try:
                    ended = self._server.query("select txid_status(%s) is distinct from 'in progress'", (transaction.xid,),
                                               self._database) == [(True,)]
                except psycopg2.errors.InvalidParameterValue:
                    ended = True
                if ended:
                    return self._server.query(f"select 1 from {SCHEMA}.marker where txn = %s", (transaction.number,),
                                              self._database) != []
            threading.Event().wait(0.05)

    def _mark(self, transaction: _Transaction) -> None:
        self._cursor.execute("insert into marker values (%s, %s, txid_current()) returning xid",
                             (transaction.number, self._number))
        transaction.xid = self._cursor.fetchone()[0]
        row: Row = {"txn": str(transaction.number), "writer": str(self._number), "xid": str(transaction.xid)}
        transaction.add(change_text(SCHEMA, "marker", "INSERT", ["txn"], row, None))

    def _work(self, transaction: _Transaction) -> None:
        if self._large:
            self._bulk(transaction, self._large.pop(0))
            return
        kind = self._chance.random()
        if kind < 0.60:
            self._rows(transaction, self._chance.randint(1, 8))
        elif kind < 0.76:
            self._with_savepoints(transaction)
        elif kind < 0.84:
            self._rows(transaction, self._chance.randint(1, 6))
            if self._chance.random() < 0.5:
                self._alter(transaction)
            raise _Undone
        elif kind < 0.95:
            self._count_up(transaction)
            self._rows(transaction, self._chance.randint(0, 4))
        elif kind < 0.97:
            self._rows(transaction, 2)
            self._alter(transaction)
            self._rows(transaction, 4, only="evolving")
        elif kind < 0.985:
            self._truncate(transaction)
        elif kind < 0.992:
            self._bulk(transaction, self._chance.randint(50, 3000))
        else:
            self._rows(transaction, self._chance.randint(50, 300))

    def _with_savepoints(self, transaction: _Transaction, depth: int = 0) -> None:
        for _ in range(self._chance.randint(1, 3)):
            self._rows(transaction, self._chance.randint(0, 3))
            mark = transaction.mark()
            name = f"s{depth}"
            self._cursor.execute(f"savepoint {name}")
            self._rows(transaction, self._chance.randint(1, 4))
            if depth < 2 and self._chance.random() < 0.3:
                self._with_savepoints(transaction, depth + 1)
            if self._chance.random() < 0.1:
                self._alter(transaction)
            if self._chance.random() < 0.5:
                self._cursor.execute(f"rollback to savepoint {name}")
                transaction.back_to(mark)
            elif self._chance.random() < 0.5:
                self._cursor.execute(f"release savepoint {name}")

    # --- rows ---

    def _rows(self, transaction: _Transaction, count: int, only: str | None = None) -> None:
        for _ in range(count):
            name = only or self._chance.choices(
                ["keyed", "keyless", "wide", "wide_full", "a", "b", "evolving", "scratch"], [8, 4, 1, 1, 3, 3, 3, 1])[0]
            table = self._tables[name]
            rows = table.rows
            action = self._chance.random()
            if len(rows) < 3 or (action < 0.35 and len(rows) < KEYS):
                self._insert_row(transaction, table)
            elif action < 0.8 and name != "scratch":
                self._update_row(transaction, table, self._chance.choice(list(rows)))
            else:
                self._delete_row(transaction, table, self._chance.choice(list(rows)))

    def _keep(self, transaction: _Transaction, table: _Table, key: int, row: Row | None) -> None:
        """Into the model, with the way back."""
        before = table.rows.get(key)

        def back() -> None:
            if before is None:
                table.rows.pop(key, None)
            else:
                table.rows[key] = before

        transaction.undo.append(back)
        if row is None:
            table.rows.pop(key, None)
        else:
            table.rows[key] = row

    def _new_key(self, table: _Table) -> int:
        self._next_key += 1
        key = self._number * _WRITER_RANGE + self._next_key
        return key + _WRITER_RANGE // 2 if table is self._tables["b"] else key

    def _value(self, column: str) -> str | None:
        chance = self._chance
        match column:
            case "amount":
                return None if chance.random() < 0.1 else f"{chance.randint(-10**8, 10**8) / 100:.2f}"
            case "paid":
                return chance.choice(["true", "false", None])
            case "big":
                return None if chance.random() < 0.1 else chance.choice("abcdefgh\u00e9") * chance.randint(2500, 4000)
            case _:
                return chance.choice([None, "", "a \"quoted\" text\\\n", "\u00fcber \U0001f418", "x" * chance.randint(1, 60)])

    def _insert_row(self, transaction: _Transaction, table: _Table) -> None:
        change = transaction.next_change()
        key = change if table.key is None else self._new_key(table)
        row: Row = {column: self._value(column) for column in table.columns}
        row["change_id"] = str(change)
        if table.key:
            row[table.key[0]] = str(key)
        target = "parts" if table.name.startswith("parts") else table.name
        self._cursor.execute(f"insert into {target} ({', '.join(row)}) values ({', '.join(['%s'] * len(row))})",
                             list(row.values()))
        self._keep(transaction, table, key, row)
        transaction.add(table.inserted(row))

    def _update_row(self, transaction: _Transaction, table: _Table, key: int) -> None:
        chance = self._chance
        before = table.rows[key]
        change = transaction.next_change()
        changed: Row = {"change_id": str(change)}
        free = [column for column in table.columns if column != "change_id" and column not in (table.key or ())]
        for column in free:
            # Values out of line mostly stay as they are, so that nothing of them is logged.
            if chance.random() < (0.3 if column == "big" else 0.6):
                changed[column] = self._value(column)
        target, new_key, new_table = table, key, table
        key_column = table.key[0] if table.key else "change_id"
        if table.key is None:
            new_key = change
        elif chance.random() < 0.15 and table.external is None:
            if table.name.startswith("parts") and chance.random() < 0.5:  # into the other partition
                new_table = self._tables["b" if table is self._tables["a"] else "a"]
            new_key = self._new_key(new_table)
            changed[key_column] = str(new_key)
        name = "parts" if target.name.startswith("parts") else target.name
        assignments = ", ".join(f"{column} = %s" for column in changed)
        self._cursor.execute(f"update {name} set {assignments} where {key_column} = %s",
                             [*changed.values(), before[key_column]])
        if self._cursor.rowcount != 1:
            raise RuntimeError(f"{self._cursor.rowcount} rows of {name} with {key_column} {before[key_column]}")
        after = {**before, **changed}
        if new_key != key or new_table is not table:
            self._keep(transaction, table, key, None)
        self._keep(transaction, new_table, new_key, after)
        if new_table is table:
            transaction.add(table.updated(before, after))
        else:
            transaction.add(table.deleted(before))
            transaction.add(new_table.inserted(after))

    def _delete_row(self, transaction: _Transaction, table: _Table, key: int) -> None:
        row = table.rows[key]
        name = "parts" if table.name.startswith("parts") else table.name
        key_column = table.key[0] if table.key else "change_id"
        self._cursor.execute(f"delete from {name} where {key_column} = %s", (row[key_column],))
        if self._cursor.rowcount != 1:
            raise RuntimeError(f"{self._cursor.rowcount} rows of {name} with {key_column} {row[key_column]}")
        self._keep(transaction, table, key, None)
        transaction.add(table.deleted(row))

    def _count_up(self, transaction: _Transaction) -> None:
        """Rows that all writers change, in the order of the keys, so that few deadlock."""
        for k in sorted(self._chance.sample(range(1, SHARED_KEYS + 1), self._chance.randint(1, 3))):
            change = transaction.next_change()
            self._cursor.execute("update shared set v = v + 1, change_id = %s where k = %s returning v", (change, k))
            row: Row = {"k": str(k), "v": str(self._cursor.fetchone()[0]), "change_id": str(change)}
            transaction.add(change_text(SCHEMA, "shared", "UPDATE", ["k"], row, {}))

    def _truncate(self, transaction: _Transaction) -> None:
        """Several tables at once, with rows before and after."""
        names = self._chance.sample(["a", "b", "scratch", "evolving"], self._chance.randint(1, 3))
        for name in names:
            self._insert_row(transaction, self._tables[name])
        tables = [self._tables[name] for name in names]
        self._cursor.execute(f"truncate {', '.join(table.name for table in tables)}")
        for table in tables:
            for key in list(table.rows):
                self._keep(transaction, table, key, None)
            transaction.add(table.truncated())
        for name in names:
            self._insert_row(transaction, self._tables[name])

    def _alter(self, transaction: _Transaction) -> None:
        """The writer's own table gets, loses or renames a column."""
        table = self._tables["evolving"]
        rows, columns = dict(table.rows), list(table.columns)

        def back() -> None:
            table.rows, table.columns = rows, columns

        transaction.undo.append(back)
        free = [column for column in columns if column not in ("id", "change_id")]
        what = self._chance.random()
        if not free or (what < 0.5 and len(free) < 6):
            self._added_columns += 1
            name = f"c{self._added_columns}"
            default = self._chance.choice([None, "given"])
            self._cursor.execute(f"alter table {table.name} add column {name} text" +
                                 (" default 'given'" if default else ""))
            table.columns = [*columns, name]
            table.rows = {key: {**row, name: default} for key, row in rows.items()}
            return
        column = self._chance.choice(free)
        if what < 0.75:
            self._cursor.execute(f"alter table {table.name} drop column {column}")
            table.columns = [name for name in columns if name != column]
            table.rows = {key: {name: row[name] for name in table.columns} for key, row in rows.items()}
            return
        self._added_columns += 1
        new = f"r{self._added_columns}"
        self._cursor.execute(f"alter table {table.name} rename column {column} to {new}")
        table.columns = [new if name == column else name for name in columns]
        table.rows = {key: {(new if name == column else name): value for name, value in row.items()}
                      for key, row in rows.items()}

    def _bulk(self, transaction: _Transaction, count: int) -> None:
        """Many rows by one statement each: inserted, a third of them updated, a sixth deleted. Nobody touches them again."""
        first = transaction.next_change(2 * count)
        base = first  # keys of their own range: numbers of changes are unique
        self._cursor.execute("insert into bulk select %s::bigint + n, %s::bigint + n, 'row ' || n || repeat('.', n %% 50) "
                             "from generate_series(0, %s) n", (base, first, count - 1))
        updated, removed = count // 3, count // 6
        self._cursor.execute("update bulk set change_id = change_id + %s, pad = null where id >= %s and id < %s",
                             (count, base, base + updated))
        self._cursor.execute("delete from bulk where id >= %s and id < %s", (base, base + removed))
        template = change_text(SCHEMA, "bulk", "INSERT", ["id"], {"id": "%d", "change_id": "%d", "pad": "%s"}, None)
        add = transaction.hashes.append
        for n in range(count):
            add(hash(template % (base + n, first + n, f"row {n}" + "." * (n % 50))))
        template = json.dumps([SCHEMA, "bulk", "UPDATE", ["id"], {"id": "%d", "change_id": "%d", "pad": None}, {}],
                              separators=(",", ":"))
        for n in range(updated):
            add(hash(template % (base + n, first + n + count)))
        template = change_text(SCHEMA, "bulk", "DELETE", ["id"], {"id": "%d"}, None)
        for n in range(removed):
            add(hash(template % (base + n)))
        transaction.texts.append(f"bulk: {count} rows from {base} inserted, {updated} updated, {removed} deleted")


class Workload:
    """Several writers on one database, into one journal."""

    def __init__(self, server: Postgres, database: str, journal: Journal, seed: int, writers: int = 3,
                 pause: float = 0.02) -> None:
        self._server, self._database = server, database
        self.journal = journal
        self.writers = [Writer(server, database, number, seed, journal, pause) for number in range(writers)]
        server.psql(setup_sql(writers), database)

    def start(self) -> None:
        """Call it when the slot is there: earlier rows are not in the stream."""
        self._server.psql(f"begin; {fill_shared_sql()}; commit", self._database)
        xid = self._server.query(f"select xid from {SCHEMA}.marker where txn = 0", dbname=self._database)[0][0]
        journal_shared_fill(self.journal, xid)
        for writer in self.writers:
            writer.start()

    def hold(self, timeout: float = 60.0) -> None:
        """No transaction is in progress when it returns, and none begins before go_on()."""
        for writer in self.writers:
            writer.hold(timeout)
        self.check_writers()

    def go_on(self) -> None:
        for writer in self.writers:
            writer.go_on()

    def stop(self, timeout: float = 60.0) -> None:
        for writer in self.writers:
            writer.stop()
        for writer in self.writers:
            writer.join(timeout)
            if writer.is_alive():
                raise TimeoutError(f"{writer.name} did not end within {timeout:g} s")

    def check_writers(self) -> None:
        """Raises what a writer failed with: a mistake of the workload, not of what is tested."""
        for writer in self.writers:
            if writer.failure is not None:
                raise RuntimeError(f"{writer.name} failed") from writer.failure

    @property
    def committed(self) -> int:
        return sum(writer.committed for writer in self.writers)

"""The text of a value never depends on the settings of the session that decodes it; that session keeps its settings."""

import contextlib
import subprocess
from collections.abc import Iterator
from typing import Any

import psycopg2
import psycopg2.errors
import psycopg2.extras
import pytest
from harness import Postgres, Run
from plugin_stream import Decoder, Stream, create_slot

# Columns whose output functions look at a setting. The plain types are sent in binary; in arrays, ranges and composites
# the server turns them into text.
COLUMNS = {
    "days": ("date[]", "'{2026-02-01,infinity,0044-03-15 BC}'"),
    "moments": ("timestamptz[]", "'{2026-02-01 12:00:00+00,-infinity}'"),
    "local_moments": ("timestamp[]", "'{2026-02-01 12:00:00.5}'"),
    "clocks": ("timetz[]", "'{12:00:00+05:30}'"),
    "spans": ("interval[]", "'{1 year -2 days +03:00:00,-00:00:01}'"),
    "period": ("tstzrange", "'[2026-02-01 12:00:00+00,2026-07-01 12:00:00+00)'"),
    "periods": ("tsmultirange", "'{[2026-02-01,2026-03-01),[2026-04-01,)}'"),
    "numbers": ("float8[]", "array[0.1, 1e-300, 'NaN', 1.0 / 3]"),
    "singles": ("float4[]", "array[0.1, 16777216, 1.0 / 3]"),
    "place": ("point", "'(0.1,0.30000000000000004)'"),
    "blobs": ("bytea[]", r"array['\x00ff5c'::bytea]"),
    "price": ("money", "'1234567.89'"),
    "prices": ("money[]", "'{-0.01,92233720368547758.07}'"),
    "relation": ("regclass", "'pg_class'"),
    "own_relation": ("regclass", "'\"Odd\"'"),
    "kind": ("regtype", "'timestamptz'"),
    "own_kind": ("regtype", "'whole'"),
    "function": ("regprocedure", "'lower(text)'"),
    "namespace": ("regnamespace", "'public'"),
    "collated": ("regcollation", "'\"C\"'"),
    "document": ("xml", "'<a>é</a>'"),
    "piece": ("xml", "'text <b/>'"),
    "whole": ("whole", r"'(2026-02-01 12:00+00,1 day,0.1,\\xff,12.5)'"),
    "plain_day": ("date", "'2026-02-01'"),
    "plain_moment": ("timestamptz", "'2026-02-01 12:00+00'"),
    "plain_span": ("interval", "'1 day'"),
    "plain_number": ("float8", "0.1"),
    "plain_blob": ("bytea", r"'\x00ff'"),
}
TYPES = "create type whole as (at timestamptz, span interval, n float8, b bytea, m money)"

PINNED = {
    "datestyle": "ISO, MDY",
    "intervalstyle": "postgres",
    "timezone": "UTC",
    "bytea_output": "hex",
    "extra_float_digits": "1",
    "lc_monetary": "C",
    "search_path": "pg_catalog",
    "quote_all_identifiers": "off",
}

# setting, odd value, a column of which it changes the text in an ordinary session (none: there is no such column)
ODD = [
    ("datestyle", "SQL, DMY", "moments"),
    ("datestyle", "Postgres, DMY", "period"),
    ("datestyle", "German, DMY", "days"),
    ("intervalstyle", "iso_8601", "spans"),
    ("intervalstyle", "sql_standard", "whole"),
    ("timezone", "Asia/Kathmandu", "moments"),
    ("timezone", "<-07>+07", "whole"),
    ("bytea_output", "escape", "blobs"),
    ("extra_float_digits", "-15", "numbers"),
    ("extra_float_digits", "0", "place"),
    ("search_path", "public", "own_relation"),
    ("search_path", "nowhere", None),
    ("quote_all_identifiers", "on", "relation"),
    ("lc_numeric", "C.UTF-8", None),
    ("lc_time", "C.UTF-8", None),
    ("lc_monetary", "POSIX", None),
    ("lc_messages", "POSIX", None),
    ("client_encoding", "LATIN1", None),
    ("client_encoding", "SQL_ASCII", None),
    ("xmloption", "document", None),
    ("xmlbinary", "hex", None),
    ("default_text_search_config", "pg_catalog.german", None),
    ("standard_conforming_strings", "off", None),
    ("array_nulls", "off", None),
]
NAMES = sorted({name for name, _, _ in ODD} | set(PINNED))


def literal(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


class Written:
    """A database with a row in which everything depends on settings, and its text under those that the plugin pins. It
    is inserted twice: in the second transaction the plugin knows the table already."""

    def __init__(self, server: Postgres, database: str, slot: str) -> None:
        self.server, self.database, self.slot = server, database, slot
        create_slot(server, database, slot)
        server.query(TYPES, dbname=database)
        columns = ", ".join(f"{name} {kind}" for name, (kind, _) in COLUMNS.items())
        server.query(f'create table "Odd" ({columns})', dbname=database)
        for _ in range(2):
            server.query(
                f'insert into "Odd" select {", ".join(value for _, value in COLUMNS.values())}', dbname=database
            )
        self.text = self.shown(PINNED)

    def shown(self, settings: dict[str, str]) -> dict[str, str]:
        """What SELECT shows under these settings."""
        with contextlib.closing(self.server.connect(self.database)) as connection, connection.cursor() as cursor:
            cursor.execute("reset datestyle")  # which psycopg2 sets
            for name, value in settings.items():
                cursor.execute(f"set {name} = {literal(value)}")
            cursor.execute(f'select {", ".join(f"format($$%s$$, {name})" for name in COLUMNS)} from public."Odd"')
            return dict(zip(COLUMNS, cursor.fetchone(), strict=True))


def made(server: Postgres, name: str) -> Iterator[Written]:
    server.create_database(name)
    yield Written(server, name, name)
    server.drop_database(name)


@pytest.fixture(scope="module")
def written(server: Postgres) -> Iterator[Written]:
    """For tests that only look."""
    yield from made(server, "settings")


@pytest.fixture
def own(server: Postgres, test_id: str) -> Iterator[Written]:
    """For tests that add to it."""
    yield from made(server, f"{test_id}_odd")


@pytest.fixture(scope="module")
def decoder(server: Postgres) -> Iterator[str]:
    """A database without odd settings, in which the frames are read."""
    server.create_database("settings_decoder")
    yield "settings_decoder"
    server.drop_database("settings_decoder")


def settings_of(cursor: Any) -> dict[str, str]:
    cursor.execute("select name, setting from pg_settings where lower(name) = any(%s)", (NAMES,))
    return dict(cursor.fetchall())


def rows(server: Postgres, database: str, frames: list[bytes]) -> list[dict[str, str]]:
    return [change["after"] for change in Decoder(server, database).changes(frames) if change["operation"] == "insert"]


def peek(cursor: Any, slot: str) -> list[bytes]:
    cursor.execute("select data from pg_catalog.pg_logical_slot_peek_binary_changes(%s, null, null)", (slot,))
    return [bytes(data) for (data,) in cursor.fetchall()]


def walsender_setting(server: Postgres, database: str, name: str) -> str:
    with contextlib.closing(
        server.connect(database, connection_factory=psycopg2.extras.LogicalReplicationConnection)
    ) as connection:
        with connection.cursor() as cursor:
            cursor.execute(f"show {name}")
            return str(cursor.fetchone()[0])


WHERE = {
    "role": "alter role postgres {}",
    "database": 'alter database "{database}" {}',
    "role-in-database": 'alter role postgres in database "{database}" {}',
}


@contextlib.contextmanager
def set_for(server: Postgres, database: str, where: str, settings: dict[str, str]) -> Iterator[None]:
    try:
        for name, value in settings.items():
            server.query(WHERE[where].format(f"set {name} = {literal(value)}", database=database))
        yield
    finally:
        server.query(WHERE[where].format("reset all", database=database))


@pytest.mark.parametrize(("name", "value", "column"), ODD, ids=[f"{name}={value}" for name, value, _ in ODD])
def test_a_walsenders_settings_change_nothing(
    server: Postgres, decoder: str, written: Written, name: str, value: str, column: str | None
) -> None:
    with set_for(server, written.database, "role-in-database", {name: value}):
        # Without these two the test could not fail.
        assert name == "client_encoding" or walsender_setting(server, written.database, name) == value
        if column:
            assert written.shown({})[column] != written.text[column]
        with Stream(server, written.database, written.slot, confirm=False) as stream:
            frames = list(stream.frames(server.current_lsn()))
    assert rows(server, decoder, frames) == [written.text] * 2


@pytest.mark.parametrize("where", WHERE)
def test_all_settings_at_once_of_a_role_and_of_a_database(
    server: Postgres, decoder: str, written: Written, where: str
) -> None:
    def schema(frames: list[bytes]) -> list[dict[str, Any]]:
        return Decoder(server, decoder).columns(frames)

    with Stream(server, written.database, written.slot, confirm=False) as stream:
        plain = list(stream.frames(server.current_lsn()))
    with set_for(server, written.database, where, {name: value for name, value, _ in reversed(ODD)}):
        with Stream(server, written.database, written.slot, confirm=False) as stream:
            frames = list(stream.frames(server.current_lsn()))
    assert rows(server, decoder, frames) == [written.text] * 2
    assert schema(frames) == schema(plain) != []


@pytest.mark.parametrize(("name", "value"), [odd[:2] for odd in ODD], ids=[f"{name}={value}" for name, value, _ in ODD])
def test_a_sessions_settings_change_nothing_and_stay(
    server: Postgres, decoder: str, written: Written, name: str, value: str
) -> None:
    with contextlib.closing(server.connect(written.database)) as connection, connection.cursor() as cursor:
        cursor.execute(f"set {name} = {literal(value)}")
        before = settings_of(cursor)
        assert rows(server, decoder, peek(cursor, written.slot)) == [written.text] * 2
        assert settings_of(cursor) == before


def test_settings_stay_in_every_kind_of_transaction(server: Postgres, decoder: str, written: Written) -> None:
    odd = {name: value for name, value, _ in ODD if name != "client_encoding"}
    with contextlib.closing(server.connect(written.database)) as connection, connection.cursor() as cursor:
        cursor.execute("set timezone = 'America/Caracas'")
        outside = settings_of(cursor)
        cursor.execute("begin")
        for name, value in odd.items():
            cursor.execute(f"set local {name} = {literal(value)}")
        cursor.execute("savepoint s; set local intervalstyle = 'postgres_verbose'")
        before = settings_of(cursor)
        assert rows(server, decoder, peek(cursor, written.slot)) == [written.text] * 2
        assert settings_of(cursor) == before
        cursor.execute("release s")
        assert settings_of(cursor) == before
        cursor.execute("commit")
        assert settings_of(cursor) == outside
        # A function's own settings: those that it has set hold in it, and end with it.
        cursor.execute(
            "create function f(slot text) returns setof bytea language plpgsql set timezone = 'Asia/Tokyo' as "
            "$$begin return query select data from pg_logical_slot_peek_binary_changes(slot, null, null); "
            "if current_setting('timezone') <> 'Asia/Tokyo' then raise 'another zone'; end if; end$$"
        )
        cursor.execute("select f(%s)", (written.slot,))
        assert rows(server, decoder, [bytes(data) for (data,) in cursor.fetchall()]) == [written.text] * 2
        assert settings_of(cursor) == outside


# The output function of this type always fails. The server asks for it only when a value is shown.
UNSHOWABLE = """
    create type unshowable;
    create function unshowable_in(cstring) returns unshowable as 'textin' language internal immutable strict;
    create function unshowable_out(unshowable) returns cstring as 'pg_node_tree_in' language internal immutable strict;
    create type unshowable (input = unshowable_in, output = unshowable_out, like = text);
    create table broken (at timestamptz[], v unshowable);
    insert into broken values ('{2026-02-01 12:00+00}', 'x');"""


def test_settings_stay_when_decoding_fails(server: Postgres, decoder: str, own: Written) -> None:
    server.query(UNSHOWABLE, dbname=own.database)
    odd = {name: value for name, value, _ in ODD if name != "client_encoding"}
    with contextlib.closing(server.connect(own.database)) as connection, connection.cursor() as cursor:
        for name, value in odd.items():
            cursor.execute(f"set {name} = {literal(value)}")
        before = settings_of(cursor)

        def fails() -> None:
            with pytest.raises(psycopg2.errors.FeatureNotSupported, match="cannot accept a value of type"):
                peek(cursor, own.slot)

        fails()
        assert settings_of(cursor) == before
        cursor.execute("begin; set local timezone = 'Asia/Tokyo'; savepoint s")
        inside = settings_of(cursor)
        fails()
        cursor.execute("rollback to s")
        assert settings_of(cursor) == inside
        cursor.execute(
            "do $$begin perform pg_catalog.pg_logical_slot_peek_binary_changes('" + own.slot + "', null, null); "
            "exception when feature_not_supported then null; end$$"
        )
        assert settings_of(cursor) == inside
        cursor.execute("commit")
        assert settings_of(cursor) == before
        # The session is as good as new: what comes before the failing row can still be read.
        cursor.execute("select data from pg_catalog.pg_logical_slot_peek_binary_changes(%s, null, 1)", (own.slot,))
        assert rows(server, decoder, [bytes(data) for (data,) in cursor.fetchall()]) == [own.text]


def test_a_walsender_keeps_its_settings_when_decoding_fails(server: Postgres, database: str, own: Written) -> None:
    server.query(UNSHOWABLE, dbname=own.database)
    with (
        set_for(server, own.database, "role-in-database", {"timezone": "Asia/Kathmandu"}),
        Stream(server, own.database, own.slot, confirm=False) as stream,
    ):
        with pytest.raises(psycopg2.errors.FeatureNotSupported):
            list(stream.frames(server.current_lsn()))
        with stream.connection.cursor() as cursor:
            cursor.execute("show timezone")
            assert cursor.fetchone() == ("Asia/Kathmandu",)


def test_blocks_of_a_transaction_in_progress_have_the_same_settings(
    server: Postgres, decoder: str, own: Written
) -> None:
    """Each block is decoded in a transaction of its own."""
    server.query('insert into "Odd" select o.* from "Odd" o, generate_series(1, 500)', dbname=own.database)
    odd = {name: value for name, value, _ in ODD} | {"logical_decoding_work_mem": "64kB"}
    with (
        set_for(server, own.database, "role-in-database", odd),
        Stream(server, own.database, own.slot, {"streaming": True}, confirm=False) as stream,
    ):
        frames = list(stream.frames(server.current_lsn()))
    ((streamed,),) = server.query("select stream_count from pg_stat_replication_slots where slot_name = %s", (own.slot,))
    assert streamed > 1
    found = rows(server, decoder, frames)
    assert len(found) == 1002 and all(row == own.text for row in found)


# How 12345 and -1 must arrive. The number of a currency's smallest unit is stored: the first has no smaller one, the
# other a thousandth.
CURRENCIES = {"ja_JP": ("$123.45", "-$0.01"), "ar_BH": ("$123,450.00", "-$10.00")}


@pytest.fixture(scope="module")
def currency_server(run: Run) -> Iterator[Postgres]:
    """A server that knows locales with currencies; a bare system has none."""
    folder = run.subfolder("locales")
    folder.chmod(0o755)
    for name in CURRENCIES:
        subprocess.run(
            ["localedef", "--no-archive", "-i", name, "-f", "UTF-8", str(folder / f"{name}.UTF-8")],
            check=True,
            capture_output=True,
        )
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LOCPATH", str(folder))
        server = Postgres(run)
        server.install_walferry()
        yield server.start()
        server.stop()


@pytest.mark.parametrize("locale", CURRENCIES)
def test_money_is_in_hundredths_of_the_c_locale_whatever_the_currency_is(
    currency_server: Postgres, test_id: str, locale: str
) -> None:
    server = currency_server
    server.create_database(test_id)
    server.query(f"alter database {test_id} set lc_monetary = '{locale}.UTF-8'")
    create_slot(server, test_id, test_id)
    server.query("create table t (amount money, amounts money[])", dbname=test_id)
    server.query("insert into t values (12345::money, array[(-1)::money])", dbname=test_id)
    ((shown,),) = server.query("select amount::text from t", dbname=test_id)
    amount, other = CURRENCIES[locale]
    assert shown != amount
    with Stream(server, test_id, test_id, confirm=False) as stream:
        frames = list(stream.frames(server.current_lsn()))
    server.query(f"alter database {test_id} reset all")
    assert rows(server, test_id, frames) == [{"amount": amount, "amounts": f"{{{other}}}"}]
    server.drop_database(test_id)

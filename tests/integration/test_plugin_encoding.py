"""Databases in other encodings: on the wire all text is UTF-8, and no byte can stop the stream."""

import subprocess
from collections.abc import Iterator

import pytest
from harness import Postgres
from plugin_stream import Decoder, capture, create_slot

# encoding, bytes of a text in it, the same as it must arrive
CASES = [
    ("LATIN1", "Grüße ÿ".encode("latin-1"), "Grüße ÿ"),
    ("LATIN9", "5 €".encode("iso8859-15"), "5 €"),
    ("WIN1252", "5 € “x”".encode("cp1252"), "5 € “x”"),
    ("WIN1252", b"a\x81b\x9d", "a\ufffdb\ufffd"),  # two of the places that WIN1252 leaves empty
    ("LATIN8", "ŵ".encode("iso8859-14"), "ŵ"),
    ("ISO_8859_7", b"\xae\xe1", "\ufffdα"),
    ("EUC_JP", "日本語テキスト".encode("euc-jp"), "日本語テキスト"),
    ("EUC_KR", "한국어".encode("euc-kr"), "한국어"),
    ("KOI8R", "Привет".encode("koi8-r"), "Привет"),
]


@pytest.fixture
def encoded_database(server: Postgres, request: pytest.FixtureRequest, test_id: str) -> Iterator[str]:
    name = f"{test_id}_encoded"
    server.query(f"create database \"{name}\" template template0 locale 'C' encoding '{request.param}'")
    yield name
    server.drop_database(name)


def literal(text: bytes) -> bytes:
    return b"'" + text + b"'"


@pytest.mark.parametrize(("encoded_database", "stored", "sent"), CASES, indirect=["encoded_database"],
                         ids=[f"{case[0]}-{index}" for index, case in enumerate(CASES)])
def test_text_and_names_arrive_in_utf8(server: Postgres, database: str, encoded_database: str, slot_name: str,
                                       stored: bytes, sent: str) -> None:
    create_slot(server, encoded_database, slot_name)
    connection = server.connect(encoded_database)
    encoding = server.query("select getdatabaseencoding()", dbname=encoded_database)[0][0]
    connection.set_client_encoding(encoding)
    with connection.cursor() as cursor:
        name = b'"' + stored + b'"'
        cursor.execute(b"create schema types; create type types." + name + b" as enum (" + literal(stored) + b")")
        cursor.execute(b"create table " + name + b" (id int primary key, " + name + b" text, long text, v varchar(50), "
                       b"c char(12), n name, j json, e types." + name + b", a text[], none text)")
        cursor.execute(b"insert into " + name + b" values (1, %s, repeat(%s, 20000), %s, %s, %s, %s, %s, array[%s], null)"
                       % (*[literal(stored)] * 5, b"'\"" + stored + b"\"'", literal(stored), literal(stored)))
        cursor.execute(b"alter table " + name + b" add column late text default " + literal(stored))
        cursor.execute(b"update " + name + b" set id = 2")
        cursor.execute(b"select pg_logical_emit_message(true, " + literal(stored) + b", 'x')")
        cursor.execute(b"select pg_logical_emit_message(false, " + literal(stored) + b", 'y')")
    connection.close()

    changes = Decoder(server, database).changes(capture(server, encoded_database, slot_name, {"messages": True}))
    relation = changes[0]["relation"]
    assert relation in (f'public."{sent}"', f"public.{sent}")
    after = changes[0]["after"]
    assert after == {"id": "1", sent: sent, "long": sent * 20000, "v": sent, "c": after["c"], "n": sent,
                     "j": f'"{sent}"', "e": sent, "a": after["a"], "none": None}
    assert after["c"].rstrip() == sent
    assert after["a"].strip('{}"') == sent
    assert changes[1]["after"]["late"] == sent
    assert sorted(c["detail"]["prefix"] for c in changes if c["operation"] == "message") == [sent, sent]


# Bytes that a SQL_ASCII database takes as text, and what arrives.
NOT_UTF8 = [
    (b"\xff\xfe", "\ufffd\ufffd"),
    (b"\xc3\xa9 \xe9", "é \ufffd"),  # UTF-8 stays, LATIN1 does not
    (b"\xe6\x97 \xe6\x97\xa5", "\ufffd\ufffd 日"),  # cut in the middle
    (b"\xc0\xaf", "\ufffd\ufffd"),  # overlong
    (b"x\xed\xa0\x80x", "x\ufffd\ufffd\ufffdx"),  # a surrogate
    (b"\xf4\x90\x80\x80", "\ufffd\ufffd\ufffd\ufffd"),  # above U+10FFFF
    (b"\xf0\x9f\x98\x80\xf0\x9f\x98", "😀\ufffd\ufffd\ufffd"),
]


@pytest.mark.parametrize("encoded_database", ["SQL_ASCII"], indirect=True)
@pytest.mark.parametrize(("stored", "sent"), NOT_UTF8, ids=[repr(sent) for _, sent in NOT_UTF8])
def test_what_is_not_utf8_in_sql_ascii_is_replaced(server: Postgres, database: str, encoded_database: str,
                                                   slot_name: str, stored: bytes, sent: str) -> None:
    create_slot(server, encoded_database, slot_name)
    connection = server.connect(encoded_database)
    connection.set_client_encoding("SQL_ASCII")
    with connection.cursor() as cursor:
        name = b'"' + stored + b'"'
        cursor.execute(b"create schema types; create type types." + name + b" as enum (" + literal(stored) + b")")
        cursor.execute(b"create table " + name + b" (id int primary key, " + name + b" text, long text, n name, j json, "
                       b"e types." + name + b", a text[], b bytea)")
        value = literal(stored)
        cursor.execute(b"insert into " + name + b" values (1, %s, repeat(%s, 20000), %s, %s, %s, "
                       b"array[%s], %s::text::bytea)" % (value, value, value, b"'\"" + stored + b"\"'", value, value, value))
        cursor.execute(b"update " + name + b" set id = 2")
        cursor.execute(b"delete from " + name)
        cursor.execute(b"select pg_logical_emit_message(true, " + literal(stored) + b", 'x')")
    connection.close()

    frames = capture(server, encoded_database, slot_name, {"messages": True})
    changes = Decoder(server, database).changes(frames)
    assert [change["operation"] for change in changes] == ["insert", "update", "delete", "message"]
    row = changes[0]["after"]
    assert row == {"id": "1", sent: sent, "long": sent * 20000, "n": sent, "j": f'"{sent}"', "e": sent, "a": row["a"],
                   "b": "\\x" + stored.hex()}  # a bytea is no text
    assert row["a"].strip('{}"') == sent
    assert changes[0]["relation"] in (f'public."{sent}"', f"public.{sent}")
    assert changes[3]["detail"]["prefix"] == sent
    (enum,) = [column for column in Decoder(server, database).columns(frames) if column["column_name"] == "e"]
    assert sent in enum["type"]


# encoding of the database in which the name was written, that of the named one, the name as it must arrive
NAMES = [("UTF8", "UTF8", "größe"), ("UTF8", "LATIN1", "größe"), ("UTF8", "EUC_JP", "größe"),
         ("UTF8", "SQL_ASCII", "größe"), ("LATIN1", "LATIN1", "größe"), ("LATIN1", "UTF8", "gr\ufffd\ufffde"),
         ("LATIN1", "SQL_ASCII", "gr\ufffd\ufffde")]


@pytest.mark.parametrize(("made_in", "encoding", "sent"), NAMES, ids=["-".join(name[:2]) for name in NAMES])
def test_a_databases_name_may_come_from_another_encoding(server: Postgres, test_id: str, slot_name: str, made_in: str,
                                                         encoding: str, sent: str) -> None:
    """Names of databases are shared by databases of all encodings, and none says in which it was written."""
    name = f"größe_{test_id[-4:]}"
    stored = name.encode() if made_in == "UTF8" else name.encode("latin-1")

    def psql(dbname: bytes, sql: str) -> bytes:
        command = [server.bin / "psql", "-XqAt", "-v", "ON_ERROR_STOP=1", "-h", "127.0.0.1", "-p", str(server.port),
                   "-U", server.user, "-d", dbname, "-c", sql]
        return subprocess.run(command, check=True, capture_output=True, env={"PGCLIENTENCODING": "UTF8"}).stdout

    server.query(f"create database {test_id} template template0 locale 'C' encoding '{made_in}'")
    try:
        psql(test_id.encode(), f"create database \"{name}\" template template0 locale 'C' encoding '{encoding}'")
        psql(stored, f"select pg_create_logical_replication_slot('{slot_name}', 'walferry')")
        psql(stored, "create table t (id int)")
        psql(stored, "insert into t values (1)")
        frames = psql(stored, "select encode(data, 'hex') from "
                              f"pg_logical_slot_get_binary_changes('{slot_name}', null, null)").split()
        psql(stored, f"select pg_drop_replication_slot('{slot_name}')")
    finally:
        psql(test_id.encode(), f'drop database if exists "{name}" with (force)')
        server.drop_database(test_id)
    assert len(frames) == 1
    assert name.replace("größe", sent).encode() + b"\0" in bytes.fromhex(frames[0].decode())


@pytest.mark.parametrize("encoded_database", ["MULE_INTERNAL"], indirect=True)
def test_an_encoding_without_a_conversion_is_refused_when_the_slot_is_read(server: Postgres, encoded_database: str,
                                                                           slot_name: str) -> None:
    # By psql, since psycopg2 has no such encoding either.
    server.psql(f"select pg_create_logical_replication_slot('{slot_name}', 'walferry')", encoded_database)
    with pytest.raises(RuntimeError, match="cannot convert the database's encoding \"MULE_INTERNAL\" to UTF8"):
        server.psql(f"select pg_logical_slot_get_binary_changes('{slot_name}', null, null)", encoded_database)


@pytest.mark.parametrize("encoded_database", ["LATIN1"], indirect=True)
def test_patterns_select_names_in_another_encoding(server: Postgres, database: str, encoded_database: str,
                                                   slot_name: str) -> None:
    create_slot(server, encoded_database, slot_name)
    server.query('create table "Größe" (id int); create table other (id int)', dbname=encoded_database)
    server.query('insert into "Größe" values (1); insert into other values (1)', dbname=encoded_database)
    frames = capture(server, encoded_database, slot_name, {"tables": ["public.Größe"]})
    changes = Decoder(server, database).changes(frames)
    assert [c["relation"] for c in changes] == ['public."Größe"']

"""Databases in other encodings: on the wire all text is UTF-8, and no byte can stop the stream."""

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


@pytest.mark.parametrize("encoded_database", ["SQL_ASCII"], indirect=True)
def test_sql_ascii_text_is_sent_as_it_is(server: Postgres, database: str, encoded_database: str,
                                         slot_name: str) -> None:
    create_slot(server, encoded_database, slot_name)
    with server.connect(encoded_database) as connection, connection.cursor() as cursor:
        cursor.execute("create table t (id int, v text)")
        cursor.execute("set client_encoding = 'SQL_ASCII'")
        cursor.execute(b"insert into t values (1, '\xff\xfe plain \xc3\xa9')")
    connection.close()
    frames = capture(server, encoded_database, slot_name)
    assert len(frames) == 1
    assert b"\xff\xfe plain \xc3\xa9" in frames[0]
    assert b"SQL_ASCII" in frames[0]


@pytest.mark.parametrize("encoded_database", ["LATIN1"], indirect=True)
def test_patterns_select_names_in_another_encoding(server: Postgres, database: str, encoded_database: str,
                                                   slot_name: str) -> None:
    create_slot(server, encoded_database, slot_name)
    server.query('create table "Größe" (id int); create table other (id int)', dbname=encoded_database)
    server.query('insert into "Größe" values (1); insert into other values (1)', dbname=encoded_database)
    frames = capture(server, encoded_database, slot_name, {"tables": ["public.Größe"]})
    changes = Decoder(server, database).changes(frames)
    assert [c["relation"] for c in changes] == ['public."Größe"']

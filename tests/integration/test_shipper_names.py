"""Names with anything in them, tables without columns or with as many as there can be, databases in other encodings:
all of it arrives in Kafka, each table in a topic of its own."""

import contextlib
import json
import string

import pytest
from harness import Postgres

# Identifiers; PostgreSQL allows any character but NUL, and 63 bytes.
LONG = "".join(f"{n:02}" for n in range(31)) + "x"
EMOJI = "😀🐘🎉" * 5 + "é" + "!"
HARD = [
    "plain",
    "Upper Case",
    "a.b",
    "a_x2E_b",
    'with "quotes"',
    "it's",
    "back\\slash",
    "new\nline",
    "tab\there",
    "bell\x07del\x7f",
    "{braces}",
    "[brackets]",
    "a,b",
    "a:b",
    "$dollar",
    "100%",
    "?",
    "*",
    "--",
    "/* */",
    " ",
    "  leading",
    "trailing ",
    "select",
    "null",
    "ünï",
    "日本語",
    "Ωmega",
    "\u202eright to left",
    "e\u0301",
    "é",
    LONG,
    EMOJI,
    "_xB32_",
    "_x41_",
    "-",
    "__",
    "0",
]


def quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def literal(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def streaming(task, **changes):
    walferry = task(**changes).start()
    walferry.wait_for_log('"streaming"')
    return walferry


def messages(broker, topic_prefix):
    """Of all topics of the test: topic to its messages."""
    return {
        topic: [record.json for record in broker.consume(topic)]
        for topic in broker.topics()
        if topic.startswith(topic_prefix) and not topic.endswith(".messages")
    }


def test_every_name_of_a_table_has_a_topic_of_its_own(server, broker, database, slot_name, topic_prefix, task):
    assert max(len(name.encode()) for name in HARD) == 63
    with contextlib.closing(server.connect(database)) as connection, connection.cursor() as cursor:
        tables = [("a", table) for table in HARD] + [("a.b", "plain"), ("a.a", "b"), (EMOJI, EMOJI), (EMOJI, "x")]
        for schema in {schema for schema, _ in tables}:
            cursor.execute(f"create schema {quoted(schema)}")
        for schema, table in tables:
            cursor.execute(f"create table {quoted(schema)}.{quoted(table)} (id int primary key)")
        # The prefix of a test's topics leaves too little room for the longest names.
        walferry = streaming(task, name="n", sink={"topic": "{name}.{schema}.{table}"})
        for number, (schema, table) in enumerate(tables):
            cursor.execute(f"insert into {quoted(schema)}.{quoted(table)} values ({number})")
    server.wait_confirmed("n")
    try:
        found = messages(broker, "n.")
        assert all(
            set(topic) <= set(string.ascii_letters + string.digits + "._-") and len(topic) <= 249 for topic in found
        )
        assert sorted((message["database"], message["table"]) for (message,) in found.values()) == sorted(tables)
        assert found["n.a.plain"] and found["n.a.a_x2E_b"] and found["n.a_x2E_b.plain"] and found["n.a.a_x5F_x2E_b"]
        assert any(topic.startswith("n._xB32_") for topic in found)
    finally:
        walferry.stop()
        for topic in broker.topics():
            if topic.startswith("n."):
                broker.delete_topic(topic)


def test_every_name_of_a_column_arrives(server, broker, database, slot_name, topic_prefix, task):
    names = [*HARD, "id", "Id", "ID", "iD", "i\u0307d"]
    columns = [f"{quoted(name)} text" for name in names]
    keys = ["ID", "日本語", 'with "quotes"', "new\nline", EMOJI]
    type_name = 'typ "e'
    server.query(
        f"create type {quoted(type_name)} as enum ({', '.join(literal(name) for name in names)}); "
        f"create table t ({', '.join(columns)}, of_type {quoted(type_name)}, "
        f"primary key ({', '.join(quoted(key) for key in keys)}))",
        dbname=database,
    )
    streaming(task)
    values = [f"value {number}" for number in range(len(names))]
    server.query(
        f"insert into t values ({', '.join(literal(value) for value in values)}, {literal(EMOJI)})", dbname=database
    )
    server.query(
        f"update t set {quoted('日本語')} = 'new', {quoted('Id')} = null, of_type = {literal(LONG)}", dbname=database
    )
    server.query("delete from t", dbname=database)
    server.wait_confirmed(slot_name)
    insert, update, delete = broker.consume(topic_prefix + "public.t")
    row = {**dict(zip(names, values, strict=True)), "of_type": EMOJI}
    assert insert.json["data"] == [row] and list(insert.json["data"][0]) == list(row)
    assert insert.json["pkNames"] == keys and list(insert.json["sqlType"]) == list(insert.json["mysqlType"]) == list(
        row
    )
    assert insert.json["mysqlType"]["of_type"] == "public." + quoted(type_name)
    assert update.json["data"] == [{**row, "日本語": "new", "Id": None, "of_type": LONG}]
    assert update.json["old"] == [{"日本語": row["日本語"]}]
    assert delete.json["data"][0]["日本語"] == "new"
    assert list(json.loads(insert.key)) == keys and json.loads(insert.key)["ID"] == row["ID"]


def test_tables_without_columns_and_with_all_that_there_can_be(server, broker, database, slot_name, topic_prefix, task):
    server.query(
        "create table none (); create table gone (a int, b text); alter table gone drop a; alter table gone drop b; "
        "create table one (a int, b int, c int, d int); alter table one drop a; alter table one drop c",
        dbname=database,
    )
    wide = ", ".join(f"c{n} {('int', 'text', 'bool')[n % 3]}" for n in range(1600))
    server.query(
        f"create table wide ({wide}); alter table wide replica identity full; alter table none replica identity full; "
        "alter table gone replica identity full; alter table one replica identity full",
        dbname=database,
    )
    streaming(task)
    server.query(
        "insert into none default values; insert into gone default values; delete from gone; "
        "insert into one values (2, 4); update one set d = 5; delete from one; "
        "insert into wide (c0, c1, c1599) values (1, 'x', null); update wide set c1598 = true; "
        "alter table wide drop c0; alter table wide drop c799; update wide set c3 = 3; delete from wide",
        dbname=database,
    )
    server.wait_confirmed(slot_name)
    found = messages(broker, topic_prefix)
    assert [message["data"] for message in found[topic_prefix + "public.none"]] == [[{}]]
    assert [(message["type"], message["data"]) for message in found[topic_prefix + "public.gone"]] == [
        ("INSERT", [{}]),
        ("DELETE", [{}]),
    ]
    assert [(message["type"], message["data"], message["old"]) for message in found[topic_prefix + "public.one"]] == [
        ("INSERT", [{"b": "2", "d": "4"}], None),
        ("UPDATE", [{"b": "2", "d": "5"}], [{"d": "4"}]),
        ("DELETE", [{"b": "2", "d": "5"}], None),
    ]
    insert, update, later, delete = found[topic_prefix + "public.wide"]
    row = {f"c{n}": None for n in range(1600)}
    assert insert["data"] == [{**row, "c0": "1", "c1": "x"}] and list(insert["data"][0]) == list(row)
    assert update["data"] == [{**row, "c0": "1", "c1": "x", "c1598": "true"}] and update["old"] == [{"c1598": None}]
    remaining = {name: None for name in row if name not in ("c0", "c799")}
    assert set(later["data"][0]) == set(delete["data"][0]) == set(remaining)
    assert later["data"][0]["c3"] == delete["data"][0]["c3"] == "3" and later["old"] == [{"c3": None}]


ENCODINGS = [
    ("LATIN1", "Größe", "Größe".encode("latin-1")),
    ("WIN1252", "5 €", "5 €".encode("cp1252")),
    ("EUC_JP", "日本語", "日本語".encode("euc-jp")),
    ("SQL_ASCII", "Größe", "Größe".encode()),
    ("SQL_ASCII", "Gr\ufffd\ufffde", "Größe".encode("latin-1")),
]


@pytest.mark.parametrize(("encoding", "text", "stored"), ENCODINGS, ids=[f"{case[0]}-{case[1]}" for case in ENCODINGS])
def test_databases_in_other_encodings(
    server: Postgres, broker, test_id, slot_name, topic_prefix, task, encoding, text, stored
):
    name = f"{test_id}_encoded"
    server.query(f"create database {name} template template0 locale 'C' encoding '{encoding}'")
    connection = server.connect(name)
    connection.set_client_encoding(encoding)
    quoted_name = b'"' + stored + b'"'
    value = b"'" + stored + b"'"
    walferry = None
    try:
        with connection.cursor() as cursor:
            cursor.execute(
                b"create type e as enum ("
                + value
                + b"); create table "
                + quoted_name
                + b" ("
                + quoted_name
                + b' text primary key, e e, a text[], n name, c "char")'
            )
            walferry = streaming(
                task,
                source={"dsn": server.dsn(name), "messages": True},
                sink={"message_topic": topic_prefix + "messages"},
            )
            cursor.execute(
                b"insert into " + quoted_name + b" values (%s, %s, array[%s], %s, 'x')" % (value, value, value, value)
            )
            cursor.execute(b"delete from " + quoted_name)
            cursor.execute(b"select pg_logical_emit_message(true, " + value + b", 'content')")
        server.wait_confirmed(slot_name)
        assert walferry.stop() == 0
    finally:
        connection.close()
        if walferry is not None and walferry.running():
            walferry.kill()
        server.drop_database(name)
    found = messages(broker, topic_prefix)
    (topic,) = found
    (message,) = broker.consume(topic_prefix + "messages")
    assert (message.key.decode(), message.value) == (text, b"content")
    insert, delete = found[topic]
    assert insert["table"] == text and insert["pkNames"] == [text]
    array = insert["data"][0]["a"]
    assert insert["data"] == [{text: text, "e": text, "a": array, "n": text, "c": "x"}] and array.strip('{"}') == text
    assert delete["data"] == [{text: text}]
    assert [record.key.decode() for record in broker.consume(topic)] == [f'{{"{text}":"{text}"}}'] * 2

"""Canal JSON in the hands of those for whom it is made: Apache Flink's format and Canal's own client and adapters read
every value as the server showed it, or the case is listed here and in docs/canal-json.md."""

import base64
import struct
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

import canal_reader
import readers
from corpus import CASES, expressions
from workbench import quoted

NOTHING = "nothing"  # Flink reads NULL and says nothing
ERROR = "error"


@dataclass(frozen=True)
class Column:
    """A type of PostgreSQL, the type to declare for it in Flink, and values that Flink can hold. What it cannot: `odd`,
    each value with what Flink makes of it. `canal`: the class that Canal's adapters make of it, or classes."""

    type: str
    flink: str
    values: list[str]
    canal: str = "String"
    odd: dict[str, str] = field(default_factory=dict)


COLUMNS = [
    Column("smallint", "SMALLINT", ["-32768", "32767"], "Short"),
    Column("integer", "INT", ["-2147483648", "2147483647"], "Integer"),
    Column("bigint", "BIGINT", ["-9223372036854775808", "9223372036854775807"], "Long"),
    Column("oid", "BIGINT", ["0", "4294967295"], "Long"),
    Column("real", "FLOAT", ["0.1", "-1e-45", "3.4028235e38", "NaN", "Infinity", "-Infinity", "-0"], "Float"),
    Column("double precision", "DOUBLE", ["0.1", "5e-324", "1.7976931348623157e308", "NaN", "-Infinity"], "Double"),
    Column("numeric(12,2)", "DECIMAL(12,2)", ["1.10", "-9999999999.99", "0.00"], "BigDecimal", {"NaN": ERROR}),
    Column(
        "numeric",
        "DECIMAL(38,18)",
        ["1.5", "-0.000000000000000001", "12345678901234567890"],
        "BigDecimal",
        {"Infinity": ERROR, "123456789012345678901": NOTHING},
    ),
    Column("numeric", "STRING", ["NaN", "1.500", "-Infinity", "1e-200", "1" * 200], "BigDecimal|String"),
    Column("boolean", "BOOLEAN", ["true", "false"]),
    Column("text", "STRING", ["", "e'quote\" back\\\\slash \\n\\t\\x01'", "日本語 😀", "NULL", "null"]),
    Column("varchar(10)", "STRING", ["abc", " x "]),
    Column("char(6)", "STRING", ["ab", ""]),
    Column("bytea", "BYTES", [r"\x00ff", r"\x", r"\xdeadbeef"], "byte[]"),
    Column(
        "date",
        "DATE",
        ["2026-02-28", "0001-01-01", "9999-12-31"],
        "Date",
        {"infinity": ERROR, "0044-03-15 BC": ERROR, "10000-01-01": ERROR},
    ),
    Column("time", "TIME(3)", ["03:04:05", "23:59:59.999", "00:00:00"], "Time", {"24:00:00": "00:00:00"}),
    Column(
        "timestamp",
        "TIMESTAMP(6)",
        ["2026-02-28 03:04:05.123456", "0001-01-01 00:00:00", "9999-12-31 23:59:59"],
        "Timestamp",
        {"infinity": ERROR, "0044-03-15 12:00:00 BC": ERROR},
    ),
    Column(
        "timestamptz",
        "TIMESTAMP_LTZ(6)",
        ["2026-02-28 03:04:05.123456+09", "0001-01-01 00:00:00+00"],
        "Timestamp",
        {"-infinity": ERROR},
    ),
    Column("timetz", "STRING", ["03:04:05.5+09:30", "24:00:00-15:59"], "Time|String"),
    Column("interval", "STRING", ["1 year -2 days +03:00:00.5", "-00:00:00.000001"]),
    Column("uuid", "STRING", ["a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11"]),
    Column("json", "STRING", ['{"b": 1,  "a":[null, "x"]}', "null", '"text"']),
    Column("jsonb", "STRING", ['{"b": 1,  "a":[null, "x"]}', "3"]),
    Column("inet", "STRING", ["10.0.0.1/8", "::1"]),
    Column("integer[]", "STRING", ["{1,NULL,3}", "{}", "[2:3]={1,2}"]),
    Column("text[]", "STRING", ['{"a,b","quo\\"te",NULL,"NULL"}', "{{a,b},{c,d}}"]),
    Column("int4range", "STRING", ["[1,5)", "empty", "(,)"]),
    Column("bit(3)", "STRING", ["101"], "Byte"),
    Column("point", "STRING", ["(0.1,-2)"]),
    Column("xml", "STRING", ['<a b="c">é</a>']),
    Column("tsvector", "STRING", ["'a':1 'b':2A"]),
]


def in_canal_json(column: Column, text: str) -> str:
    """The server's text as docs/canal-json.md says that it is written by default."""
    if column.type == "boolean":
        return {"t": "true", "f": "false"}[text]
    if column.type == "bytea":
        return base64.b64encode(bytes.fromhex(text[2:])).decode()
    if column.type == "timestamptz" and text.endswith("+00"):
        return text[:-3] + "Z"
    return text


def same_in_flink(column: Column, text: str, found: str | None) -> bool:
    """Whether Flink's value is that of the server's text."""
    if found is None:
        return False
    if column.flink in ("FLOAT", "DOUBLE"):  # bit by bit: there are two zeros, and texts differ between the languages
        width = "f" if column.flink == "FLOAT" else "d"
        return struct.pack(width, float(found)) == struct.pack(width, float(text))
    if column.flink.startswith("DECIMAL"):
        return Decimal(found) == Decimal(text)
    if column.flink == "BOOLEAN":
        return found == {"t": "true", "f": "false"}[text]
    if column.flink == "BYTES":
        return "\\x" + found == text
    if column.flink.startswith("TIME"):
        # java.time leaves out seconds of zero, and trailing zeros of the fraction come in groups of three.
        found = found.replace("T", " ").removesuffix("Z")
        clock = found.split(" ")[-1]
        found = found + ":00" if clock.count(":") == 1 else found
        found = found.rstrip("0").rstrip(".") if "." in found else found
        return found == text.removesuffix("+00")
    return found == text


def literal(value: str) -> str:
    return value if value.startswith("e'") else "'" + value.replace("'", "''") + "'"


def test_flink_and_canal_read_what_the_server_shows(run, server, broker, database, slot_name, topic_prefix, task):
    tables = {f"t{number}": column for number, column in enumerate(COLUMNS)}
    for table, column in tables.items():
        server.query(f"create table {table} (id int primary key, v {column.type}, none {column.type})", dbname=database)
    task(sink={"topic": topic_prefix + "all"}).start().wait_for_log('"streaming"')
    texts: dict[str, dict[str, str]] = {}
    connection = server.connect(database)
    with connection.cursor() as cursor:
        for table, column in tables.items():
            values = [*column.values, *column.odd]
            rows = ", ".join(f"({n}, {literal(value)})" for n, value in enumerate(values))
            cursor.execute(f"insert into {table} (id, v) values {rows}")
            # By the output function, as SELECT shows it.
            cursor.execute(f"select id::text, format('%s', v) from {table}")
            texts[table] = dict(cursor.fetchall())
            cursor.execute(
                f"update {table} set id = id + 100; alter table {table} replica identity full; "
                f"update {table} set none = v, v = null; delete from {table}"
            )
    connection.close()
    server.wait_confirmed(slot_name)

    records = broker.consume(topic_prefix + "all")
    results = readers.read(
        run,
        [record.value for record in records],
        {
            f"public.{table}": [("id", "INT"), ("v", column.flink), ("none", column.flink)]
            for table, column in tables.items()
        },
    )
    assert len(results) == len(records) == 4 * sum(len(column.values) + len(column.odd) for column in COLUMNS)
    wrong: list[Any] = []
    for record, result in zip(records, results, strict=True):
        message = record.json
        column = tables[message["table"]]
        number = int(message["data"][0]["id"]) % 100
        text = texts[message["table"]][str(number)]
        odd = None if number < len(column.values) else list(column.odd.values())[number - len(column.values)]
        if not flink_is_right(column, text, message, result["flink"], odd):
            wrong.append(("flink", column.type, text, message["type"], result["flink"]))
        if not canal_is_right(column, text, message, result["canal"], odd):
            wrong.append(("canal", column.type, text, message["type"], result["canal"]))
    assert not wrong, "\n".join(map(repr, wrong))


def canal_is_right(column: Column, text: str, message: dict[str, Any], read: dict[str, Any], odd: str | None) -> bool:
    """Canal's class holds all of the message, the value's text is the server's, and the adapters make the right class
    of it."""
    if any(read[member] != value for member, value in message.items() if member != "gtid"):
        return False
    place = "v" if read["data"][0]["v"] is not None else "none"
    converted = read["converted"][0][place]
    # Empty text of another type than text is null to them.
    return read["data"][0][place] == in_canal_json(column, text) and (
        odd or converted is None or converted[0] in column.canal.split("|")
    )


def flink_is_right(column: Column, text: str, message: dict[str, Any], rows: Any, odd: str | None) -> bool:
    if odd == ERROR:
        return "error" in rows
    if "error" in rows:
        return False

    def holds(found: str | None) -> bool:
        return found is None if odd == NOTHING else same_in_flink(column, odd or text, found)

    kinds = [kind for kind, _ in rows]
    first, last = rows[0][1], rows[-1][1]
    if message["type"] == "INSERT":
        return kinds == ["+I"] and holds(first["v"]) and first["none"] is None
    if message["type"] == "DELETE":
        return kinds == ["-D"] and first["v"] is None and holds(first["none"])
    if "id" in message["old"][0]:  # replica identity DEFAULT: Flink takes the rest of the old row from the new one
        return (
            kinds == ["-U", "+U"]
            and int(first["id"]) + 100 == int(last["id"])
            and holds(first["v"])
            and holds(last["v"])
        )
    return (
        kinds == ["-U", "+U"]
        and holds(first["v"])
        and first["none"] is None
        and last["v"] is None
        and holds(last["none"])
    )


def test_canals_adapters_convert_by_sql_type(run, server, broker, database, slot_name, topic_prefix, task):
    """With the settings made for them (docs/canal-json.md)."""
    server.query(
        "create table t (id int primary key, b bool, bytes bytea, i int, n numeric, f float8, d date, at timestamp, "
        "tz timestamptz, c time, s text)",
        dbname=database,
    )
    task(sink={"topic": topic_prefix + "all", "canal": {"boolean": "1", "bytea": "latin1"}}).start().wait_for_log(
        '"streaming"'
    )
    server.query(
        r"insert into t (id, b) values (2, false); "
        r"insert into t values (1, true, '\x00ff41', -5, 1.50, 0.1, '2026-02-28', "
        r"'2026-02-28 03:04:05.123', '2026-02-28 03:04:05+00', '03:04:05', 'é')",
        dbname=database,
    )
    server.wait_confirmed(slot_name)
    empty, whole = [
        result["canal"]["converted"][0]
        for result in readers.read(run, [r.value for r in broker.consume(topic_prefix + "all")], {})
    ]
    assert whole == {
        "id": ["Integer", "1"],
        "b": ["Byte", "1"],
        "bytes": ["byte[]", "00ff41"],
        "i": ["Integer", "-5"],
        "n": ["BigDecimal", "1.50"],
        "f": ["Double", "0.1"],
        "d": ["Date", "2026-02-28"],
        "at": ["Timestamp", "2026-02-28 03:04:05.123"],
        "tz": ["Timestamp", "2026-02-28 03:04:05.0"],
        "c": ["Time", "03:04:05"],
        "s": ["String", "é"],
    }
    assert empty["b"] == ["Byte", "0"] and empty["i"] is None


def test_both_read_the_text_of_the_whole_corpus(run, broker, workbench):
    """Every type there is, declared in Flink as STRING."""
    cursor = workbench.cursor
    cases = [case for case in CASES if case.since <= workbench.server_version]
    cursor.execute("; ".join(["create schema corpus", *(case.setup for case in cases if case.setup)]))
    wanted: dict[tuple[str, str], str | None] = {}  # by table and id
    for case in cases:
        table = f"corpus.{quoted(case.name)}"
        rows = ", ".join(f"({number}, {value})" for number, value in enumerate(expressions(case)))
        cursor.execute(
            f"create table {table} (id int primary key, v {case.type}); alter table {table} replica identity full; "
            f"insert into {table} values {rows}"
        )
        truth = workbench.truth(("corpus", case.name), ["id", "v"])
        wanted |= {(case.name, row): image["v"] for row, image in truth.items()}
        cursor.execute(f"update {table} set v = null; delete from {table}")
    walferry = workbench.ship()
    workbench.server.wait_confirmed(workbench.name)
    assert walferry.stop() == 0
    records = broker.consume(workbench.topic)
    results = readers.read(
        run,
        [record.value for record in records],
        {f"corpus.{case.name}": [("id", "INT"), ("v", "STRING")] for case in cases},
    )
    wrong = []
    for record, result in zip(records, results, strict=True):
        change, message = canal_reader.read(record)
        text = wanted[message["table"], message["data"][0]["id"]]
        sent = message["data"][0]["v"] if message["type"] == "INSERT" else (message["old"] or [{}])[0].get("v")
        if message["type"] == "INSERT":
            expected = [["+I", {"id": message["data"][0]["id"], "v": sent}]]
            assert change.after is not None and change.after["v"] == text
        elif message["type"] == "UPDATE":
            expected = [
                ["-U", {"id": message["data"][0]["id"], "v": sent}],
                ["+U", {"id": message["data"][0]["id"], "v": None}],
            ]
            assert change.before is not None and change.before.get("v") == text
        else:
            expected = [["-D", {"id": message["data"][0]["id"], "v": None}]]
        if result["flink"] != expected or any(
            result["canal"][member] != message[member] for member in ("data", "old", "pkNames", "mysqlType")
        ):
            wrong.append((message["table"], message["type"], text, result))
    assert not wrong, "\n".join(f"{line!r:.400}" for line in wrong)
    assert len(records) == 3 * len(wanted)

"""Types that extensions bring, and types that nobody has heard of: they go through their own output functions, which
must find what they need in the walsender, wherever the extension lives."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest
from harness import Kafka, Postgres, Walferry
from integration.plugin_stream import Decoder, capture, create_slot

PUBLIC = "public"
ELSEWHERE = "Other schema.x"  # not in any search_path but the writer's


def quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


@dataclass(frozen=True)
class Case:
    """One extension, or some statements that make types, with hard values of its types."""

    values: dict[str, list[str]]  # type, expressions of it: at least two
    extensions: list[str] = field(default_factory=list)
    setup: str = ""
    search_path: str = ""  # schemas that the extension itself chooses


def type_with_io(name: str, stem: str, like: str, more: str = "") -> str:
    """A base type of our own that borrows the functions of a built-in one: to everybody else it is unknown."""
    return (
        f"create type {name}; "
        f"create function {name}_in(cstring) returns {name} as '{stem}in' language internal immutable strict; "
        f"create function {name}_out({name}) returns cstring as '{stem}out' language internal immutable strict; "
        f"create type {name} (input = {name}_in, output = {name}_out, like = {like}{more}); "
    )


HARD_TEXT = [
    "''",
    "'plain'",
    "e'quote\\' \"double\" back\\\\slash, {brace} (paren)\\n\\t'",
    "'日本語 😀 é'",
    "'NULL'",
    "repeat('long ', 3000)",
]

CASES = {
    "hstore": Case(
        {
            "hstore": [
                "''",
                "'a=>1, b=>NULL'",
                "hstore('quote\"', 'back\\slash, =>''')",
                "hstore(array['ключ', '', ' '], array['значение', null, ''])",
                "(select hstore(array_agg('k' || n), array_agg(repeat('v', n))) from generate_series(1, 20) n)",
            ]
        },
        ["hstore"],
    ),
    "ltree": Case(
        {
            "ltree": ["''", "'Top'", "'Top.Science.Astronomy_2'", "repeat('a.', 500)::text || 'z'"],
            "lquery": ["'*.Astro*@.!pictures@|x*.*{1,3}'", "'a.*{2}.b%'"],
            "ltxtquery": ["'Europe & Russia*@ & !Transportation'", "'a | (b & !c)'"],
        },
        ["ltree"],
    ),
    "citext": Case({"citext": HARD_TEXT}, ["citext"]),
    "cube": Case(
        {
            "cube": [
                "'(1,2),(3,4)'",
                "'0'",
                "'(1e-300, -1e300, 0.1)'",
                "'(0.1,Infinity),(-Infinity,NaN)'",
                "cube(array[1.1, 2.2, 3.3], array[0.30000000000000004, 0.1, -0.1])",
            ]
        },
        ["cube"],
    ),
    "isn": Case(
        {
            "isbn": ["'0-393-04002-X'", "'978-0-393-04002-9'"],
            "isbn13": ["'978-0-393-04002-9'", "'0393040021!'"],
            "issn": ["'1436-4522'", "'977-1436-452-00-8'"],
            "ean13": ["'0220356483481'", "'0220356483482!'"],
            "ismn": ["'M-2306-7118-7'", "'979-0-2600-0043-8'"],
            "upc": ["'220356483481'", "'012345678905'"],
        },
        ["isn"],
        setup="select isn_weak(true);",
    ),
    "postgis": Case(
        {
            "geometry": [
                "'POINT(1 2)'",
                "'SRID=4326;POLYGON((0 0, 1 0, 1 1, 0 0))'",
                "'GEOMETRYCOLLECTION EMPTY'",
                "'POINT(NaN NaN)'",
                "'SRID=3857;LINESTRING ZM (0.1 0.2 0.3 0.4, 1e300 -1e-300 5 6)'",
                "st_makeline(array(select st_makepoint(n, n) from generate_series(1, 20) n))",
            ],
            "geometry(PointZ,4326)": ["'SRID=4326;POINT Z (1 2 3)'", "'SRID=4326;POINT Z (-0.1 1e-9 90)'"],
            "geography": ["'POINT(-118.4079 33.9434)'", "'SRID=4267;POINT(2.5559 49.0083)'", "'MULTIPOINT EMPTY'"],
            "box2d": ["'BOX(0.1 0.2,3 4)'", "'BOX(-1e20 0,0 1e20)'"],
            "box3d": ["'BOX3D(0.1 0.2 0.3,3 4 5)'", "'BOX3D(0 0 0,0 0 0)'"],
            "geometry_dump": ["row(array[1, 2], 'POINT(1 2)'::geometry)", "row(null, null)"],
            "raster": [
                "st_addband(st_makeemptyraster(3, 2, 0.5, 0.5, 1, -1, 0, 0, 4326), '8BUI'::text, 7, 0)",
                "st_makeemptyraster(0, 0, 0, 0, 1)",
            ],
        },
        ["postgis", "postgis_raster"],
    ),
    "orafce": Case(
        {
            "oracle.varchar2": HARD_TEXT,
            "varchar2(10)": ["'short'", "''"],
            "nvarchar2": HARD_TEXT,
            "nvarchar2(6)": ["'日本語'", "'x'"],
            "oracle.date": [
                "'2026-02-28 23:59:59'",
                "'0044-03-15 12:00:00 BC'",
                "'infinity'",
                "'294276-12-31 23:59:59'",
            ],
        },
        ["orafce"],
        search_path="oracle",
    ),
    "unknown": Case(
        {
            "own_text": HARD_TEXT,
            "own_int": ["'42'", "'-2147483648'"],
            "own_byte": ["'x'", "'\\377'"],
            "own_short": ["'-32768'", "'7'"],
            "own_big": ["'9223372036854775807'", "'-1'"],
            "own_float": ["'0.1'", "'NaN'"],
            "own_six": ["'08:00:2b:01:02:03'", "'ff:ff:ff:ff:ff:ff'"],
            "own_uuid": ["'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11'", "'00000000-0000-0000-0000-000000000000'"],
            "own_path": ["'((0.1,2),(3,4))'", "'[(1,2)]'"],
            "own_cstring": HARD_TEXT[:-1],
            "own_span": ["'2 days -03:00:00.5'", "'-1 year 5 mons'"],
            "own_bytes": ["'\\x00ff'", "'\\x'"],
            "own_zone": ["'2026-02-28 23:59:59.5+09'", "'infinity'"],
        },
        setup=type_with_io("own_text", "text", "text", ", collatable = true")
        + type_with_io("own_int", "int4", "int4")
        + type_with_io("own_byte", "char", '"char"')
        + type_with_io("own_short", "int2", "int2")
        + type_with_io("own_big", "int8", "int8")
        + type_with_io("own_float", "float8", "float8")
        + type_with_io("own_six", "macaddr_", "macaddr")
        + type_with_io("own_uuid", "uuid_", "uuid")
        + type_with_io("own_path", "path_", "path")
        + type_with_io("own_cstring", "unknown", "unknown")
        + type_with_io("own_span", "interval_", "interval")
        + type_with_io("own_bytes", "bytea", "bytea")
        + type_with_io("own_zone", "timestamptz_", "timestamptz"),
    ),
    "nested": Case(
        {
            "d_citext": ["'Ünï'", "''"],
            "pair": ["row('A', 'a=>1')", 'row(null, \'"x y"=>"q\\""\')'],
            "citexts": ["'[A,b)'", "'empty'"],
            "d_pair": ["row('B', 'k=>v')", "row('', null)"],
            "citext_set": ["'{[a,B),[c,c]}'", "'{}'"],
        },
        ["hstore", "citext"],
        setup="create domain d_citext as citext; create type pair as (c citext, h hstore); "
        "create domain d_pair as pair; "
        "create type citexts as range (subtype = citext, multirange_type_name = citext_set);",
    ),
}

# What is expected to be in every build of the server.
CONTRIB = {"hstore", "ltree", "citext", "cube", "isn"}


class Typed:
    """A database with the types of one case, one table for each type, and what the server says of each value."""

    def __init__(self, server: Postgres, database: str, case: Case, schema: str) -> None:
        self.server, self.database = server, database
        self.types = case.values
        connection = server.connect(database)
        self._connection = connection
        path = ", ".join(filter(None, [quoted(schema), case.search_path, "public"]))
        self.run(f"create schema if not exists {quoted(schema)}; set search_path = {path}")
        for extension in case.extensions:
            self.run(f"create extension {extension} schema {quoted(schema)}")
        if case.setup:
            self.run(case.setup)
        for number, name in enumerate(self.types):
            self.run(f"create table public.t{number} (id int primary key, v {name}, none {name}, a {name}[])")

    def close(self) -> None:
        self._connection.close()

    def run(self, sql: str) -> list[tuple[Any, ...]]:
        with self._connection.cursor() as cursor:
            cursor.execute(sql)
            return list(cursor.fetchall()) if cursor.description else []

    def text(self, number: int) -> dict[str, str | None]:
        """The row as SELECT shows it."""
        columns = [
            row[0]
            for row in self.run(
                f"select attname from pg_attribute where attrelid = 'public.t{number}'::regclass "
                "and attnum > 0 order by attnum"
            )
        ]
        values = self.run(f"select {', '.join(column + '::text' for column in columns)} from public.t{number}")[0]
        return dict(zip(columns, values, strict=True))

    def change_everything(self) -> dict[str, list[dict[str, Any]]]:
        """Each value is inserted, takes part in updates under both replica identities, and is deleted. Returns the
        changes of each table as they have to arrive."""
        wanted: dict[str, list[dict[str, Any]]] = {}
        for number, (name, values) in enumerate(self.types.items()):
            table = f"public.t{number}"
            changes = wanted[table] = []
            for value, other in zip(values, values[1:] + values[:1], strict=True):
                self.run(
                    f"insert into {table} (id, v, a) values (1, ({value})::{name}, "
                    f"array[({value}), null, ({other})]::{name}[])"
                )
                changes.append({"operation": "insert", "before": None, "after": self.text(number)})
                self.run(f"update {table} set v = ({other})::{name}")
                changes.append({"operation": "update", "before": None, "after": self.text(number)})
                self.run(f"alter table {table} replica identity full")
                for statement in (
                    f"update {table} set v = ({value})::{name}, none = ({other})::{name}",
                    f"update {table} set v = null, none = null",
                    f"update {table} set a = null, v = ({value})::{name}",
                ):
                    before = self.text(number)
                    self.run(statement)
                    changes.append({"operation": "update", "before": before, "after": self.text(number)})
                before = self.text(number)
                self.run(f"delete from {table}")
                changes.append({"operation": "delete", "before": before, "after": None})
                self.run(f"alter table {table} replica identity default")
            # The value of a column that was added after the row is not in the row but in the catalog.
            self.run(f"insert into {table} (id) values (7)")
            changes.append({"operation": "insert", "before": None, "after": self.text(number)})
            self.run(
                f"alter table {table} add column late {name} default ({values[0]})::{name}; "
                f"alter table {table} replica identity full"
            )
            before = self.text(number)
            self.run(f"update {table} set id = 8")
            changes.append({"operation": "update", "before": before, "after": self.text(number)})
        return wanted


@pytest.fixture
def typed(request: pytest.FixtureRequest, server: Postgres, database: str) -> Iterator[Typed]:
    name, schema = request.param
    case = CASES[name]
    available = {row[0] for row in server.query("select name from pg_available_extensions")}
    absent = sorted(set(case.extensions) - available)
    major = int(server.query("show server_version_num")[0][0]) // 10000
    # For other versions than the one that tools/deps installs by default only what comes with the server is needed.
    if absent and (major == 15 or CONTRIB.intersection(absent)):
        pytest.fail(f"PostgreSQL {major} has no extension {', '.join(absent)}; run: make deps")
    if absent:
        pytest.skip(f"extension {', '.join(absent)} is not installed for PostgreSQL {major}")
    made = Typed(server, database, case, schema)
    yield made
    made.close()


PLACES = [
    pytest.param((name, schema), id=f"{name}-{'public' if schema == PUBLIC else 'elsewhere'}")
    for name in CASES
    for schema in (PUBLIC, ELSEWHERE)
]


@pytest.mark.parametrize("typed", PLACES, indirect=True)
def test_values_are_the_servers_text(typed: Typed, server: Postgres, database: str, slot_name: str) -> None:
    create_slot(server, database, slot_name)
    wanted = typed.change_everything()
    changes = Decoder(server, database).changes(capture(server, database, slot_name))
    assert [change["unchanged"] for change in changes if change["unchanged"]] == []
    for table, expected in wanted.items():
        found = [
            {key: change[key] for key in ("operation", "before", "after")}
            for change in changes
            if change["relation"] == table
        ]
        assert found == expected


@pytest.mark.parametrize("typed", [place for place in PLACES if str(place.id).endswith("elsewhere")], indirect=True)
def test_values_in_kafka_are_the_servers_text(
    typed: Typed, server: Postgres, broker: Kafka, slot_name: str, topic_prefix: str, task: Callable[..., Walferry]
) -> None:
    task(sink={"topic": topic_prefix + "all"}).start().wait_for_log('"streaming"')
    wanted = typed.change_everything()
    server.wait_confirmed(slot_name)
    messages = [record.json for record in broker.consume(topic_prefix + "all")]
    for table, expected in wanted.items():
        found = [message for message in messages if f"public.{message['table']}" == table]
        for message, change in zip(found, expected, strict=True):
            before, after = change["before"], change["after"]
            assert (message["type"], message["data"]) == (change["operation"].upper(), [after or before])
            if change["operation"] == "update" and before:
                assert message["old"] == [{name: text for name, text in before.items() if text != after[name]}]

"""The corpus, sent once through everything and compared with what the server said."""

import contextlib
from dataclasses import dataclass

import psycopg2.errors
from changes import Stage, differences
from corpus import Case, array_expressions, cases_of, expressions
from workbench import TableUnderTest, Workbench, quoted

SCHEMA = "corpus"


@dataclass(frozen=True)
class Seen:
    """How the values of one column appear."""

    wire_class: str
    mysql_type: str
    sql_type: int
    texts: list[tuple[str, str]]  # of the inserted rows: the server's text and Canal JSON's


@dataclass
class Travelled:
    """What has become of the corpus."""

    seen: dict[tuple[str, str], Seen]  # by case and column: "v" of its type, "a" of arrays of it
    covered: set[int]  # OIDs of the types of all columns
    composites: list[str]
    differences: dict[str, str]  # by table


def catalog_composites(bench: Workbench) -> list[tuple[str, str]]:
    """Schema and name of the server's own composite types."""
    bench.cursor.execute("select nspname, typname from pg_type t join pg_namespace n on n.oid = typnamespace "
                         "where typtype = 'c' and t.oid < 16384 "
                         "and nspname in ('pg_catalog', 'information_schema') order by 1, 2")
    return bench.cursor.fetchall()


def send(bench: Workbench, name: str, columns: dict[str, tuple[str, list[str]]], stages: list[Stage]) -> None:
    """A table of `columns` (type and expressions). Every value is inserted, is in an update's images under REPLICA
    IDENTITY FULL and DEFAULT, and is deleted under one of them."""
    count = max(len(values) for _, values in columns.values())
    rows = []
    for row in range(count):
        values = [values[row] if row < len(values) else f"null::{type_}" for type_, values in columns.values()]
        rows.append(f"({row}, {', '.join(values)})")
    cursor, table = bench.cursor, f"{SCHEMA}.{quoted(name)}"
    declared = ", ".join(f"{column} {type_}" for column, (type_, _) in columns.items())
    cursor.execute(f"create table {table} (id int primary key, {declared})")
    target = TableUnderTest(bench, (SCHEMA, name), ["id", *columns], stages)
    shift = ", ".join(f"{column} = n.{column}" for column in columns)
    update = f"update {table} t set {shift} from {table} n where n.id = (t.id + 1) % {count} returning t.id::text"
    target.execute("insert", f"insert into {table} values {', '.join(rows)} returning id::text")
    target.set_identity("f", (), "full")
    target.execute("update", update)
    target.set_identity("d", ("id",), "default")
    target.execute("update", update)
    target.execute("delete", f"delete from {table} where id % 2 = 0 returning id::text")
    target.set_identity("f", (), "full")
    target.execute("delete", f"delete from {table} returning id::text")


def send_case(bench: Workbench, case: Case, stages: list[Stage]) -> None:
    columns = {"v": (case.type, expressions(case))}
    bench.cursor.execute("select typarray from pg_type where oid = %s::regtype", (case.type.split("(")[0],))
    if bench.cursor.fetchone()[0]:
        columns["a"] = (f"{case.type}[]", array_expressions(case))
    send(bench, case.name, columns, stages)


def send_composites(bench: Workbench, stages: list[Stage]) -> list[str]:
    """A row of each catalog as a value of its row type. Returns the names of the tables."""
    sent = []
    for schema, name in catalog_composites(bench):
        type_ = f"{schema}.{quoted(name)}"
        values = [f"(select t from {type_} t limit 1)", f"null::{type_}"]
        arrays = [f"array[{values[0]}, null]::{type_}[]", f"'{{}}'::{type_}[]"]
        with contextlib.suppress(psycopg2.errors.InvalidTableDefinition):  # a pseudo-type is inside
            send(bench, name, {"v": (type_, values), "a": (f"{type_}[]", arrays)}, stages)
            sent.append(name)
    return sent


def wire_classes_of(bench: Workbench, frames: list[bytes]) -> dict[tuple[str, str], str]:
    """The class in which each column of each table travels."""
    classes = {}
    for frame in frames:
        bench.cursor.execute("select (parse_ident(relation))[2], column_name, value_class from walferry.relations(%s)",
                             (frame,))
        classes.update({(table, column): value_class for table, column, value_class in bench.cursor.fetchall()})
    return classes


def travel(bench: Workbench) -> Travelled:
    cursor, stages = bench.cursor, list[Stage]()
    cursor.execute(f"create schema {SCHEMA}")
    cases = cases_of(bench.server_version)
    for case in cases:
        if case.setup:
            cursor.execute(case.setup)
    for case in cases:
        send_case(bench, case, stages)
    composites = send_composites(bench, stages)
    cursor.execute("select distinct atttypid::oid from pg_attribute where attrelid in (select oid from pg_class where "
                   "relnamespace = %s::regnamespace and relkind = 'r') and attnum > 0", (SCHEMA,))
    covered = {row[0] for row in cursor.fetchall()}

    frames = bench.frames(bench.name)
    changes = bench.decode(frames, {stage.table for stage in stages})
    walferry = bench.ship()
    canal = bench.canal()
    assert walferry.stop() == 0
    found = differences(stages, changes, [change for change, _ in canal])

    wire_classes, seen = wire_classes_of(bench, frames), dict[tuple[str, str], Seen]()
    for change, message in canal:
        if change.operation != "insert" or change.after is None:
            continue
        for column, text in change.after.items():
            at = change.table[1], column
            if at not in seen:
                seen[at] = Seen(wire_classes[at], message["mysqlType"][column], message["sqlType"][column], [])
            if text is not None:
                seen[at].texts.append((text, message["data"][0][column]))
    return Travelled(seen, covered, composites, {table[1]: text for table, text in found.items()})

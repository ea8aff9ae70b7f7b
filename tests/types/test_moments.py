"""Values whose text hangs on the catalogs: it is that of the moment when the row was written."""

from collections.abc import Iterator

import pytest
from changes import Stage, Table, differences
from workbench import TableUnderTest, Workbench

# A table's columns, and what happens: DDL, or statements by their operation. {t} is the table.
DDL, INSERT, UPDATE, DELETE = "ddl", "insert", "update", "delete"
STORIES: dict[str, tuple[str, list[tuple[str, str]]]] = {
    "enum_labels": ("v m.mood, a m.mood[], p m.mixed", [
        (DDL, "create type m.mood as enum ('sad', 'ok'); create type m.mixed as (m m.mood, t text)"),
        (INSERT, "values (1, 'sad', '{sad,ok}', '(ok,x)')"),
        (DDL, "alter type m.mood add value 'happy' before 'ok'"),
        (INSERT, "values (2, 'happy', '{happy}', '(happy,)')"),
        (DDL, "alter type m.mood rename value 'sad' to 'blue \"'"),
        (UPDATE, "set v = 'ok' where id = 1"),
        (DDL, "alter type m.mood rename value 'ok' to 'fine'; alter type m.mood rename to moods; "
              "alter type m.moods set schema public"),
        (DELETE, "where true")]),
    "attributes": ("v m.pair, a m.pair[], d m.pair_domain, n m.outer_pair", [
        (DDL, "create type m.pair as (a int, b text); create domain m.pair_domain as m.pair; "
              "create type m.outer_pair as (p m.pair, q m.pair[])"),
        (INSERT, "values (1, '(1,x)', '{\"(1,x)\"}', '(1,x)', '(\"(1,x)\",\"{\"\"(1,x)\"\"}\")')"),
        (DDL, "alter type m.pair add attribute c numeric"),
        (INSERT, "values (2, '(2,y,1.50)', '{\"(2,y,)\"}', '(2,y,NaN)', '(\"(2,y,0)\",{})')"),
        (UPDATE, "set id = id + 10 where id = 1"),
        (DDL, "alter type m.pair drop attribute b"),
        (INSERT, "values (3, '(3,2.0)', '{\"(3,)\"}', '(3,NaN)', '(\"(3,0)\",{})')"),
        (UPDATE, "set id = id + 100 where true"),
        (DDL, "alter type m.pair rename attribute c to d; alter type m.pair rename to couple"),
        (DELETE, "where true")]),
    "names_of_things": ("v regclass, a regclass[], p regproc, q regprocedure, t regtype, "
                        "n regnamespace, r regrole, l aclitem", [
        (DDL, "create table m.thing (id int); create function m.f(int) returns int "
              "language sql as 'select $1'; create type m.kind as enum (); "
              "create schema named; create role walferry_moment"),
        (INSERT, "values (1, 'm.thing', '{m.thing,pg_class}', 'm.f', 'm.f(int)', 'm.kind', 'named', "
                 "'walferry_moment', 'walferry_moment=r/postgres')"),
        (DDL, "alter table m.thing rename to \"Thing 2\"; alter function m.f(int) rename to g; "
              "alter type m.kind rename to \"K\"; "
              "alter schema named rename to \"Named\"; alter role walferry_moment rename to walferry_moment_2"),
        (UPDATE, "set id = id + 10 where true"),
        (DDL, "drop table m.\"Thing 2\"; drop function m.g(int); drop type m.\"K\"; "
              "drop schema \"Named\"; drop role walferry_moment_2"),
        (UPDATE, "set id = id + 100 where true"),
        (DELETE, "where true")]),
    "types_of_columns": ("v int, w varchar(5), d m.small", [
        (DDL, "create domain m.small as numeric(6,2)"),
        (INSERT, "values (1, 7, 'x', 1.5)"),
        (DDL, "alter table {t} alter v type numeric(10,3)"),
        (INSERT, "values (2, 7, 'y', 2)"),
        (DDL, "alter table {t} alter w type char(8), alter v type text using '<' || v || '>'; "
              "alter domain m.small rename to little"),
        (UPDATE, "set id = id + 10 where true"),
        (DDL, "alter table {t} alter w type bytea using convert_to(w, 'UTF8'), alter d type text"),
        (DELETE, "where true")]),
    "ranges": ("v m.span, a m.span[], w m.spans", [
        (DDL, "create type m.span as range (subtype = timestamptz, multirange_type_name = m.spans)"),
        (INSERT, "values (1, '[2026-01-02 03:04:05+05,)', '{empty}', '{[2026-01-02,2026-01-03)}')"),
        (DDL, "alter type m.span rename to stretch; alter type m.stretch set schema public"),
        (DELETE, "where true")]),
}


def tell(bench: Workbench, name: str, stages: list[Stage]) -> None:
    """Makes the table and does what the story says."""
    columns, events = STORIES[name]
    table, sql = ("m", name), f"m.{name}"
    bench.cursor.execute(events[0][1])
    bench.cursor.execute(f"create table {sql} (id int primary key, {columns}); alter table {sql} replica identity full")
    target = TableUnderTest(bench, table, ["id", *(column.split()[0] for column in columns.split(", "))], stages)
    target.identity = "f"
    for operation, text in events[1:]:
        if operation == DDL:
            bench.cursor.execute(text.format(t=sql))
            target.refresh()
        elif operation == INSERT:
            target.execute(operation, f"insert into {sql} {text} returning id::text")
        elif operation == DELETE:
            target.execute(operation, f"delete from {sql} {text} returning id::text")
        elif "id = id + " in text:
            added = text.split("id + ")[1].split()[0]
            target.execute(operation, f"update {sql} {text} returning (id - {added})::text, id::text")
        else:
            target.execute(operation, f"update {sql} {text} returning id::text")


@pytest.fixture(scope="module")
def told(workbench: Workbench) -> Iterator[dict[Table, str]]:
    """All stories, told before anything is read."""
    stages: list[Stage] = []
    workbench.cursor.execute("create schema m")
    for name in STORIES:
        tell(workbench, name, stages)
    frames = workbench.decode(workbench.frames(workbench.name), {stage.table for stage in stages})
    walferry = workbench.ship()
    canal = workbench.canal()
    assert walferry.stop() == 0
    yield differences(stages, frames, [change for change, _ in canal])


@pytest.mark.parametrize("story", STORIES)
def test_text_is_that_of_the_moment_when_the_row_was_written(told: dict[Table, str], story: str) -> None:
    assert told.get(("m", story)) is None

"""Random tables, types and values, through the same ways as the corpus.

WALFERRY_VALUES says how many values must arrive (default 100000), WALFERRY_SEED repeats a run.
"""

import itertools
import os
import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

import psycopg2
import pytest
from changes import Stage, Table, differences
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st
from random_types import (BASE_TYPES, CHARACTERS, RANGE_TYPES, Pools, RandomType, Source, array_of, composite_of,
                          domain_over, enum_of,
                          pools)
from workbench import TableUnderTest, Workbench, quoted

WANTED = int(os.environ.get("WALFERRY_VALUES") or 100_000)
SEED = int(os.environ.get("WALFERRY_SEED") or random.SystemRandom().randrange(2**32))
VALUES_PER_TABLE, MOST_ROWS = 1500, 250
TABLES = WANTED // 600 + 10  # more than are needed: what is refused does not count

# Names that the server has itself, and that of the column by which rows are told apart.
TAKEN = {"id", "ctid", "xmin", "cmin", "xmax", "cmax", "tableoid"}
KEY_TYPES = ("bool", "int2", "int4", "int8", "numeric(20,5)", "varchar(12)", "char(9)", "uuid", "date", "timestamptz",
             "interval", "oid", "name")
DEFAULTS = {"int4": "7", "text": "'ad''ded \"\\'", "numeric(20,5)": "1.5", "timestamptz": "'2026-01-02 03:04:05.6+02'",
            "bytea": "'\\x00ff'",
            "bool": "true", "jsonb": "'{\"a\": 1.0}'", "varchar(12)": "repeat('é', 12)", "point": "'(1,2)'",
            "int4[]": "'{1,NULL}'", "uuid": "'" + "0" * 32 + "'"}
GENERATED = {"int2": ("int4", "{} * 2"), "int4": ("int8", "{}::int8 * -3"),
             "text": ("text", "left(upper({} collate \"C\"), 30)"),
             "numeric": ("numeric", "-{}"), "bytea": ("text", "md5({})"), "jsonb": ("jsonb", "{} || '[1]'"),
             "bool": ("bool", "not {}")}

_NUMBERS = itertools.count()


@dataclass
class Plan:
    """One table and what happens to it."""

    schema: str
    table: str
    columns: dict[str, RandomType]
    key: list[str]  # of the primary key, besides id; in this order
    key_first: bool
    primary: bool  # the key is the primary key, or just a unique index
    identities: list[str]  # before the update, and before the delete
    dropped: list[str]  # before the first row
    dropped_later: str | None
    added: tuple[str, str] | None
    generated: tuple[str, str] | None  # its name, and the column that it is made from
    updated: list[str]
    pools: Pools
    seed: int
    setup: list[str] = field(default_factory=list)


@st.composite
def identifiers(draw: st.DrawFn, taken: set[str]) -> str:
    """Any name that the server takes as it is; `taken` grows by it."""
    plain = st.sampled_from(("a", "A", "b", "B", "v", "select", "Große", "日本", "🐘", 'q"uo"te', "do.t", "back\\slash",
                             "%s", "a b", "\t", "n" * 63))
    name = draw(st.one_of(plain, st.text(CHARACTERS, min_size=1, max_size=20)))
    name = name.encode()[:63].decode(errors="ignore")
    while name in taken:
        name = (str(len(taken)) + name).encode()[:63].decode(errors="ignore")
    taken.add(name)
    return name


@st.composite
def types(draw: st.DrawFn, schema: str, made: set[str], depth: int = 2) -> RandomType:
    kind = draw(st.integers(0, 11 if depth else 6))
    if kind <= 5:
        return draw(st.sampled_from(BASE_TYPES))
    if kind == 6:
        return draw(st.sampled_from(RANGE_TYPES))
    if kind <= 8:
        item = draw(types(schema, made, depth - 1))
        return item if item.sql.endswith("[]") else array_of(item)
    name = f"{quoted(schema)}.{quoted(draw(identifiers(made)))}"
    if kind == 9:
        return domain_over(draw(types(schema, made, depth - 1)), name)
    if kind == 10:
        labels = draw(st.lists(st.text(CHARACTERS, max_size=12), min_size=1, max_size=5, unique=True))
        return enum_of(labels, name)
    taken: set[str] = set()
    fields = [(quoted(draw(identifiers(taken))),
               draw(types(schema, made, depth - 1))) for _ in range(draw(st.integers(1, 4)))]
    return composite_of(fields, name)


@st.composite
def plans(draw: st.DrawFn) -> Plan:
    schema = f"{next(_NUMBERS)} {draw(identifiers(set()))}".encode()[:63].decode(errors="ignore")
    made: set[str] = set()
    table = draw(identifiers(made))
    taken = set(TAKEN)
    columns = {draw(identifiers(taken)): draw(types(schema, made)) for _ in range(draw(st.integers(1, 20)))}
    names = list(columns)
    of_key = [name for name in names if columns[name].sql in KEY_TYPES]
    key = draw(st.lists(st.sampled_from(of_key), max_size=2, unique=True)) if of_key else []
    others = [name for name in names if name not in key]
    sources = [name for name in others if columns[name].sql in GENERATED]
    generated = (draw(identifiers(taken)), draw(st.sampled_from(sources))) if sources and draw(st.booleans()) else None
    droppable = [name for name in others if generated is None or name != generated[1]]
    dropped = draw(st.lists(st.sampled_from(droppable), max_size=3, unique=True)) if len(droppable) > 3 else []
    left = [name for name in droppable if name not in dropped]
    dropped_later = draw(st.sampled_from(left)) if len(left) > 1 and draw(st.booleans()) else None
    added = (draw(identifiers(taken)), draw(st.sampled_from(sorted(DEFAULTS)))) if draw(st.booleans()) else None
    stay = [name for name in others if name not in dropped and name != dropped_later] or ["id"]
    identities = [draw(st.sampled_from("ffddin")) for _ in range(2)]
    setup = [f"create schema if not exists {quoted(schema)}"]
    setup += dict.fromkeys(statement for type_ in columns.values() for statement in type_.setup)
    return Plan(schema, table, columns, key, draw(st.booleans()), draw(st.booleans()), identities, dropped,
                dropped_later, added, generated,
                draw(st.lists(st.sampled_from(stay), min_size=1, max_size=5, unique=True)), draw(pools()),
                draw(st.integers(0, 2**32)), setup)


class Builder:
    """Carries plans out."""

    def __init__(self, bench: Workbench) -> None:
        self.bench, self.stages, self.counts = bench, list[Stage](), Counter[str]()
        bench.cursor.execute("""
            create function public.accepted(inputs text[], type text) returns text[] language plpgsql as $$
            declare result text[]; input text;
            begin
                foreach input in array inputs loop
                    begin
                        execute 'select $1::' || type using input;
                        result := result || input;
                    exception when others then null;
                    end;
                end loop;
                return coalesce(result, '{}');
            end $$""")

    def array(self, texts: Sequence[str | None]) -> str:
        return self.bench.cursor.mogrify("%s::text[]", (list(texts),)).decode()

    def values(self, type_: RandomType, source: Source, count: int) -> list[str | None]:
        """Texts that the server takes, and some NULLs."""
        texts = [type_.make(source) for _ in range(count)]
        cursor = self.bench.cursor
        try:
            cursor.execute(f"select count(v::{type_.sql}) from unnest({self.array(texts)}) v")
            taken = texts
        except psycopg2.Error:
            cursor.execute("select public.accepted(%s, %s)", (texts, type_.sql))
            taken = cursor.fetchone()[0]
        self.counts["refused"] += count - len(taken)
        padded = [None if source.chance(0.05) else text for text in taken] + [None] * (count - len(taken))
        source.random.shuffle(padded)
        return padded

    def run(self, plan: Plan) -> None:
        number = self.counts["tables"]
        self.counts["tables"] += 1
        cursor, source = self.bench.cursor, Source(plan.pools, plan.seed)
        for statement in plan.setup:
            cursor.execute(statement)
        table: Table = plan.schema, plan.table
        sql = f"{quoted(table[0])}.{quoted(table[1])}"
        key = [*plan.key, "id"] if plan.key_first else ["id", *plan.key]
        declared = [f"{quoted(name)} {type_.sql}{' not null' if name in plan.key else ''}"
                    for name, type_ in plan.columns.items()]
        declared.insert(number % (len(declared) + 1), "id int not null")
        if plan.generated:
            name, of = plan.generated
            type_, form = GENERATED[plan.columns[of].sql]
            declared.append(f"{quoted(name)} {type_} generated always as ({form.format(quoted(of))}) stored")
        self.index, self.primary = f"index {number}", plan.primary
        cursor.execute(f"create table {sql} ({', '.join(declared)})")
        cursor.execute(f"create unique index {quoted(self.index)} on {sql} ({', '.join(map(quoted, key))})")
        if plan.primary:
            cursor.execute(f"alter table {sql} add primary key using index {quoted(self.index)}")
        for name in plan.dropped:
            cursor.execute(f"alter table {sql} drop column {quoted(name)}")
        columns = {name: type_ for name, type_ in plan.columns.items() if name not in plan.dropped}
        self.fill(plan, source, table, sql, key, columns)

    def fill(self, plan: Plan, source: Source, table: Table, sql: str, key: list[str],
             columns: dict[str, RandomType]) -> None:
        shown = ["id", *columns, *([plan.generated[0]] if plan.generated else [])]
        target = TableUnderTest(self.bench, table, shown, self.stages)
        count = min(MOST_ROWS, VALUES_PER_TABLE // len(columns))
        values = {name: self.values(type_, source, count) for name, type_ in columns.items()}
        for name in plan.key:
            values[name] = [value for value in values[name] if value is not None]
        count = min(len(of_column) for of_column in values.values())
        values = {name: of_column[:count] for name, of_column in values.items()}
        self.insert(target, sql, columns, values)
        self.counts["values"] += sum(value is not None for of_column in values.values() for value in of_column)

        if plan.dropped_later:
            self.bench.cursor.execute(f"alter table {sql} drop column {quoted(plan.dropped_later)}")
            target.columns.remove(plan.dropped_later)
        if plan.added:
            name, type_ = plan.added
            self.bench.cursor.execute(f"alter table {sql} add column {quoted(name)} {type_} default {DEFAULTS[type_]}")
            target.columns.append(name)
        target.refresh()

        self.identify(target, plan.identities[0], key)
        shift = ", ".join(f"{quoted(name)} = n.{quoted(name)}" for name in plan.updated if name != "id")
        if shift:
            target.execute("update",
                           f"update {sql} t set {shift} from {sql} n "
                                     f"where n.id = (t.id + 1) % {max(count, 1)} returning t.id::text")
        target.execute("update", f"update {sql} set id = -id - 1 where id % 5 = 0 returning (-id - 1)::text, id::text")
        self.identify(target, plan.identities[1], key)
        target.execute("delete", f"delete from {sql} where id % 3 = 0 returning id::text")

    def identify(self, target: TableUnderTest, identity: str, key: list[str]) -> None:
        if identity == "f":
            target.set_identity("f", (), "full")
        elif identity == "n":
            target.set_identity("n", (), "nothing")
        elif identity == "i":
            target.set_identity("i", tuple(key), f"using index {quoted(self.index)}")
        else:
            target.set_identity("d", tuple(key) if self.primary else (), "default")

    def insert(self, target: TableUnderTest, sql: str, columns: dict[str, RandomType],
               values: dict[str, list[str | None]]) -> None:
        arrays = ", ".join(self.array(values[name]) for name in columns)
        names = ", ".join(quoted(name) for name in columns)
        casts = ", ".join(f"c{i}::{type_.sql}" for i, type_ in enumerate(columns.values()))
        aliases = ", ".join(f"c{i}" for i in range(len(columns)))
        target.execute("insert",
                       f"insert into {sql} (id, {names}) select n - 1, {casts} "
                                 f"from unnest({arrays}) with ordinality a({aliases}, n) "
                                 "returning id::text")


@pytest.mark.timeout(600)
def test_random_tables_arrive_as_the_server_prints_them(workbench: Workbench,
                                                        capsys: pytest.CaptureFixture[str]) -> None:
    builder = Builder(workbench)

    @seed(SEED)
    @settings(max_examples=TABLES, phases=[Phase.generate], database=None, deadline=None,
              suppress_health_check=list(HealthCheck))
    @given(plans())
    def build(plan: Plan) -> None:
        if builder.counts["values"] < WANTED:
            builder.run(plan)

    with capsys.disabled():
        print(f"\nrandom values: WALFERRY_SEED={SEED} repeats this run")
        build()
        print(f"random values: {dict(builder.counts)}")
    frames = workbench.decode(workbench.frames(workbench.name), {stage.table for stage in builder.stages})
    walferry = workbench.ship()
    canal = workbench.canal()
    assert walferry.stop() == 0
    assert differences(builder.stages, frames, [change for change, _ in canal]) == {}
    assert builder.counts["values"] >= WANTED

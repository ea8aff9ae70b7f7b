"""The statements of the storm: random DDL, most of which the server takes, and values for any column that comes of it."""

import random
from collections.abc import Sequence

# Every table has the columns id and op, in which the storm finds its rows again; nothing but their types and their part in
# keys is altered.
SETUP = """
create type public.mood as enum ('sad', 'ok');
create domain public.score as numeric(12, 3);
create domain public.deep as public.score check (value is null or value > -1000000);
create type public.pair as (a int, "B c" text);
create schema app0; create schema app1;
create table app0.t0 (id bigint primary key, op bigint, c0 int, c1 text default 'é');
create table app0.t1 (id bigint, op bigint, c0 public.mood);
alter table app0.t1 replica identity full;
create table app0."T 2" (op bigint, id bigint, c0 jsonb, c1 public.deep, primary key (op, id));
create table app0.parent (id bigint primary key, op bigint, c0 text);
create table app0.child (c9 int) inherits (app0.parent);
create table app0.parted (id bigint not null, op bigint, c0 text, primary key (id)) partition by hash (id);
create table app0.part0 partition of app0.parted for values with (modulus 2, remainder 0);
create table app0.part1 (c0 text, lost int, op bigint, id bigint not null, primary key (id));
alter table app0.part1 drop column lost;
alter table app0.parted attach partition app0.part1 for values with (modulus 2, remainder 1);
"""

TYPES = ("int", "bigint", "text", "varchar(40)", "char(12)", "numeric", "numeric(20,4)", "bool", "jsonb", "int[]", "text[]",
         "bytea", "timestamptz", "date", "interval", "inet", "uuid", "float8", "xml", "int4range", "point",
         "public.mood", "public.mood[]", "public.score", "public.deep", "public.pair", "public.passing")
RENAMED = "renamed"


class Ddl:
    def __init__(self, chance: random.Random) -> None:
        self._chance = chance

    def value(self, kind: str) -> str:
        """An expression of a type, by its name as format_type() shows it."""
        n = self._chance.randrange(1000)
        if self._chance.random() < 0.12:
            return "null"
        plain = {
            "integer": str(n), "bigint": str(n << 33), "numeric": f"{n}.{n}", "double precision": f"{n} / 7.0",
            "boolean": "true", "jsonb": f"'{{\"k\": [{n}, null]}}'", "integer[]": f"'{{{n},NULL}}'",
            "text[]": f"array['a,{n}', null, '\"']", "bytea": f"decode(md5('{n}'), 'hex')",
            "timestamp with time zone": f"'2026-01-01 00:00:00+00'::timestamptz + '{n} hours'",
            "date": f"'2026-01-01'::date + {n}",
            "interval": f"'{n} months -{n} seconds'", "inet": f"'10.0.0.{n % 256}'", "uuid": f"md5('{n}')::uuid",
            "xml": f"'<a>{n}</a>'", "int4range": f"'[{n},)'", "point": f"'({n},1.5)'", "character varying": f"'vc {n}'",
            "character": f"'c {n}'", "public.score": str(n), "public.deep": str(n), "public.pair": f"row({n}, 'x, \"{n}\"')",
        }
        if kind in plain:
            return plain[kind]
        if kind == "text":
            # Sometimes out of line, sometimes compressed.
            return self._chance.choice((
                f"'text {n}'", f"repeat('long {n} ', 2000)",
                f"(select string_agg(md5(x::text), '') from generate_series({n}, {n + 300}) x)"))
        return "default"

    def _column(self) -> str:
        return f"c{self._chance.randrange(7)}"

    def of_tables(self, tables: Sequence[tuple[int, str, str]]) -> str:
        _, table, kind = self._chance.choice(tables)
        schema, name = table.split(".", 1)
        column, other, number = self._column(), self._column(), self._chance.randrange(100)
        index = f"i{number}"
        alter = f"alter table {table}"
        new_type = self._chance.choice(TYPES)
        passing = ("create domain public.passing as text" if self._chance.random() < 0.5
                   else "create type public.passing as enum ('x', 'y')")
        statements = [
            f"{alter} add column {column} {new_type}",
            f"{alter} add column {column} {new_type}",
            f"{alter} add column {column} text default 'fast'",
            f"{alter} add column {column} float8 default random()",
            f"{alter} add column {column} bigint generated always as (op * 2) stored",
            f"{alter} drop column {column} cascade",
            f"{alter} drop column {column} cascade",
            f"{alter} rename column {column} to {other}",
            f"{alter} alter column {column} type text using {column}::text",
            f"{alter} alter column {column} type varchar(200) using left({column}::text, 200)",
            f"{alter} alter column {column} type varchar(300)",
            f"{alter} alter column id type {self._chance.choice(('bigint', 'numeric', 'bigint'))}",
            f"{alter} alter column op type {self._chance.choice(('bigint', 'numeric(40,0)'))}",
            f"{alter} alter column {column} set default null",
            f"{alter} alter column {column} set storage {self._chance.choice(('external', 'main', 'extended'))}",
            f"{alter} alter column {column} set not null",
            f"{alter} alter column {column} drop not null",
            f"{alter} drop column {column}, add column {column} int default {number}",
            f"{alter} add primary key ({self._chance.choice(('id', 'op, id', 'id, op'))})",
            f"{alter} drop constraint {name.strip(chr(34)).replace(' ', '_')}_pkey" if " " not in name
            else f'{alter} drop constraint "{name.strip(chr(34))}_pkey"',
            f"{alter} replica identity full",
            f"{alter} replica identity default",
            f"{alter} replica identity nothing",
            f"create index {index} on {table} (op)",
            f"{alter} alter column op set not null; create unique index {index} on {table} (op, id); "
            f"{alter} replica identity using index {index}",
            f"{alter} alter column id set not null; create unique index {index} on {table} (id) include (op); "
            f"{alter} replica identity using index {index}",
            f"drop index {schema}.{index}",
            f"reindex table {table}",
            f"analyze {table}",
            f"comment on table {table} is '{number}'",
            f"{passing}; {alter} add column {column} public.passing",
            "drop type public.passing cascade",
            "drop domain public.passing cascade",
            f"alter type public.mood add value if not exists 'm{number}'",
            f"alter domain public.score add constraint k{number} check (value > -{number}00000)",
            f"alter domain public.score drop constraint k{number}",
            f"{alter} rename to {RENAMED}{number % 4}",
            f"{alter} set schema {self._chance.choice(('app0', 'app1'))}",
            f"create table {schema}.n{number % 3} (c1 public.mood, id bigint primary key, op bigint)",
            f"drop table if exists {schema}.n{number % 3}; "
            f"create table {schema}.n{number % 3} (id bigint, c1 text, op bigint, c0 int[])",
            f"drop table if exists {schema}.n{number % 3}",
            f"{alter} set {self._chance.choice(('logged', 'logged', 'unlogged'))}",
            f"{alter} no inherit app0.parent",
            f"{alter} inherit app0.parent",
            f"alter table app0.parted detach partition {table}",
            f"alter table app0.parted attach partition {table} for values with (modulus 2, remainder {number % 2})",
        ]
        return self._chance.choice(statements)

    def of_names(self) -> str:
        """What changes how rows read, though their table is not locked."""
        number = self._chance.randrange(1000)
        return self._chance.choice([
            "alter type public.mood rename to feeling; alter type public.feeling rename to mood",
            f"alter type public.mood add value 'v{number}'",
            f"alter type public.mood rename value 'ok' to 'ok{number}'; "
            f"alter type public.mood rename value 'ok{number}' to 'ok'",
            f"alter type public.mood rename value 'sad' to 'sad{number}'",
            "alter domain public.deep rename to deeper",
            "alter domain public.deeper rename to deep",
            "alter schema app1 rename to app2",
            "alter schema app2 rename to app1",
            "alter type public.pair rename attribute a to a2",
            "alter type public.pair rename attribute a2 to a",
            "alter type public.pair set schema app0",
            "alter type app0.pair set schema public",
        ])

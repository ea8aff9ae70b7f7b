"""The loads: what stands in a table before the slot is made, and the changes that are decoded.

Everything is made inside the server by statements that commit as they go, so that making a load costs no client time.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

# About 110 bytes of values: the row to which the budgets refer.
TEN_COLUMNS = """(
    id bigint primary key, customer int, quantity int, account bigint, weight double precision, amount numeric(12,2),
    changed timestamptz, active boolean, name text, note text)"""

# Numbers are spread over what such columns hold in practice: their size as text is part of what is measured.
_TEN_VALUES = """
    i, i * 7919 % 2000000011, i % 97, 4000000000000 + i * 7919, i / 7.0, i * 37 % 1000000000 / 100.0,
    '2026-01-01'::timestamptz + i * interval '1.000237 seconds', i % 3 = 0, 'customer ' || lpad(i::text, 11, '0'),
    'a note of thirty chars ' || lpad((i % 9999999)::text, 7, '0')"""

# Columns of the wide row by type, and the expression that fills one; {c} is the column's number.
_WIDE = (
    ("int", 25, "(i % 100003)::int + {c}"), ("bigint", 15, "i * 31 + {c}"), ("double precision", 10, "i / ({c} + 3.0)"),
    ("numeric(14,4)", 10, "(i % 1000000) / 100.0 + {c}"), ("boolean", 10, "(i + {c}) % 2 = 0"),
    ("timestamptz", 9, "'2026-01-01'::timestamptz + (i + {c}) * interval '1 second'"),
    ("date", 5, "'2026-01-01'::date + (i % 1000)::int + {c}"), ("text", 15, "'text ' || {c} || ' of row ' || i"))


def in_batches(rows: int, per_transaction: int, statement: str, variables: str = "") -> str:
    """`statement` once for each batch, over ids from `low` to `high`, and a COMMIT after each."""
    return f"""
        do $$
        declare low bigint; high bigint; {variables}
        begin
            for batch in 0 .. {-(-rows // per_transaction) - 1} loop
                low := batch * {per_transaction}::bigint + 1;
                high := least(low + {per_transaction} - 1, {rows});
                {statement};
                commit;
            end loop;
        end $$"""


def insert_ten(table: str) -> str:
    """Fills `table` with the rows from `low` to `high`."""
    return f"insert into {table} select {_TEN_VALUES} from generate_series(low, high) i"


@dataclass(frozen=True)
class Workload:
    """`rows` changes of one table, named like the workload, at scale 1."""

    name: str
    title: str
    rows: int
    rows_per_transaction: int
    columns: str
    change: str
    fill: str = ""  # makes what the changes need, before the slot exists
    after_fill: str = ""
    variables: str = ""
    by_default: bool = True

    def scaled(self, scale: float) -> int:
        return max(1, round(self.rows * scale))

    def prepare(self, connection: Any, rows: int) -> None:
        """The table, and the publication that pgoutput and Debezium need."""
        statements = [f"create table {self.name} {self.columns}",
                      f"create publication {self.name} for table {self.name}"]
        if self.fill:
            statements += [in_batches(rows, 10000, self.fill), f"vacuum analyze {self.name}", self.after_fill]
        _execute(connection, statements)

    def load(self, connection: Any, rows: int) -> None:
        """The changes themselves."""
        _execute(connection, ["set synchronous_commit = off",
                              in_batches(rows, self.rows_per_transaction, self.change, self.variables),
                              "set synchronous_commit = on"])


def _execute(connection: Any, statements: Sequence[str]) -> None:
    with connection.cursor() as cursor:
        for statement in statements:
            cursor.execute(statement)


def _wide_columns() -> tuple[str, str]:
    types, values = ["id bigint primary key"], ["i"]
    for type_name, count, value in _WIDE:
        for _ in range(count):
            types.append(f"c{len(types)} {type_name}")
            values.append(value.format(c=len(values)))
    return f"({', '.join(types)})", ", ".join(values)


_WIDE_TYPES, _WIDE_VALUES = _wide_columns()

WORKLOADS = {workload.name: workload for workload in (
    Workload("ten", "ten-column rows, 500 to a transaction", 1_000_000, 500, TEN_COLUMNS, insert_ten("ten")),
    Workload("single", "ten-column rows, one to a transaction", 200_000, 1, TEN_COLUMNS, insert_ten("single")),
    Workload("wide", "100-column rows, 500 to a transaction", 100_000, 500, _WIDE_TYPES,
             f"insert into wide select {_WIDE_VALUES} from generate_series(low, high) i"),
    Workload("text10k", "rows with 10 kB of text, 100 to a transaction", 20_000, 100,
             "(id bigint primary key, body text)",
             "insert into text10k select i, substr(pool, 1 + (i * 7919 % 90000)::int, 10000) "
             "from generate_series(low, high) i",
             variables="pool text := (select string_agg(md5(i::text), '') from generate_series(1, 3200) i);"),
    Workload("update_full", "updates of ten-column rows, REPLICA IDENTITY FULL", 300_000, 500, TEN_COLUMNS,
             "update update_full set quantity = quantity + 1, note = 'another note ' || id "
             "where id between low and high",
             fill=insert_ten("update_full"), after_fill="alter table update_full replica identity full"),
    Workload("arrays", "rows with five arrays, 500 to a transaction", 100_000, 500,
             "(id bigint primary key, ints int[], bigints bigint[], texts text[], amounts numeric(12,2)[], flags boolean[])",
             "insert into arrays select i, array[i, i + 1, i * 7919 % 100003, null], array[i * 4000000007, -i], "
             "array['label ' || i, 'a \"quoted\" one', null, ''], array[i / 100.0, i % 977], array[i % 2 = 0, true, null] "
             "from generate_series(low, high) i"),
    Workload("jsonb", "rows with 300 bytes of jsonb, 500 to a transaction", 100_000, 500,
             "(id bigint primary key, document jsonb)",
             "insert into jsonb select i, jsonb_build_object('order', i, 'customer', 'customer ' || i, 'paid', i % 3 = 0, "
             "'lines', jsonb_build_array(jsonb_build_object('sku', 'A' || i % 977, 'price', i % 10007 / 100.0, 'count', i % 9), "
             "jsonb_build_object('sku', 'B' || i % 991, 'price', i % 9973 / 100.0, 'count', i % 5)), "
             "'note', 'a note of some length for order ' || i) from generate_series(low, high) i"),
    Workload("numeric", "rows with ten numerics, 500 to a transaction", 200_000, 500,
             "(id bigint primary key, " + ", ".join(f"n{n} numeric" for n in range(10)) + ")",
             "insert into \"numeric\" select i, " + ", ".join(f"(i * {7919 + n})::numeric / {10 ** n}" for n in range(10))
             + " from generate_series(low, high) i"),
    Workload("bulk", "ten-column rows, all in one transaction", 10_000_000, 10_000_000, TEN_COLUMNS, insert_ten("bulk"),
             by_default=False),
)}

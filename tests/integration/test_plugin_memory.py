"""The walsender's memory does not grow with what passes through it."""

from collections.abc import Callable

import pytest
from harness import Postgres
from plugin_stream import Stream, create_slot, memory_of, slow

MB = 1024 * 1024


def growth(server: Postgres, database: str, slot: str, load: Callable[[int], None], rounds: int) -> int:
    """Bytes by which the walsender grows from the end of the first round of `load` to that of the last."""
    sizes = []
    with Stream(server, database, slot) as stream:
        for number in range(rounds):
            load(number)
            for _ in stream.frames(server.current_lsn()):
                pass
            sizes.append(memory_of(stream.pid))
    return max(sizes[1:]) - sizes[0]


def rows(server: Postgres, database: str, transactions: int, size: int) -> Callable[[int], None]:
    server.query("create table t (id int primary key, n numeric, v text, j jsonb, a int[], ts timestamptz)",
                 dbname=database)
    server.query("alter table t replica identity full", dbname=database)

    def load(_number: int) -> None:
        server.query(f"""do $$ begin
            for i in 1 .. {transactions} loop
                insert into t select g, g / 3.0, 'value ' || g, jsonb_build_object('k', g), array[g, null], now()
                    from generate_series(1, {size}) g;
                update t set v = repeat(v, 3) where id % 10 = 0;
                delete from t;
                commit;
            end loop;
        end $$""", dbname=database)

    return load


def test_rows_leave_nothing_behind(server: Postgres, database: str, slot_name: str) -> None:
    create_slot(server, database, slot_name)
    assert growth(server, database, slot_name, rows(server, database, 20, 500), 5) < 4 * MB


@slow
@pytest.mark.timeout(1800)
def test_millions_of_rows_leave_nothing_behind(server: Postgres, database: str, slot_name: str) -> None:
    create_slot(server, database, slot_name)
    assert growth(server, database, slot_name, rows(server, database, 500, 1000), 6) < 4 * MB


def tables(server: Postgres, database: str, count: int) -> Callable[[int], None]:
    def load(number: int) -> None:
        server.query(f"""do $$ begin
            for i in 1 .. {count} loop
                execute format('create table t_%s_{number} (id int primary key, v text, n numeric)', i);
                execute format('insert into t_%s_{number} values (1, ''x'', 1.5)', i);
                execute format('drop table t_%s_{number}', i);
                commit;
            end loop;
        end $$""", dbname=database)

    return load


def test_dropped_tables_leave_little_behind(server: Postgres, database: str, slot_name: str) -> None:
    create_slot(server, database, slot_name)
    assert growth(server, database, slot_name, tables(server, database, 150), 3) < 6 * MB


@slow
@pytest.mark.timeout(3600)
def test_as_many_tables_as_one_likes(server: Postgres, database: str, slot_name: str) -> None:
    # The first two rounds fill the plugin's table of relations up to its bound of 8192 entries.
    create_slot(server, database, slot_name)
    load = tables(server, database, 5000)

    def doubled(number: int) -> None:
        load(2 * number)
        load(2 * number + 1)

    assert growth(server, database, slot_name, doubled, 4) < 16 * MB


def test_a_large_row_is_given_back(server: Postgres, database: str, slot_name: str) -> None:
    create_slot(server, database, slot_name)
    server.query("create table t (id int, v text)", dbname=database)
    large = 40 * MB  # beyond what the C library would keep for itself
    sizes = []
    with Stream(server, database, slot_name) as stream:
        for size in (1, large, 1, large, 1):
            server.query("insert into t values (1, repeat('x', %s))", (size,), dbname=database)
            for _ in stream.frames(server.current_lsn()):
                pass
            sizes.append(memory_of(stream.pid))
    # The server keeps one send buffer of the largest message for the life of a connection; nothing else stays.
    assert sizes[2] - sizes[0] < large + 4 * MB
    assert sizes[4] - sizes[2] < 2 * MB

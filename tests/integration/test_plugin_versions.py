"""What only newer servers have: tables and statements that a test for all versions cannot contain."""

from collections.abc import Callable

import pytest

from harness import Postgres

Decode = Callable[[str], list[tuple[str, dict | None, dict | None]]]


def needs(server: Postgres, major: int) -> None:
    if server.major < major:
        pytest.skip(f"this came with PostgreSQL {major}; this server is {server.major}")


@pytest.fixture
def decode(server: Postgres, database: str, slot_name: str) -> Decode:
    """Runs a script and gives the changes that it made: operation, before, after."""
    server.psql("create extension walferry", database)
    server.query("select pg_create_logical_replication_slot(%s, 'walferry')", (slot_name,), database)

    def run(script: str) -> list[tuple[str, dict | None, dict | None]]:
        server.psql(script, database)
        return server.query("""select d.operation, d.before, d.after
            from pg_logical_slot_get_binary_changes(%s, null, null) c, walferry.decode(c.data) d""", (slot_name,), database)

    return run


def columns(server: Postgres, database: str, slot_name: str) -> list[tuple]:
    return server.query("""select r.column_name, r.not_null, r.generated
        from pg_logical_slot_peek_binary_changes(%s, null, null) c, walferry.relations(c.data) r""", (slot_name,), database)


def test_a_virtual_generated_column_is_absent(server, database, slot_name, decode):
    needs(server, 18)
    server.psql("""create table t (a int, v int generated always as (a * 2) virtual, s int generated always as (a * 3) stored,
            d int generated always as (a * 4), id int primary key);
        alter table t replica identity full""", database)
    server.psql("insert into t (a, id) values (1, 1)", database)
    assert [name for name, _, _ in columns(server, database, slot_name)] == ["a", "s", "id"]
    assert decode("update t set a = 2; delete from t") == [
        ("insert", None, {"a": "1", "s": "3", "id": "1"}),
        ("update", {"a": "1", "s": "3", "id": "1"}, {"a": "2", "s": "6", "id": "1"}),
        ("delete", {"a": "2", "s": "6", "id": "1"}, None)]


def test_a_virtual_column_added_and_dropped_between_others(server, database, decode):
    needs(server, 18)
    assert decode("""create table t (id int primary key, b text);
        insert into t values (1, 'x');
        alter table t add v text generated always as (b || '!') virtual, add c int default 7;
        insert into t (id, b) values (2, 'y');
        alter table t drop v;
        insert into t (id, b, c) values (3, 'z', 8)""") == [
        ("insert", None, {"id": "1", "b": "x"}), ("insert", None, {"id": "2", "b": "y", "c": "7"}),
        ("insert", None, {"id": "3", "b": "z", "c": "8"})]


def test_a_not_null_constraint_that_old_rows_need_not_meet(server, database, slot_name, decode):
    """The schema does not promise what a before image can break."""
    needs(server, 18)
    server.psql("""create table t (id int primary key, v int);
        insert into t values (1, null);
        alter table t add constraint filled not null v not valid, replica identity full""", database)
    decode("")
    server.psql("update t set v = 1", database)
    assert [(name, not_null) for name, not_null, _ in columns(server, database, slot_name)] == [("id", True), ("v", False)]
    assert decode("") == [("update", {"id": "1", "v": None}, {"id": "1", "v": "1"})]
    server.psql("alter table t validate constraint filled; update t set v = 2", database)
    assert [(name, not_null) for name, not_null, _ in columns(server, database, slot_name)] == [("id", True), ("v", True)]


def test_a_temporal_key_is_the_identity(server, database, decode):
    needs(server, 18)
    assert decode("""create table t (during daterange, note text, id int4range,
            primary key (id, during without overlaps));
        insert into t values ('[2026-01-01,2026-02-01)', 'a', '[1,2)');
        update t set during = '[2026-01-01,2026-03-01)';
        delete from t""") == [
        ("insert", None, {"during": "[2026-01-01,2026-02-01)", "note": "a", "id": "[1,2)"}),
        ("update", {"during": "[2026-01-01,2026-02-01)", "id": "[1,2)"},
         {"during": "[2026-01-01,2026-03-01)", "note": "a", "id": "[1,2)"}),
        ("delete", {"during": "[2026-01-01,2026-03-01)", "id": "[1,2)"}, None)]


def test_merge_with_not_matched_by_source(server, database, decode):
    needs(server, 17)
    changes = decode("""create table t (id int primary key, v text);
        insert into t values (1, 'a'), (2, 'b');
        merge into t using (values (2, 'B'), (3, 'c')) as s (id, v) on t.id = s.id
            when matched then update set v = s.v
            when not matched then insert values (s.id, s.v)
            when not matched by source then delete
            returning merge_action()""")
    assert sorted(changes[2:], key=str) == [
        ("delete", {"id": "1"}, None), ("insert", None, {"id": "3", "v": "c"}), ("update", None, {"id": "2", "v": "B"})]


def test_a_transaction_timeout_does_not_end_the_decoding(server, broker, database, slot_name, topic_prefix, task):
    needs(server, 17)
    server.psql(f"""create table t (id int primary key, v text); alter database {database} set transaction_timeout = '100ms'""",
                database)
    walferry = task(source={"streaming": False}).start()
    walferry.wait_for_log('"streaming"')
    server.psql("set transaction_timeout = 0; insert into t select i, repeat('x', 100) from generate_series(1, 300000) i",
                database)
    server.wait_confirmed(slot_name)
    assert sum(broker.end_offsets(topic_prefix + "public.t").values()) == 300000
    assert "trying again" not in walferry.log()
    assert walferry.stop() == 0

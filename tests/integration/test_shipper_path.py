"""From a committed change to the record in Kafka: what arrives, in which order, and what a stop leaves behind."""

import hashlib
import json
import signal
from collections import Counter

import pytest

from harness.kafka import Record
from harness.run import wait_until
from harness.stream import assert_ordered, log_lines, position


def start(task, **changes):
    """A shipper that has its slot and streams."""
    walferry = task(**changes).start()
    walferry.wait_for_log('"streaming"')
    return walferry


def data(record: Record):
    return record.json["data"][0]


def types(records):
    return [record.json["type"] for record in records]


def test_every_operation_arrives_with_its_values(server, broker, database, slot_name, topic_prefix, task):
    server.psql("create table orders (id int primary key, customer text, amount numeric(10,2), paid bool)", database)
    walferry = start(task)
    server.psql("""
        insert into orders values (1, 'Ada', 19.90, false), (2, 'Łukasz "L"', null, true);
        update orders set paid = true where id = 1;
        update orders set id = 3 where id = 2;
        delete from orders where id = 1;
        truncate orders;
    """, database)
    server.wait_confirmed(slot_name)

    records = broker.consume(topic_prefix + "public.orders")
    assert types(records) == ["INSERT", "INSERT", "UPDATE", "UPDATE", "DELETE", "TRUNCATE"]
    first = records[0].json
    assert list(first) == ["id", "database", "table", "pkNames", "isDdl", "type", "es", "ts", "sql", "sqlType",
                           "mysqlType", "data", "old", "gtid"]
    assert first["database"] == "public" and first["table"] == "orders" and first["pkNames"] == ["id"]
    assert first["data"] == [{"id": "1", "customer": "Ada", "amount": "19.90", "paid": "false"}]
    assert first["old"] is None and not first["isDdl"]
    assert data(records[1]) == {"id": "2", "customer": 'Łukasz "L"', "amount": None, "paid": "true"}
    assert data(records[2])["paid"] == "true"
    assert data(records[3])["id"] == "3" and records[3].json["old"] == [{"id": "2"}]
    assert data(records[4])["id"] == "1" and records[4].json["old"] is None
    assert records[5].json["isDdl"] and records[5].json["sql"] == 'TRUNCATE TABLE "public"."orders"'
    assert [record.key and json.loads(record.key) for record in records] == [
        {"id": "1"}, {"id": "2"}, {"id": "1"}, {"id": "3"}, {"id": "1"}, None]
    assert_ordered(records)
    assert walferry.stop() == 0


def test_counts_over_several_tables_and_schemas(server, broker, database, slot_name, topic_prefix, task):
    server.psql("""
        create schema s;
        create table a (id int primary key, v int);
        create table s.a (id int primary key, v int);
        create table s.nokey (v int);
        create table "Sömething else" (id int primary key);
    """, database)
    start(task)
    server.psql("""
        insert into a select n, n from generate_series(1, 1000) n;
        insert into s.a select n, n from generate_series(1, 500) n;
        insert into s.nokey select n from generate_series(1, 300) n;
        insert into "Sömething else" values (1);
        update a set v = -v where id <= 400;
        delete from s.a where id % 2 = 0;
        truncate a, s.a;
        begin; insert into a values (7, 7); rollback;
    """, database)
    server.wait_confirmed(slot_name)

    def counts(topic):
        return Counter(types(broker.consume(topic_prefix + topic)))

    assert counts("public.a") == {"INSERT": 1000, "UPDATE": 400, "TRUNCATE": 1}
    assert counts("s.a") == {"INSERT": 500, "DELETE": 250, "TRUNCATE": 1}
    assert counts("s.nokey") == {"INSERT": 300}
    others = [topic for topic in broker.topics()
              if topic.startswith(topic_prefix + "public.") and not topic.endswith(".a")]
    assert len(others) == 1 and len(broker.consume(others[0])) == 1


def test_positions_are_unique_and_rise_with_the_commit_order(server, broker, database, slot_name, topic_prefix, task):
    server.psql("create table t (id int primary key, v int)", database)
    start(task)
    # Two interleaved transactions: the one that commits first comes first, whatever was written first.
    slow, fast = server.connect(database, autocommit=False), server.connect(database)
    with slow.cursor() as one, fast.cursor() as other:
        one.execute("insert into t select n, 0 from generate_series(1, 100) n")
        other.execute("insert into t select n, 1 from generate_series(101, 200) n")
        one.execute("insert into t select n, 2 from generate_series(201, 300) n")
        slow.commit()
    slow.close()
    fast.close()
    server.wait_confirmed(slot_name)
    records = broker.consume(topic_prefix + "public.t")
    assert [int(data(record)["id"]) for record in records] == [*range(101, 201), *range(1, 101), *range(201, 301)]
    positions = [position(record) for record in records]
    assert positions == sorted(set(positions))
    assert [at.ordinal for at in positions[100:]] == list(range(200))
    assert len({at.lsn for at in positions[100:]}) == 1
    system = server.query("select system_identifier from pg_control_system()")[0][0]
    assert {at.system for at in positions} == {int(system)}


def test_a_value_of_one_megabyte_comes_through_byte_for_byte(server, broker, database, slot_name, topic_prefix, task):
    server.psql("create table t (id int primary key, note text, other int)", database)
    start(task)
    server.psql("""
        insert into t select 1, left(string_agg(md5(n::text), ''), 1024 * 1024), 0 from generate_series(1, 32768) n;
        update t set other = 1;
        alter table t replica identity full;
        update t set other = 2;
    """, database)
    server.wait_confirmed(slot_name)
    wanted = server.query("select md5(note) from t", dbname=database)[0][0]
    insert, without, whole = broker.consume(topic_prefix + "public.t")
    assert hashlib.md5(data(insert)["note"].encode()).hexdigest() == wanted
    # Not logged by the server: left out, which is different from null and from an empty text.
    assert data(without) == {"id": "1", "other": "1"}
    assert hashlib.md5(data(whole)["note"].encode()).hexdigest() == wanted and whole.json["old"] == [{"other": "1"}]


def test_each_row_has_the_schema_of_its_moment(server, broker, database, slot_name, topic_prefix, task):
    server.psql("create table t (id int primary key, a text)", database)
    start(task)
    server.psql("""
        insert into t values (1, 'x');
        alter table t add b int default 5;
        insert into t values (2, 'y', 6);
        alter table t rename a to c;
        update t set b = 7 where id = 2;
        alter table t drop c;
        insert into t values (3, 8);
        alter table t alter b type text;
        insert into t values (4, 'nine');
        drop table t;
    """, database)
    server.wait_confirmed(slot_name)
    rows = [data(record) for record in broker.consume(topic_prefix + "public.t")]
    assert rows[0] == {"id": "1", "a": "x"}
    assert rows[1] == {"id": "2", "a": "y", "b": "6"}
    assert rows[2] == {"id": "2", "c": "y", "b": "7"}
    assert rows[3] == {"id": "3", "b": "8"}
    assert rows[-1] == {"id": "4", "b": "nine"}


def test_options_of_canal_json(server, broker, database, slot_name, topic_prefix, task):
    server.psql("create table t (id int primary key, flag bool, raw bytea, at timestamp, atz timestamptz, "
                "n numeric(8,3))", database)
    start(task, sink={"canal": {"database": "database", "boolean": "1", "bytea": "hex", "timestamp": "iso",
                                "timestamptz": "offset", "truncate": "dts", "type_parameters": True}})
    server.psql("insert into t values (1, true, '\\xdead00ff', '2026-02-03 04:05:06.7', '2026-02-03 04:05:06+02', 1);"
                "truncate t;", database)
    server.wait_confirmed(slot_name)
    insert, truncate = (record.json for record in broker.consume(topic_prefix + "public.t"))
    assert insert["database"] == database
    row = insert["data"][0]
    assert (row["flag"], row["raw"]) == ("1", "\\xdead00ff")
    assert row["at"].startswith("2026-02-03T04:05:06.7") and row["atz"] == "2026-02-03T02:05:06+00"
    assert insert["mysqlType"]["n"] == "numeric(8,3)"
    assert truncate["type"] == "DDL" and truncate["isDdl"] and "data" not in truncate


def test_truncate_can_be_left_out(server, broker, database, slot_name, topic_prefix, task):
    server.psql("create table t (id int primary key)", database)
    start(task, sink={"canal": {"truncate": "skip"}, "headers": "none"})
    server.psql("insert into t values (1); truncate t; insert into t values (2)", database)
    server.wait_confirmed(slot_name)
    records = broker.consume(topic_prefix + "public.t")
    assert types(records) == ["INSERT", "INSERT"]
    assert [record.headers for record in records] == [[], []]


def test_selection_by_table_and_operation(server, broker, database, slot_name, topic_prefix, task):
    server.psql("create table a (id int primary key); create table b (id int primary key);"
                "create table scratch_1 (id int primary key)", database)
    start(task, source={"tables": ["public.*", "!public.scratch_*"], "operations": ["insert", "delete"]},
          table=[{"match": "public.b", "operations": ["insert"]}])
    for table in ("a", "b", "scratch_1"):
        server.psql(f"insert into {table} values (1); update {table} set id = 2; delete from {table};", database)
    server.wait_confirmed(slot_name)
    assert types(broker.consume(topic_prefix + "public.a")) == ["INSERT", "DELETE"]
    assert types(broker.consume(topic_prefix + "public.b")) == ["INSERT"]
    assert topic_prefix + "public.scratch_1" not in broker.topics()


def test_partitions_of_a_table_under_their_own_name_or_the_root(server, broker, database, slot_name, topic_prefix,
                                                                  task):
    server.psql("create table p (id int primary key) partition by range (id);"
                "create table p1 partition of p for values from (0) to (10);"
                "create table p2 partition of p for values from (10) to (20)", database)
    leaf = start(task)
    root = start(task, name=slot_name + "_root", source={"publish_via_root": True},
                 sink={"topic": topic_prefix + "root.{table}"})
    server.psql("insert into p values (1), (11)", database)
    server.wait_confirmed(slot_name)
    server.wait_confirmed(slot_name + "_root")
    assert len(broker.consume(topic_prefix + "public.p1")) == len(broker.consume(topic_prefix + "public.p2")) == 1
    assert [data(record)["id"] for record in broker.consume(topic_prefix + "root.p")] == ["1", "11"]
    assert leaf.stop() == root.stop() == 0


@pytest.mark.parametrize("end", [signal.SIGTERM, signal.SIGINT])
def test_a_stop_confirms_everything_and_a_second_start_repeats_nothing(end, server, broker, database, slot_name,
                                                                       topic_prefix, task):
    server.psql("create table t (id int primary key)", database)
    walferry = start(task)
    server.psql("insert into t select generate_series(1, 5000)", database)
    lsn = server.current_lsn()
    topic = topic_prefix + "public.t"
    broker.wait_records(topic, 5000)  # in Kafka; perhaps not yet confirmed
    assert walferry.process.stop(end) == 0
    assert "everything is acknowledged and confirmed" in walferry.log()
    server.psql("insert into t select generate_series(5001, 5100)", database)

    walferry.start()
    broker.wait_records(topic, 5100)
    server.wait_confirmed(slot_name)
    assert walferry.stop() == 0
    records = broker.consume(topic)
    assert [int(data(record)["id"]) for record in records] == list(range(1, 5101))
    assert server.confirmed_lsn(slot_name) >= lsn


def test_a_stop_under_back_pressure_repeats_nothing(server, broker, database, slot_name, topic_prefix, task):
    """The queue is full nearly all of the time when Kafka is slower than PostgreSQL."""
    server.psql("create table t (id int primary key, pad text)", database)
    walferry = start(task, sink={"queue_bytes": "1MB", "kafka": {"linger.ms": 100}})
    # Many transactions, so that the drain has some that are whole.
    server.psql("create procedure fill(n int) language plpgsql as $$ begin for i in 1..n loop "
                "insert into t select i * 100 + g, repeat('x', 1000) from generate_series(0, 99) g; commit; "
                "end loop; end $$; call fill(400)", database)
    topic = topic_prefix + "public.t"
    broker.wait_records(topic, 3000)
    assert walferry.stop() == 0
    stopped_at = len(broker.consume(topic))
    assert stopped_at < 40000, "the shipper was too fast for this test"
    walferry.start()
    server.wait_confirmed(slot_name)
    records = broker.consume(topic)
    assert [int(data(record)["id"]) for record in records] == list(range(100, 40100))


def test_idle_and_filtered_streams_let_the_server_discard_wal(server, database, slot_name, task):
    server.psql("create table seen (id int primary key); create table unseen (id int, pad text)", database)
    walferry = start(task, source={"tables": ["public.seen"]})
    before = server.confirmed_lsn(slot_name)
    server.psql("insert into unseen select n, repeat('x', 500) from generate_series(1, 20000) n", database)
    end = server.wait_confirmed(slot_name)
    assert end - before > 10_000_000
    # The restart position follows as soon as the server has logged its running transactions.
    server.psql("checkpoint")

    def discarded():
        server.current_lsn()
        return server.query("select restart_lsn >= %s::pg_lsn from pg_replication_slots where slot_name = %s",
                            (f"{end >> 32:X}/{end & 0xFFFFFFFF:X}", slot_name))[0][0]

    wait_until(discarded, "the slot's restart position to move", 40)
    assert walferry.stop() == 0


def test_a_stop_while_idle_is_quick_and_a_start_needs_no_second(server, broker, database, slot_name, topic_prefix,
                                                                 task):
    server.psql("create table t (id int primary key)", database)
    walferry = start(task)
    assert walferry.stop(timeout=10) == 0
    server.psql("insert into t values (1)", database)
    walferry.start()
    broker.wait_records(topic_prefix + "public.t", 1)
    lines = log_lines(walferry.log())
    assert {"ts", "level", "msg"} <= lines[0].keys()
    assert [line["msg"] for line in lines if line["level"] in ("warning", "error")] == []

"""Which topic and which partition a change goes to, and under which key."""

import json
from collections import defaultdict

import pytest
from confluent_kafka import Producer

# Keys that are easy to get wrong: other scripts, quotes, an empty text, what JSON escapes.
KEYS = ["a", "b", "", "Łukasz", "日本語", "😀", 'qu"ote', "back\\slash", "tab\t", "line\n", "x" * 300,
        *map(str, range(100))]


def start(task, **changes):
    walferry = task(**changes).start()
    walferry.wait_for_log('"streaming"')
    return walferry


def java_hash(text: str) -> int:
    """String.hashCode(): over UTF-16 units, in 32 bits with a sign."""
    value = 0
    units = text.encode("utf-16-be")
    for at in range(0, len(units), 2):
        value = (31 * value + int.from_bytes(units[at:at + 2], "big")) & 0xFFFFFFFF
    return value - (1 << 32) if value >= 1 << 31 else value


def java_partition(values: list[str], partitions: int) -> int:
    combined = 0
    for value in values:
        combined ^= java_hash(value)
    return abs(combined) % partitions


def partition_of_each(records):
    """The partition of each message key; one key in two partitions fails."""
    found = defaultdict(set)
    for record in records:
        found[record.key].add(record.partition)
    assert all(len(partitions) == 1 for partitions in found.values())
    return {key: partitions.pop() for key, partitions in found.items()}


def insert_keys(server, database):
    with server.connect(database) as connection, connection.cursor() as cursor:
        for key in KEYS:
            cursor.execute("insert into t values (%s, 0)", (key,))
        cursor.execute("update t set v = 1")
        cursor.execute("delete from t")


def test_murmur2_agrees_with_kafkas_own_clients(server, broker, database, slot_name, topic_prefix, task):
    server.psql("create table t (id text primary key, v int)", database)
    start(task, sink={"topic_partitions": 7})
    insert_keys(server, database)
    server.wait_confirmed(slot_name)
    records = broker.consume(topic_prefix + "public.t")
    assert len(records) == 3 * len(KEYS)
    ours = partition_of_each(records)
    assert len(ours) == len(KEYS) and len(set(ours.values())) == 7

    # The partitioner of the Java client, in another client.
    theirs = topic_prefix + "theirs"
    broker.create_topic(theirs, 7)
    producer = Producer({"bootstrap.servers": broker.brokers, "partitioner": "murmur2_random"})
    for key in ours:
        producer.produce(theirs, key=key, value=b"")
    assert producer.flush(30) == 0
    assert ours == partition_of_each(broker.consume(theirs))


def test_java_hash_of_the_key_columns(server, broker, database, slot_name, topic_prefix, task):
    server.psql("create table t (id text primary key, v int); create table two (a int, b text, primary key (b, a))",
                database)
    start(task, sink={"topic_partitions": 5, "partition_hash": "java"})
    insert_keys(server, database)
    server.psql("insert into two select n, 'k' || n from generate_series(1, 50) n", database)
    server.wait_confirmed(slot_name)
    ours = partition_of_each(broker.consume(topic_prefix + "public.t"))
    assert ours == {key: java_partition([json.loads(key)["id"]], 5) for key in ours} and len(ours) == len(KEYS)
    ours = partition_of_each(broker.consume(topic_prefix + "public.two"))
    assert ours == {key: java_partition(list(json.loads(key).values()), 5) for key in ours} and len(ours) == 50


@pytest.mark.parametrize("partition_hash", ["murmur2", "java"])
def test_a_key_that_the_server_did_not_log_again_keeps_its_partition(partition_hash, server, broker, database,
                                                                     slot_name, topic_prefix, task):
    server.psql("create table t (k text, v int); alter table t alter k set storage external;"
                "alter table t replica identity full", database)
    start(task, sink={"topic_partitions": 50, "partition_hash": partition_hash},
          table=[{"match": "public.t", "key": ["k"]}])
    server.psql("insert into t select repeat(chr(64 + n), 5000), 0 from generate_series(1, 10) n; update t set v = 1;"
                "delete from t", database)
    server.wait_confirmed(slot_name)
    records = broker.consume(topic_prefix + "public.t")
    assert len(records) == 30 and len(partition_of_each(records)) == 10


def test_rows_whose_delete_does_not_tell_the_key_stay_in_one_partition(server, broker, database, slot_name,
                                                                       topic_prefix, task):
    server.psql("create table chosen (id int primary key, region text);"
                "create table mute (id int primary key, region text); alter table mute replica identity nothing;"
                "create table whole (id int primary key, region text); alter table whole replica identity full;"
                "create table inserts (id int primary key, region text);"
                "create table own (id int primary key, region text)", database)
    tables = ["chosen", "mute", "whole", "inserts", "own"]
    entries = [{"match": f"public.{table}", "key": ["region"]} for table in ("chosen", "whole", "inserts")]
    entries[-1]["operations"] = ["insert"]
    walferry = start(task, sink={"topic_partitions": 50}, table=entries)
    for table in tables:
        server.psql(f"insert into {table} select n, 'r' || n from generate_series(1, 20) n", database)
    for table in ("chosen", "whole", "own"):
        server.psql(f"delete from {table}", database)
    # A new schema is no new warning.
    server.psql("alter table chosen add v int; insert into chosen values (1, 'r1', 1)", database)
    server.wait_confirmed(slot_name)
    partitions = {table: {record.partition for record in broker.consume(f"{topic_prefix}public.{table}")}
                  for table in tables}
    assert {table for table in tables if len(partitions[table]) == 1} == {"chosen", "mute"}
    partition_of_each(broker.consume(topic_prefix + "public.whole"))
    warnings = [json.loads(line)["fields"] for line in walferry.log().splitlines() if "replica identity" in line]
    assert warnings == [{"schema": "public", "table": table,
                         "remedy": f'ALTER TABLE "public"."{table}" REPLICA IDENTITY FULL'}
                        for table in ("chosen", "mute")]
    assert walferry.stop() == 0


def test_partition_by_table_and_none(server, broker, database, slot_name, topic_prefix, task):
    server.psql("create table a (id int primary key); create table b (id int primary key);"
                "create table c (id int primary key); create table d (id int primary key)", database)
    every = {name: task(name=f"{slot_name}_{name}", sink={
        "topic": f"{topic_prefix}{name}", "topic_partitions": 6, **settings}).start() for name, settings in {
            "none": {"partition_by": "none"},
            "murmur2": {"partition_by": "table"},
            "java": {"partition_by": "table", "partition_hash": "java"}}.items()}
    for walferry in every.values():
        walferry.wait_for_log('"streaming"')
    for table in "abcd":
        server.psql(f"insert into {table} select generate_series(1, 20); truncate {table}", database)
    for name in every:
        server.wait_confirmed(f"{slot_name}_{name}")

    def partitions(name):
        found = defaultdict(set)
        for record in broker.consume(topic_prefix + name):
            found[record.json["table"]].add(record.partition)
        return found

    assert partitions("none") == {table: {0} for table in "abcd"}
    by_table = partitions("murmur2")
    assert all(len(found) == 1 for found in by_table.values()) and len(by_table) == 4
    assert partitions("java") == {table: {abs(java_hash("public") ^ java_hash(table)) % 6} for table in "abcd"}
    assert [walferry.stop() for walferry in every.values()] == [0, 0, 0]


def test_tables_without_a_key_stay_in_one_partition(server, broker, database, slot_name, topic_prefix, task):
    server.psql("create table t (v int); create table f (v int); alter table f replica identity full", database)
    start(task, sink={"topic_partitions": 9})
    server.psql("insert into t select generate_series(1, 100); insert into f select generate_series(1, 100);"
                "update f set v = v + 1; delete from f", database)
    server.wait_confirmed(slot_name)
    for table, count in (("t", 100), ("f", 300)):
        records = broker.consume(f"{topic_prefix}public.{table}")
        assert len(records) == count and len({record.partition for record in records}) == 1
        assert {record.key for record in records} == {None}


def test_an_entry_for_a_table_changes_topic_key_and_operations(server, broker, database, slot_name, topic_prefix, task):
    server.psql("create schema s; create table s.orders (id int primary key, customer int, region text);"
                "create table s.other (id int primary key)", database)
    start(task, sink={"ddl_topic": topic_prefix + "ddl.{db}", "topic_partitions": 3},
          table=[{"match": "s.*", "topic": topic_prefix + "all"},
                 {"match": "s.orders", "topic": topic_prefix + "x.{name}.{db}.{schema}.{table}",
                  "key": ["region", "customer"], "operations": ["insert", "truncate"]}])
    server.psql("insert into s.orders values (1, 10, 'eu'), (2, 10, 'eu'), (3, 11, null);"
                "update s.orders set customer = 1;"
                "insert into s.other values (1); truncate s.orders; truncate s.other", database)
    server.wait_confirmed(slot_name)
    orders = broker.consume(f"{topic_prefix}x.{slot_name}.{database}.s.orders")
    assert sorted(record.key for record in orders) == sorted(
        [b'{"region":"eu","customer":"10"}'] * 2 + [b'{"region":null,"customer":"11"}'])
    assert all(record.json["pkNames"] == ["id"] for record in orders)
    assert [record.json["type"] for record in broker.consume(topic_prefix + "all")] == ["INSERT"]
    ddl = broker.consume(f"{topic_prefix}ddl.{database}")
    assert sorted(record.json["table"] for record in ddl) == ["orders", "other"]
    assert {(record.json["type"], record.key, record.partition) for record in ddl} == {("TRUNCATE", None, 0)}
    # A topic that nothing goes to is not made.
    made = [topic for topic in broker.topics() if topic.startswith(topic_prefix)]
    assert sorted(made) == sorted([f"{topic_prefix}x.{slot_name}.{database}.s.orders", topic_prefix + "all",
                                   f"{topic_prefix}ddl.{database}"])


def test_topics_are_made_as_configured_and_found_topics_are_left_alone(server, broker, database, slot_name,
                                                                       topic_prefix, task):
    server.psql("create table made (id int primary key); create table found (id int primary key)", database)
    broker.create_topic(topic_prefix + "public.found", 2)
    start(task, sink={"topic_partitions": 5, "topic_replication": -1})
    server.psql("insert into made values (1); insert into found values (1)", database)
    server.wait_confirmed(slot_name)
    assert len(broker.end_offsets(topic_prefix + "public.made")) == 5
    assert len(broker.end_offsets(topic_prefix + "public.found")) == 2

"""Keys, schemas and row images in Kafka: each record has those of its own moment, whenever the shipper reads it."""

import json
from collections import defaultdict

from harness.kafka import Record
from harness.proxy import Proxy
from harness.stream import assert_ordered, position, progress_records, without_repeats

NOISE = "(select string_agg(md5(i::text), '') from generate_series(1, 300) i)"  # too large to stay in line


def start(task, **changes):
    """A shipper that has its slot and streams."""
    walferry = task(**changes).start()
    walferry.wait_for_log('"streaming"')
    return walferry


def key(record: Record):
    return record.key and json.loads(record.key)


def brief(record: Record):
    """Type, key's columns, message key, row, old values."""
    value = record.json
    return value["type"], value["pkNames"], key(record), value["data"][0], (value["old"] or [None])[0]


# The key, the columns and the identity change with nearly every statement.
REDEFINED = """
    insert into t values (1, 'a', 'v');
    alter table t drop constraint t_pkey, add primary key (b, a);
    update t set a = 2;
    alter table t rename b to code;
    alter table t drop constraint t_pkey, add primary key (code);
    update t set code = 'b', a = 3;
    alter table t replica identity full;
    update t set v = null;
    alter table t replica identity default, drop constraint t_pkey, drop column a;
    update t set v = 'w';
    alter table t add column id int generated always as identity primary key;
    update t set v = 'x';
    delete from t;
"""
EXPECTED = [
    ("INSERT", ["a"], {"a": "1"}, {"a": "1", "b": "a", "v": "v"}, None),
    ("UPDATE", ["b", "a"], {"b": "a", "a": "2"}, {"a": "2", "b": "a", "v": "v"}, {"a": "1"}),
    ("UPDATE", ["code"], {"code": "b"}, {"a": "3", "code": "b", "v": "v"}, {"code": "a"}),
    ("UPDATE", ["code"], {"code": "b"}, {"a": "3", "code": "b", "v": None}, {"v": "v"}),
    ("UPDATE", None, None, {"code": "b", "v": "w"}, {}),
    ("UPDATE", ["id"], {"id": "1"}, {"code": "b", "v": "x", "id": "1"}, {}),
    ("DELETE", ["id"], {"id": "1"}, {"id": "1"}, None),
]


def test_key_redefined_while_running(server, broker, database, slot_name, topic_prefix, task):
    server.psql("create table t (a int primary key, b text, v text)", database)
    walferry = start(task)
    server.psql(REDEFINED, database)
    server.wait_confirmed(slot_name)
    records = broker.consume(topic_prefix + "public.t")
    assert [brief(record) for record in records] == EXPECTED
    assert_ordered(records)
    assert walferry.stop() == 0


def test_key_redefined_while_the_shipper_is_down(server, broker, database, slot_name, topic_prefix, task):
    server.psql("create table t (a int primary key, b text, v text)", database)
    walferry = start(task)
    assert walferry.stop() == 0
    server.psql(REDEFINED + "drop table t; create table t (other date primary key); insert into t values ('2024-02-29')",
                database)
    start(task)
    server.wait_confirmed(slot_name)
    records = broker.consume(topic_prefix + "public.t")
    assert [brief(record) for record in records] == EXPECTED + [
        ("INSERT", ["other"], {"other": "2024-02-29"}, {"other": "2024-02-29"}, None)]


def test_what_comes_again_after_a_kill_has_the_schema_of_its_moment(server, broker, database, slot_name, topic_prefix,
                                                                    task):
    server.psql("create table t (a int primary key, b text, v text)", database)
    # Confirms nothing before it is killed, so that everything can come again.
    walferry = start(task, source={"status_interval_ms": 60000, "silence_timeout": "1h", "takeover_timeout": "10min"})
    begin = progress_records(broker, slot_name)[-1]
    server.psql(REDEFINED, database)
    topic = topic_prefix + "public.t"
    assert len(broker.wait_records(topic, len(EXPECTED))) == len(EXPECTED)
    walferry.kill()
    # As if nothing of it had come to Kafka.
    broker.delete_topic(topic)
    broker.produce(f"walferry.progress.{slot_name}", f"{slot_name}/{begin['epoch'] + 1}",
                   {**begin, "epoch": begin["epoch"] + 1, "generation": 1})
    server.psql("alter table t drop constraint t_pkey, add primary key (code), alter v type int using 1, add w int;"
                "insert into t (code, v) values ('new', 2)", database)
    start(task)
    server.wait_confirmed(slot_name)
    records = broker.consume(topic)
    last = ("INSERT", ["code"], {"code": "new"}, {"code": "new", "v": "2", "id": "2", "w": None}, None)
    assert [brief(record) for record in records] == [*EXPECTED, last]


def test_identity_changed_while_running(server, broker, database, slot_name, topic_prefix, task):
    server.psql("create table t (id int primary key, code text not null unique, v text)", database)
    start(task)
    change = "insert into t values (1, 'a', 'v'); update t set v = 'w'; update t set id = 2, code = 'b'; delete from t;"
    server.psql(f"""
        {change}
        alter table t replica identity full; {change}
        alter table t replica identity using index t_code_key; {change}
        alter table t replica identity nothing; {change}
    """, database)
    server.wait_confirmed(slot_name)
    records = broker.consume(topic_prefix + "public.t")
    assert {tuple(record.json["pkNames"]) for record in records} == {("id",)}
    images = [[(record.json["data"][0], (record.json["old"] or [None])[0]) for record in records[i:i + 4]]
              for i in range(0, 16, 4)]
    rows = [{"id": "1", "code": "a", "v": "v"}, {"id": "1", "code": "a", "v": "w"}, {"id": "2", "code": "b", "v": "w"}]
    assert images == [
        [(rows[0], None), (rows[1], {}), (rows[2], {"id": "1"}), ({"id": "2"}, None)],
        [(rows[0], None), (rows[1], {"v": "v"}), (rows[2], {"id": "1", "code": "a"}), (rows[2], None)],
        [(rows[0], None), (rows[1], {}), (rows[2], {"code": "a"}), ({"code": "b"}, None)],
        [(rows[0], None), (rows[1], {}), (rows[2], {}), ({}, None)],
    ]


def test_unchanged_large_values_are_healed_or_left_out_and_never_null(server, broker, database, slot_name, topic_prefix,
                                                                      task):
    server.psql("""create table part (id int primary key, n int, a text, b text);
                   create table whole (like part including all); alter table whole replica identity full;
                   alter table part alter a set storage external, alter b set storage external;
                   alter table whole alter a set storage external, alter b set storage external""", database)
    start(task)
    for table in ("part", "whole"):
        server.psql(f"""
            insert into {table} values (1, 1, {NOISE}, {NOISE});
            update {table} set n = 2;
            update {table} set a = null;
            update {table} set n = 3, b = 'b';
            update {table} set id = 2, a = {NOISE};
            update {table} set n = null;
            delete from {table};
        """, database)
    server.wait_confirmed(slot_name)
    noise = server.query(f"select {NOISE}")[0][0]

    def images(table):
        return [(record.json["data"][0], (record.json["old"] or [None])[0])
                for record in broker.consume(topic_prefix + "public." + table)]

    inserted = {"id": "1", "n": "1", "a": noise, "b": noise}
    assert images("part") == [
        (inserted, None),
        ({"id": "1", "n": "2"}, {}),
        ({"id": "1", "n": "2", "a": None}, {}),
        ({"id": "1", "n": "3", "a": None, "b": "b"}, {}),
        ({"id": "2", "n": "3", "a": noise, "b": "b"}, {"id": "1"}),
        ({"id": "2", "n": None, "b": "b"}, {}),
        ({"id": "2"}, None),
    ]
    last = {"id": "2", "n": None, "a": noise, "b": "b"}
    assert images("whole") == [
        (inserted, None),
        ({"id": "1", "n": "2", "a": noise, "b": noise}, {"n": "1"}),
        ({"id": "1", "n": "2", "a": None, "b": noise}, {"a": noise}),
        ({"id": "1", "n": "3", "a": None, "b": "b"}, {"n": "2", "b": noise}),
        ({"id": "2", "n": "3", "a": noise, "b": "b"}, {"id": "1", "a": None}),
        (last, {"n": "3"}),
        (last, None),
    ]


def test_key_change_as_delete_and_insert(server, broker, database, slot_name, topic_prefix, task):
    server.psql("""create table halves (id int primary key, v text, big text);
                   alter table halves alter big set storage external;
                   create table healed (like halves including all); alter table healed replica identity full;
                   create table as_it_is (like halves including all);
                   create table no_deletes (like halves including all)""", database)
    start(task, sink={"key_change": "delete-insert", "topic_partitions": 8},
          table=[{"match": "public.as_it_is", "key_change": "update"},
                 {"match": "public.no_deletes", "operations": ["insert", "update"]}])
    tables = "halves", "healed", "as_it_is", "no_deletes"
    for table in tables:
        server.psql(f"""
            insert into {table} select i, 'v', {NOISE} from generate_series(1, 20) i;
            update {table} set v = 'same key';
            update {table} set id = id + 100, v = 'new key';
            update {table} set v = 'after';
        """, database)
    server.wait_confirmed(slot_name)
    records = {table: broker.consume(topic_prefix + "public." + table) for table in tables}
    types = {table: [sum(record.json["type"] == name for record in records[table])
                     for name in ("INSERT", "UPDATE", "DELETE")] for table in tables}
    assert types == {"halves": [40, 40, 20], "healed": [40, 40, 20], "as_it_is": [20, 60, 0], "no_deletes": [40, 40, 0]}
    for table in tables:
        assert_ordered(records[table])
        partitions = defaultdict(set)
        for record in records[table]:
            partitions[key(record)["id"]].add(record.partition)
        assert len(set.union(*partitions.values())) > 1
        assert all(len(of_key) == 1 for of_key in partitions.values()), "a key has one partition, whatever the change"
        assert len({position(record) for record in records[table]}) == len(records[table])

    for table in ("halves", "healed"):
        deletes = [record for record in records[table] if record.json["type"] == "DELETE"]
        inserts = [record for record in records[table]
                   if record.json["type"] == "INSERT" and int(key(record)["id"]) > 100]
        assert sorted(int(key(record)["id"]) for record in deletes) == list(range(1, 21))
        by_change = {(at.lsn, at.ordinal): record for record in inserts for at in [position(record)]}
        for deleted in deletes:
            at = position(deleted)
            inserted = by_change[at.lsn, at.ordinal]
            assert (at.part, position(inserted).part) == (1, 2)
            old, new = deleted.json["data"][0]["id"], inserted.json["data"][0]["id"]
            assert key(deleted) == {"id": old} and key(inserted) == {"id": new} and int(new) == int(old) + 100
            assert deleted.json["old"] is None and inserted.json["old"] is None
            assert inserted.json["data"][0]["v"] == "new key"
            assert ("big" in inserted.json["data"][0]) == (table == "healed")
            assert deleted.json["data"][0].get("v") == ("same key" if table == "healed" else None)


def test_key_chosen_by_the_task_as_delete_and_insert(server, broker, database, slot_name, topic_prefix, task):
    server.psql("create table t (id int primary key, customer text, v text); alter table t replica identity full", database)
    start(task, sink={"key_change": "delete-insert"}, table=[{"match": "public.t", "key": ["customer"]}])
    server.psql("""insert into t values (1, 'a', 'v'); update t set id = 2; update t set customer = 'b';
                   update t set customer = null; update t set customer = 'c', v = null; delete from t""", database)
    server.wait_confirmed(slot_name)
    records = broker.consume(topic_prefix + "public.t")
    assert [(record.json["type"], key(record)["customer"], record.json["data"][0]["id"]) for record in records] == [
        ("INSERT", "a", "1"), ("UPDATE", "a", "2"), ("DELETE", "a", "2"), ("INSERT", "b", "2"), ("DELETE", "b", "2"),
        ("INSERT", None, "2"), ("DELETE", None, "2"), ("INSERT", "c", "2"), ("DELETE", "c", "2")]
    assert_ordered(records)


def test_key_change_interrupted_between_its_halves(server, broker, database, slot_name, topic_prefix, task):
    """The connection to the server ends while the INSERT waits for room in the queue: its DELETE does not come again."""
    # The DELETEs are small beside the INSERTs, so that what finds the queue full is an INSERT.
    server.psql("""create table t (id int primary key, pad text);
                   insert into t select n, repeat(md5(n::text), 1500) from generate_series(1, 800) n""", database)
    topic = topic_prefix + "public.t"
    # A walsender whose client does not read cannot be ended from the server's side: the connection is cut in between.
    with Proxy(server.port) as proxy:
        walferry = start(task, source={"dsn": proxy.dsn(server, database)},
                         sink={"key_change": "delete-insert", "queue_bytes": "1MB"})
        server.psql("insert into t values (0, '')", database)
        broker.wait_records(topic, 1)
        with broker.hung():
            server.psql("update t set id = 1000 + id, pad = pad || '.' where id > 0", database)
            server.wait_walsender_blocked(slot_name)
            proxy.cut()
            walferry.wait_for_log('"trying again"')
        server.wait_confirmed(slot_name)
        records, repeats = without_repeats(broker.consume(topic))
        assert repeats == 0
        assert [(record.json["type"], int(key(record)["id"])) for record in records[1:]] == [
            half for n in range(1, 801) for half in (("DELETE", n), ("INSERT", 1000 + n))]
        assert_ordered(records)
        assert walferry.stop() == 0

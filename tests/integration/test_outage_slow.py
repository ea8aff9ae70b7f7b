"""A Kafka that takes something is away only where spool.outage_lag says so; a large transaction is no outage."""

from harness.run import wait_until
from harness.stream import assert_ordered

ROW_BYTES = 600
SMALL_MEMORY = {"options": "'-c logical_decoding_work_mem=64kB'"}


def start(task, run, brokers, queue, source=None, **spool):
    walferry = task(source=source or {}, sink={"brokers": brokers, "queue_bytes": queue, "kafka": {"compression.type": "none", "batch.size": 20000}},
                    retry={"max_delay": "500ms"},
                    spool={"directory": str(run.subfolder("spool")), "outage": True, "outage_after": "3s", **spool}).start()
    walferry.wait_for_log('"streaming"', timeout=60)
    return walferry


def ids(records):
    return [int(record.json["data"][0]["id"]) for record in records]


def insert(server, database, first, last):
    server.psql(f"insert into t select n, repeat('x', {ROW_BYTES}) from generate_series({first}, {last}) n", database)


def test_a_slow_kafka_does_not_hold_the_servers_log(run, server, guarded_kafka, database, slot_name, topic_prefix, task):
    server.psql("create table t (id int primary key, pad text)", database)
    walferry = start(task, run, guarded_kafka.proxied, "1MB", outage_lag="2s")
    insert(server, database, 1, 1)
    server.wait_confirmed(slot_name)
    broker, topic = guarded_kafka.broker, topic_prefix + "public.t"
    guarded_kafka.proxy.slow(200_000)
    try:
        for first in range(2, 20002, 1000):
            insert(server, database, first, first + 999)
        walferry.wait_for_log("WF4211")
        assert "spool.outage_lag" in walferry.log()
        # Long before Kafka has it.
        server.wait_confirmed(slot_name)
        assert sum(broker.end_offsets(topic).values()) < 19000
        insert(server, database, 20002, 20002)
        server.wait_confirmed(slot_name)
    finally:
        guarded_kafka.proxy.fast()
    walferry.wait_for_log("the outage log is drained", timeout=60)
    insert(server, database, 20003, 20003)
    server.wait_confirmed(slot_name)
    records = broker.consume(topic)
    assert_ordered(records)
    assert ids(records) == list(range(1, 20004)) and walferry.stop() == 0


def test_a_slow_kafka_is_waited_for_where_no_lag_is_set(run, server, guarded_kafka, database, slot_name, topic_prefix, task):
    server.psql("create table t (id int primary key, pad text)", database)
    walferry = start(task, run, guarded_kafka.proxied, "1MB")
    insert(server, database, 1, 1)
    server.wait_confirmed(slot_name)
    topic = topic_prefix + "public.t"
    guarded_kafka.proxy.slow(500_000)
    try:
        insert(server, database, 2, 5001)
        wait_until(lambda: sum(guarded_kafka.broker.end_offsets(topic).values()) > 4000, "most of the rows in Kafka", 60)
    finally:
        guarded_kafka.proxy.fast()
    server.wait_confirmed(slot_name)
    assert ids(guarded_kafka.broker.consume(topic)) == list(range(1, 5002))
    assert "WF4211" not in walferry.log() and walferry.stop() == 0


def test_a_large_transaction_is_no_outage(run, server, guarded_kafka, database, slot_name, topic_prefix, task):
    """It comes while it is in progress; at its commit the spool holds more than Kafka takes in outage_after."""
    server.psql("create table t (id int primary key, pad text)", database)
    walferry = start(task, run, guarded_kafka.proxied, "1MB", source={"dsn": server.dsn(database, **SMALL_MEMORY)})
    guarded_kafka.proxy.slow(4_000_000)
    try:
        insert(server, database, 1, 30000)
        server.wait_confirmed(slot_name)
    finally:
        guarded_kafka.proxy.fast()
    assert ids(guarded_kafka.broker.consume(topic_prefix + "public.t")) == list(range(1, 30001))
    assert "WF4211" not in walferry.log() and walferry.stop() == 0

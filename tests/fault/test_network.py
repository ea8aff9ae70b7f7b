"""Links that are slow, half open or dead, on either side of the shipper."""

import pytest
from outcome import SLOW_SINK, codes, received, started, stopped_well, times_streaming, wait_streaming_again
from promise import at_least_once, written

from harness.proxy import Proxy
from harness.run import wait_until
from harness.stream import CounterLoad


@pytest.fixture
def source_proxy(server):
    with Proxy(server.port) as between:
        yield between


# --- to Kafka ---

@at_least_once
def test_a_slow_way_to_kafka(server, guarded_kafka, database, slot_name, topic_prefix, task, delivery):
    """200 kB/s and 50 ms each way: slower than what is committed, so the source waits; nothing is an error."""
    server.psql("create table t (id int primary key, pad text)", database)
    topic = topic_prefix + "public.t"
    walferry = started(task, sink=delivery.sink(brokers=guarded_kafka.proxied, queue_bytes="1MB",
                                                kafka={"compression.type": "none"}))
    server.psql("insert into t values (0, '')", database)
    server.wait_confirmed(slot_name)
    guarded_kafka.proxy.slow(200_000, latency=0.05)
    try:
        server.psql("insert into t select n, repeat('x', 300) from generate_series(1, 500) n", database)
        server.wait_confirmed(slot_name)
    finally:
        guarded_kafka.proxy.flow()
    assert delivery.ids(guarded_kafka.broker, topic) == list(range(501))
    assert codes(walferry) == [] and stopped_well(walferry)


def test_connections_to_kafka_that_lose_their_other_end(server, guarded_kafka, database, slot_name, topic_prefix, task,
                                                        delivery):
    """What was sent vanishes without a word. The request's time-out tells, and a new connection sends it again."""
    topic = topic_prefix + "public.counters"
    walferry = started(task, sink=delivery.sink(brokers=guarded_kafka.proxied, kafka={"socket.timeout.ms": 2000}))
    with CounterLoad(server, database) as load:
        guarded_kafka.broker.wait_records(topic, 100)
        guarded_kafka.proxy.strand()
        load.go_on(50)
        server.wait_confirmed(slot_name)
    server.wait_confirmed(slot_name)
    assert delivery.repeats(load, guarded_kafka.broker, topic) == 0 and codes(walferry) == [] and stopped_well(walferry)
    guarded_kafka.proxy.cut()


@at_least_once
def test_no_way_to_kafka_and_back(server, guarded_kafka, database, slot_name, topic_prefix, task, delivery):
    """Connections are cut and new ones refused, until three attempts were in vain."""
    topic, proxy = topic_prefix + "public.counters", guarded_kafka.proxy
    walferry = started(task, sink=delivery.sink(brokers=guarded_kafka.proxied))
    with CounterLoad(server, database) as load:
        guarded_kafka.broker.wait_records(topic, 100)
        proxy.refuse()
        proxy.cut()
        before = proxy.accepted
        wait_until(lambda: proxy.accepted >= before + 3, "three attempts", 30)
        walferry.wait_for_log("all brokers are down")
        proxy.refuse(False)
        load.go_on(50)
    server.wait_confirmed(slot_name)
    assert delivery.repeats(load, guarded_kafka.broker, topic) == 0 and codes(walferry) == [] and stopped_well(walferry)


# --- to PostgreSQL ---

def test_a_slow_way_from_the_server(server, broker, database, slot_name, topic_prefix, task, source_proxy):
    """A link that takes longer for a transaction than any time-out of the two lasts."""
    server.psql(f"alter database {database} set wal_sender_timeout = '1s';"
                "create table t (id int primary key, pad text)", database)
    walferry = started(task, source={"dsn": source_proxy.dsn(server, database), "silence_timeout": "1s"})
    source_proxy.slow(100_000, latency=0.01)
    server.psql("insert into t select n, md5(n::text) || md5((-n)::text) from generate_series(1, 4000) n", database)
    server.wait_confirmed(slot_name)
    source_proxy.flow()
    records = broker.consume(topic_prefix + "public.t")
    assert [int(record.json["data"][0]["id"]) for record in records] == list(range(1, 4001))
    assert codes(walferry) == [] and stopped_well(walferry)


def test_a_connection_from_the_server_that_loses_its_other_end(server, broker, database, slot_name, topic_prefix, task,
                                                               source_proxy, delivery):
    """In the middle of a transaction. The server still holds the old connection's slot, until its own time-out."""
    server.psql("create table t (id int primary key, pad text)", database)
    topic = topic_prefix + "public.t"
    walferry = started(task, source={"dsn": source_proxy.dsn(server, database), "silence_timeout": "2s"},
                       sink=delivery.sink(**SLOW_SINK))
    source_proxy.slow(2_000_000)
    server.psql("insert into t select n, repeat('x', 300) from generate_series(1, 10000) n", database)
    end = server.current_lsn()
    wait_until(lambda: written(broker, topic) > 500, "some of the rows", 20)
    source_proxy.strand()
    assert not received(server, slot_name, end), "the transaction was over too soon for this test"
    before = times_streaming(walferry)
    source_proxy.flow()
    wait_streaming_again(walferry, before)
    server.wait_confirmed(slot_name)
    assert delivery.ids(broker, topic) == list(range(1, 10001))
    assert set(codes(walferry)) <= {"WF2003", "WF2025"} and "WF2003" in codes(walferry) and stopped_well(walferry)

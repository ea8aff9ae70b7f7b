"""What lies between the server and the shipper fails: a proxy cuts, stalls, and changes bytes."""

import pytest

from harness.proxy import Proxy, cut_within, flip_bit, shorten_message
from harness.run import wait_until
from harness.stream import CounterLoad, assert_ordered, log_lines


@pytest.fixture
def proxy(server):
    with Proxy(server.port) as between:
        yield between


@pytest.fixture
def proxied(server, database, proxy, task):
    """A shipper whose connection goes through the proxy."""
    return start(server, database, proxy, task)


def start(server, database, proxy, task, **source):
    walferry = task(source={"dsn": proxy.dsn(server, database), **source}, retry={"max_delay": "500ms"}).start()
    walferry.wait_for_log('"streaming"')
    return walferry


def codes(walferry):
    return [line["fields"]["code"] for line in log_lines(walferry.log())
            if line["level"] == "warning" and "code" in line.get("fields", {})]


def test_connections_cut_under_load(server, broker, database, slot_name, topic_prefix, proxy, proxied):
    topic = topic_prefix + "public.counters"
    with CounterLoad(server, database) as load:
        for _ in range(5):
            load.go_on(60)
            proxy.cut()
    server.wait_confirmed(slot_name)
    assert load.check(broker, topic) == 0 and proxied.stop() == 0
    assert set(codes(proxied)) <= {"WF2003", "WF2012"}


def test_a_connection_that_cannot_be_made_for_a_while(server, broker, database, slot_name, topic_prefix, proxy,
                                                      proxied):
    server.psql("create table t (id int primary key)", database)
    proxy.refuse()
    proxy.cut()
    server.psql("insert into t select generate_series(1, 10)", database)
    before = proxy.accepted
    wait_until(lambda: proxy.accepted >= before + 3, "three attempts", 30)
    assert len(codes(proxied)) >= 3, "each attempt is logged"
    proxy.refuse(False)
    server.wait_confirmed(slot_name)
    assert len(broker.consume(topic_prefix + "public.t")) == 10 and proxied.stop() == 0


@pytest.mark.parametrize(("change", "code"), [(flip_bit, "WF4001"), (shorten_message, "WF4001"),
                                              (cut_within, "WF2003")])
def test_bytes_changed_on_the_way(change, code, server, broker, database, slot_name, topic_prefix, proxy, proxied):
    """A frame that is not what the plugin wrote is read again; nothing of it reaches Kafka."""
    server.psql("create table t (id int primary key, note text)", database)
    server.psql("insert into t values (1, 'before')", database)
    server.wait_confirmed(slot_name)
    proxy.change_once(b"needle in a haystack", change(b"needle in a haystack"))
    server.psql("insert into t values (2, 'needle in a haystack'), (3, 'with it'); insert into t values (4, 'after')",
                database)
    server.wait_confirmed(slot_name)
    assert proxy.happened.is_set() and codes(proxied)[0] == code
    records = broker.consume(topic_prefix + "public.t")
    notes = [record.json["data"][0]["note"] for record in records]
    assert notes == ["before", "needle in a haystack", "with it", "after"]
    assert_ordered(records)
    assert proxied.stop() == 0


def test_a_bit_flipped_within_a_large_transaction(server, broker, database, slot_name, topic_prefix, proxy, proxied):
    server.psql("create table t (id int primary key, note text)", database)
    proxy.change_once(b"number 33333", flip_bit(b"number 33333"))
    server.psql("insert into t select n, 'number ' || n || ' ' || repeat('x', 50) from generate_series(1, 50000) n",
                database)
    server.wait_confirmed(slot_name)
    assert proxy.happened.is_set() and "WF4001" in codes(proxied)
    records = broker.consume(topic_prefix + "public.t")
    assert [int(record.json["data"][0]["id"]) for record in records] == list(range(1, 50001))
    assert proxied.stop() == 0


def test_a_half_open_connection_is_noticed(server, broker, database, slot_name, topic_prefix, proxy, task):
    """Nothing arrives and nothing is refused, as when a firewall forgets a connection."""
    server.psql("create table t (id int primary key)", database)
    walferry = start(server, database, proxy, task, silence_timeout="2s")
    proxy.stall()
    server.psql("insert into t values (1)", database)
    walferry.wait_for_log("The server has been silent", timeout=20)
    proxy.cut()
    proxy.flow()
    server.wait_confirmed(slot_name)
    assert len(broker.consume(topic_prefix + "public.t")) == 1 and walferry.stop() == 0


def test_an_idle_server_that_answers_is_not_silent(server, broker, database, slot_name, topic_prefix, proxy, task):
    walferry = start(server, database, proxy, task, silence_timeout="1s")
    now = server.query("select clock_timestamp()")[0][0]
    wait_until(lambda: server.query("select clock_timestamp() > %s + interval '3 s'", (now,))[0][0],
               "three seconds", 10)
    assert walferry.stop() == 0 and codes(walferry) == []

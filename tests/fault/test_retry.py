"""Retrying: pauses that grow, with jitter; a window; an end that says so; and a start later that goes on."""

import psycopg2.extras
from outcome import again, codes, ended, retries, started, stopped_well
from promise import at_least_once

from harness.proxy import Proxy
from harness.run import wait_until
from harness.stream import log_lines


def given_up(walferry):
    """The line before the last, which tells that the window is over and after how many attempts."""
    line = log_lines(walferry.log())[-2]
    assert line["level"] == "error" and line["msg"] == "giving up: the retry window is over"
    return line["fields"]["attempts"]


@at_least_once
def test_pauses_grow_with_jitter_up_to_the_longest(server, broker, database, slot_name, topic_prefix, task, delivery):
    """Between half and all of 40, 80, 160, 320, 320 … ms; after a good connection they begin anew."""
    server.psql("create table t (id int primary key)", database)
    with Proxy(server.port) as proxy:
        walferry = started(task, source={"dsn": proxy.dsn(server, database)}, sink=delivery.sink(),
                           retry={"initial_delay": "40ms", "max_delay": "320ms"})
        server.psql("insert into t values (1)", database)
        server.wait_confirmed(slot_name)
        proxy.refuse()
        proxy.cut()
        wait_until(lambda: len(retries(walferry)) >= 8, "eight attempts", 30)
        proxy.refuse(False)
        server.psql("insert into t values (2)", database)
        server.wait_confirmed(slot_name)
        first = retries(walferry)
        proxy.cut()
        wait_until(lambda: len(retries(walferry)) > len(first), "another series", 20)
        server.wait_confirmed(slot_name)
        second = retries(walferry)[len(first):]
    assert [attempt for attempt, _ in first] == list(range(1, len(first) + 1)) and second[0][0] == 1
    for attempt, delay in [*first, second[0]]:
        nominal = min(40 * 2 ** (attempt - 1), 320)
        assert nominal // 2 <= delay <= nominal, (attempt, delay)
    tail = [delay for attempt, delay in first if attempt >= 4]
    assert len(set(tail)) > 1, "no jitter"
    assert delivery.ids(broker, topic_prefix + "public.t") == [1, 2] and walferry.stop() == 0


@at_least_once
def test_the_window_of_the_servers_connection_ends(server, broker, database, slot_name, topic_prefix, task, delivery):
    server.psql("create table t (id int primary key)", database)
    with Proxy(server.port) as proxy:
        walferry = started(task, source={"dsn": proxy.dsn(server, database)}, sink=delivery.sink(),
                           retry={"initial_delay": "20ms", "max_delay": "100ms", "connection_window": "700ms"})
        server.psql("insert into t values (1)", database)
        server.wait_confirmed(slot_name)
        proxy.refuse()
        proxy.cut()
        server.psql("insert into t values (2)", database)
        status, code, _ = ended(walferry)
        assert (status, code) == (3, "WF2003") and given_up(walferry) >= 5
        proxy.refuse(False)
        again(walferry)
        server.wait_confirmed(slot_name)
        assert delivery.ids(broker, topic_prefix + "public.t") == [1, 2] and stopped_well(walferry)


@at_least_once
def test_the_window_of_kafkas_connection_ends(server, guarded_kafka, database, slot_name, topic_prefix, task, delivery):
    server.psql("create table t (id int primary key)", database)
    proxy, topic = guarded_kafka.proxy, topic_prefix + "public.t"
    walferry = started(task, sink=delivery.sink(brokers=guarded_kafka.proxied), retry={"connection_window": "1s"})
    server.psql("insert into t values (1)", database)
    before = server.wait_confirmed(slot_name)
    proxy.refuse()
    proxy.cut()
    try:
        server.psql("insert into t values (2)", database)
        end = server.current_lsn()
        status, code, last = ended(walferry)
        assert (status, code) == (4, "WF3019") and "nothing is lost" in last["fields"]["remedy"]
        assert codes(walferry) == ["WF3019"], "after one window, not after a second one that began with its end"
        assert before <= server.confirmed_lsn(slot_name) < end
    finally:
        proxy.refuse(False)
    again(walferry)
    server.wait_confirmed(slot_name)
    assert delivery.ids(guarded_kafka.broker, topic) == [1, 2] and stopped_well(walferry)


@at_least_once
def test_the_other_window_ends(server, broker, database, slot_name, topic_prefix, task, delivery):
    """Somebody else reads the slot: no fault of a connection, so it is not waited for as long."""
    server.psql("create table t (id int primary key)", database)
    walferry = started(task, sink=delivery.sink(), retry={"initial_delay": "50ms", "max_delay": "100ms",
                                                          "other_window": "700ms"})
    server.psql("insert into t values (1)", database)
    server.wait_confirmed(slot_name)
    assert stopped_well(walferry)
    reader = server.connect(database, connection_factory=psycopg2.extras.LogicalReplicationConnection)
    try:
        reader.cursor().start_replication(slot_name=slot_name, decode=False)
        status, code, last = ended(walferry.start())
        assert (status, code) == (3, "WF2025") and "pg_terminate_backend" in last["fields"]["remedy"]
        assert given_up(walferry) >= 4 and set(codes(walferry)) == {"WF2025"}
        server.psql("insert into t values (2)", database)
    finally:
        reader.close()
    wait_until(lambda: server.walsender_pid(slot_name) is None, "the slot to be free", 20)
    again(walferry)
    server.wait_confirmed(slot_name)
    assert delivery.ids(broker, topic_prefix + "public.t") == [1, 2] and stopped_well(walferry)

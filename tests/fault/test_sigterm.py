"""SIGTERM at every stage: the shipper ends in time, says how it stands, and the next start goes on from there.

Where nothing is on its way the end is a good one (status 0); otherwise the status and the code say what is missing.
"""

import contextlib
import signal
import time

import pytest
from outcome import SLOW_SINK, again, codes, received, started, stopped_well
from promise import at_least_once, written

from harness.proxy import Proxy
from harness.run import wait_until
from harness.stream import log_lines

# Beside shutdown.timeout: for the good-bye to the server, the end of librdkafka's threads, and a busy machine.
MARGIN = 8.0
SHORT = {"timeout": "1s"}


def ended_in_time(walferry, shutdown=1.0):
    """SIGTERM; the status and the last line's message and fields, if it ends within its time."""
    start = time.monotonic()
    status = walferry.stop(timeout=shutdown + MARGIN)
    assert time.monotonic() - start < shutdown + MARGIN
    last = log_lines(walferry.log())[-1]
    return status, last["msg"], last["fields"]


def resumes(server, broker, delivery, walferry, slot_name, topic, wanted):
    again(walferry)
    server.wait_confirmed(slot_name)
    assert delivery.ids(broker, topic) == wanted and stopped_well(walferry)


@pytest.fixture
def table(server, database, topic_prefix):
    """The table t; the name of its topic."""
    server.psql("create table t (id int primary key, pad text)", database)
    return topic_prefix + "public.t"


@at_least_once
def test_while_it_connects_to_the_server(server, broker, database, slot_name, table, task, delivery):
    with Proxy(server.port) as proxy:
        proxy.stall()
        walferry = task(source={"dsn": proxy.dsn(server, database)}, sink=delivery.sink(), shutdown=SHORT).start()
        wait_until(lambda: proxy.accepted > 0, "the connection", 20)
        status, message, _ = ended_in_time(walferry)
        assert (status, message) == (0, "stopped") and server.confirmed_lsn(slot_name) is None
        proxy.flow()
        server.psql("insert into t values (0, '')", database)  # before there is a slot
        again(walferry)
        server.psql("insert into t values (1, '')", database)
        server.wait_confirmed(slot_name)
        assert delivery.ids(broker, table) == [1] and stopped_well(walferry)


@at_least_once
def test_while_it_connects_to_kafka(server, guarded_kafka, database, slot_name, table, task, delivery):
    """A broker that takes the connection and says nothing."""
    guarded_kafka.proxy.stall()
    try:
        before = guarded_kafka.proxy.accepted
        walferry = task(sink=delivery.sink(brokers=guarded_kafka.proxied), shutdown=SHORT).start()
        wait_until(lambda: guarded_kafka.proxy.accepted > before, "the connection", 20)
        status, message, _ = ended_in_time(walferry)
        assert (status, message) == (0, "stopped") and server.confirmed_lsn(slot_name) is None
    finally:
        guarded_kafka.proxy.flow()
    again(walferry)
    server.psql("insert into t values (1, '')", database)
    server.wait_confirmed(slot_name)
    assert delivery.ids(guarded_kafka.broker, table) == [1] and stopped_well(walferry)


@at_least_once
def test_while_its_slot_waits_for_an_old_transaction(server, broker, database, slot_name, table, task, delivery):
    walferry = task(sink=delivery.sink(), shutdown=SHORT)
    with contextlib.closing(server.connect(database, autocommit=False)) as old, old.cursor() as cursor:
        cursor.execute("insert into t values (0, '')")
        walferry.start()
        waiting = "select count(*) from pg_stat_activity where query ~ 'CREATE_REPLICATION_SLOT' and datname = %s " \
                  "and state = 'active' and backend_type = 'walsender' and wait_event_type = 'Lock'"
        wait_until(lambda: server.query(waiting, (database,)) == [(1,)], "the slot to wait", 20)
        status, message, _ = ended_in_time(walferry)
        assert (status, message) == (0, "stopped")
        wait_until(lambda: server.confirmed_lsn(slot_name) is None and server.query(waiting, (database,)) == [(0,)],
                   "the half-made slot to go", 20)
        old.commit()
    again(walferry)
    server.psql("insert into t values (1, '')", database)
    server.wait_confirmed(slot_name)
    assert delivery.ids(broker, table) == [1] and stopped_well(walferry)


def test_in_the_middle_of_a_transaction_that_it_can_finish(server, broker, database, slot_name, table, task, delivery):
    walferry = started(task, sink=delivery.sink(**SLOW_SINK), shutdown={"timeout": "1min"})
    server.psql("insert into t select n, repeat('x', 300) from generate_series(1, 20000) n", database)
    end = server.current_lsn()
    wait_until(lambda: written(broker, table) > 1000, "some rows of the transaction", 30)
    assert not received(server, slot_name, end), "the transaction was over too soon for this test"
    assert stopped_well(walferry, timeout=60)
    assert delivery.ids(broker, table) == list(range(1, 20001))
    # And a next one, which repeats nothing of it.
    server.psql("insert into t values (20001, '')", database)
    resumes(server, broker, delivery, walferry, slot_name, table, list(range(1, 20002)))


def test_in_the_middle_of_a_transaction_for_which_the_time_is_too_short(server, broker, database, slot_name, table,
                                                                        task, delivery):
    walferry = started(task, sink=delivery.sink(**SLOW_SINK), shutdown={"timeout": "200ms"})
    before = server.confirmed_lsn(slot_name)
    server.psql("insert into t select n, repeat('x', 300) from generate_series(1, 30000) n", database)
    end = server.current_lsn()
    wait_until(lambda: written(broker, table) > 1000, "some rows of the transaction", 30)
    status, message, fields = ended_in_time(walferry)
    assert (status, fields["code"]) == (4, "WF3015") and "in the middle of a transaction" in message
    assert before <= server.confirmed_lsn(slot_name) < end and fields["remedy"].startswith("Nothing is lost")
    resumes(server, broker, delivery, walferry, slot_name, table, list(range(1, 30001)))


@at_least_once
def test_between_two_attempts(server, broker, database, slot_name, table, task, delivery):
    """The pause would be a long one."""
    with Proxy(server.port) as proxy:
        walferry = started(task, source={"dsn": proxy.dsn(server, database)}, sink=delivery.sink(),
                           retry={"initial_delay": "1min", "max_delay": "1min"}, shutdown=SHORT)
        server.psql("insert into t values (1, '')", database)
        server.wait_confirmed(slot_name)
        proxy.cut()
        walferry.wait_for_log('"trying again"')
        server.psql("insert into t values (2, '')", database)
        status, message, _ = ended_in_time(walferry)
        assert (status, message) == (0, "stopped")
        resumes(server, broker, delivery, walferry, slot_name, table, [1, 2])


@at_least_once
def test_while_kafka_hangs_and_nothing_is_on_its_way(server, broker, database, slot_name, table, task, delivery):
    walferry = started(task, sink=delivery.sink(), shutdown=SHORT)
    server.psql("insert into t values (1, '')", database)
    server.wait_confirmed(slot_name)
    with broker.hung():
        status, message, _ = ended_in_time(walferry)
    assert (status, message) == (0, "stopped")
    server.psql("insert into t values (2, '')", database)
    resumes(server, broker, delivery, walferry, slot_name, table, [1, 2])


def test_while_kafka_hangs_and_the_queue_is_full(server, broker, database, slot_name, table, task, delivery):
    """Nothing is read from the server either, so it cannot be told farewell."""
    walferry = started(task, sink=delivery.sink(queue_bytes="1MB"), shutdown=SHORT)
    server.psql("insert into t values (0, '')", database)
    before = server.wait_confirmed(slot_name)
    with broker.hung():
        server.psql("insert into t select n, repeat(md5(n::text), 30) from generate_series(1, 30000) n", database)
        end = server.current_lsn()
        server.wait_walsender_blocked(slot_name)
        status, _, fields = ended_in_time(walferry)
        assert (status, fields["code"]) == (4, "WF3015") and before <= server.confirmed_lsn(slot_name) < end
    resumes(server, broker, delivery, walferry, slot_name, table, list(range(30001)))


def test_while_a_topic_is_made_and_kafka_hangs(server, broker, database, slot_name, topic_prefix, table, task,
                                               delivery):
    walferry = started(task, sink=delivery.sink(), shutdown=SHORT)
    before = server.wait_confirmed(slot_name)
    with broker.hung():
        server.psql("insert into t values (1, '')", database)
        end = server.current_lsn()
        # The frame has been taken from the socket: it can only be at the topic's creation now.
        wait_until(lambda: server.query("select sent_lsn >= %s::pg_lsn from pg_stat_replication where pid = %s",
                                        (f"{end >> 32:X}/{end & 0xFFFFFFFF:X}", server.walsender_pid(slot_name)))
                   == [(True,)], "the row to be sent", 20)
        # Good or not: nothing had been sent to Kafka, and the server keeps the row.
        status, _, _ = ended_in_time(walferry)
        assert status in (0, 4) and before <= server.confirmed_lsn(slot_name) < end
    resumes(server, broker, delivery, walferry, slot_name, table, [1])


@at_least_once
def test_while_the_connection_to_the_server_is_half_open(server, broker, database, slot_name, table, task, delivery):
    """All is in Kafka, but the server does not answer to the farewell: the log says that it may not know."""
    with Proxy(server.port) as proxy:
        walferry = started(task, source={"dsn": proxy.dsn(server, database)}, sink=delivery.sink(), shutdown=SHORT)
        server.psql("insert into t values (1, '')", database)
        server.wait_confirmed(slot_name)
        proxy.strand()
        status, message, _ = ended_in_time(walferry)
        assert (status, message) == (0, "stopped") and "the server did not end the stream" in walferry.log()
        proxy.cut()
        server.psql("insert into t values (2, '')", database)
        resumes(server, broker, delivery, walferry, slot_name, table, [1, 2])


def test_a_second_signal_ends_it_at_once(server, broker, database, slot_name, table, task, delivery):
    walferry = started(task, sink=delivery.sink(), shutdown={"timeout": "10min"})
    server.psql("insert into t values (1, '')", database)
    server.wait_confirmed(slot_name)
    with broker.hung():
        server.psql("insert into t values (2, '')", database)
        end = server.current_lsn()
        wait_until(lambda: received(server, slot_name, end), "the row to be with the shipper", 20)
        walferry.process.send_signal(signal.SIGTERM)
        with pytest.raises(TimeoutError):
            wait_until(lambda: not walferry.running(), "the end, which the first signal must not bring", 0.5)
        assert walferry.stop(timeout=MARGIN) == 128 + signal.SIGTERM
    assert codes(walferry) == []
    resumes(server, broker, delivery, walferry, slot_name, table, [1, 2])

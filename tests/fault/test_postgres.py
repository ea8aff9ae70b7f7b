"""The server withdraws something, or changes its history, while the shipper streams from it."""

import contextlib
import os
import signal

import psycopg2.extras
import pytest
from outcome import again, codes, ended, producer_replaced, started, stopped_well, times_streaming, wait_streaming_again
from promise import at_least_once, row_ids

from harness import Postgres
from harness.run import wait_until
from harness.stream import CounterLoad

QUICK = {"initial_delay": "50ms", "max_delay": "200ms"}


def end_walsender(server, slot_name):
    server.query("select pg_terminate_backend(active_pid) from pg_replication_slots where slot_name = %s", (slot_name,))


# --- who may do what ---

def test_a_password_changed_while_streaming(server, broker, database, slot_name, topic_prefix, role, task):
    """The connection that is there lives on; the next one is refused, which no retry mends."""
    server.psql("create table t (id int primary key)", database)
    server.hba(f'host all "{role}" 127.0.0.1/32 scram-sha-256')
    first = started(task, source={"dsn": server.dsn(database, user=role, password="first")})
    server.psql("insert into t values (1)", database)
    before = server.wait_confirmed(slot_name)
    server.psql(f"alter role \"{role}\" password 'second'")
    server.psql("insert into t values (2)", database)
    before = server.wait_confirmed(slot_name)
    end_walsender(server, slot_name)
    status, code, last = ended(first)
    assert (status, code) == (3, "WF2004") and "pgpass" in last["fields"]["remedy"]
    server.psql("insert into t values (3)", database)
    assert server.confirmed_lsn(slot_name) >= before
    second = started(task, source={"dsn": server.dsn(database, user=role, password="second")})
    server.wait_confirmed(slot_name)
    records = broker.consume(topic_prefix + "public.t")
    assert row_ids(records) == [1, 2, 3] and stopped_well(second)
    assert "first" not in first.log().replace('"first_', "") and "second" not in second.log().replace('"seconds"', "")


def test_the_right_to_replicate_withdrawn_while_streaming(server, broker, database, slot_name, topic_prefix, role,
                                                          task):
    server.psql("create table t (id int primary key)", database)
    walferry = started(task, source={"dsn": server.dsn(database, user=role)})
    server.psql("insert into t values (1)", database)
    server.wait_confirmed(slot_name)
    server.psql(f'alter role "{role}" noreplication')
    end_walsender(server, slot_name)
    status, code, last = ended(walferry)
    assert (status, code) == (3, "WF2009") and f'ALTER ROLE "{role}" REPLICATION' in last["fields"]["remedy"]
    server.psql("insert into t values (2)", database)
    server.psql(f'alter role "{role}" replication')
    again(walferry)
    server.wait_confirmed(slot_name)
    assert row_ids(broker.consume(topic_prefix + "public.t")) == [1, 2] and stopped_well(walferry)


# --- the server is out of something ---

@pytest.fixture
def taken(small_server, slot_name):
    """A function that opens connections to the small server, and one that closes them all."""
    opened = []

    def take(count, **more):
        for _ in range(count):
            opened.append(psycopg2.connect(small_server.dsn(), **more))

    def give_back():
        while opened:
            opened.pop().close()

    yield take, give_back
    give_back()
    small_server.drop_slot(slot_name)
    small_server.psql("drop table if exists t")


def comes_back(server, walferry, slot_name, take, give_back, code):
    """While the shipper is cut off, others take what it needs; it waits until they give it back."""
    server.psql("insert into t select generate_series(1, 10)")
    server.wait_confirmed(slot_name)
    with contextlib.closing(server.connect()) as connection, connection.cursor() as cursor:
        # Held still between the end of its walsender and the next attempt, so that it cannot be the first.
        walferry.process.send_signal(signal.SIGSTOP)
        cursor.execute("select pg_terminate_backend(active_pid, 5000) from pg_replication_slots where slot_name = %s",
                       (slot_name,))
        take()
        cursor.execute("insert into t select generate_series(11, 20)")
        walferry.process.send_signal(signal.SIGCONT)
        walferry.wait_for_log(f'"code":"{code}"')
        walferry.wait_for_log('"trying again"')
    assert walferry.running()
    give_back()
    server.wait_confirmed(slot_name)


def test_no_walsender_left_for_a_while(small_server, broker, slot_name, topic_prefix, task, taken):
    take, give_back = taken
    small_server.psql("create table t (id int primary key)")
    walferry = started(task, source={"dsn": small_server.dsn()}, retry=QUICK)
    physical = psycopg2.extras.PhysicalReplicationConnection
    comes_back(small_server, walferry, slot_name, lambda: take(2, connection_factory=physical), give_back, "WF2011")
    assert row_ids(broker.consume(topic_prefix + "public.t")) == list(range(1, 21)) and stopped_well(walferry)


def test_other_clients_cannot_take_the_shippers_connection(small_server, broker, slot_name, topic_prefix, task, taken):
    """All connections of the server are taken when the shipper comes back: walsenders have places of their own."""
    take, give_back = taken
    small_server.psql("create table t (id int primary key)")
    walferry = started(task, source={"dsn": small_server.dsn()}, retry=QUICK)
    before = times_streaming(walferry)
    with contextlib.closing(small_server.connect()) as connection, connection.cursor() as cursor:
        with pytest.raises(psycopg2.OperationalError, match="too many clients"):
            take(100)
        cursor.execute("select pg_terminate_backend(active_pid, 5000) from pg_replication_slots where slot_name = %s",
                       (slot_name,))
        cursor.execute("insert into t select generate_series(1, 10)")
        wait_streaming_again(walferry, before)
    broker.wait_records(topic_prefix + "public.t", 10)
    give_back()
    small_server.wait_confirmed(slot_name)
    assert row_ids(broker.consume(topic_prefix + "public.t")) == list(range(1, 11))
    assert codes(walferry) == ["WF2012"] and stopped_well(walferry)


def test_no_slot_left_for_a_new_task(small_server, broker, slot_name, topic_prefix, task, taken):
    """The other task's slot is not touched, and once it is gone the same start succeeds."""
    small_server.psql("create table t (id int primary key); select pg_create_physical_replication_slot('other')")
    walferry = task(source={"dsn": small_server.dsn()}).start()
    try:
        status, code, last = ended(walferry)
        assert (status, code) == (3, "WF2021") and "max_replication_slots" in last["fields"]["remedy"]
        assert small_server.query("select slot_name from pg_replication_slots") == [("other",)]
    finally:
        small_server.psql("select pg_drop_replication_slot('other')")
    again(walferry)
    small_server.psql("insert into t values (1)")
    small_server.wait_confirmed(slot_name)
    assert row_ids(broker.consume(topic_prefix + "public.t")) == [1] and stopped_well(walferry)


def test_wal_removed_under_a_shipper_that_stands_still(small_server, broker, slot_name, topic_prefix, task, taken):
    """max_slot_wal_keep_size is exceeded while the process is stopped: it is told so when it goes on."""
    small_server.psql("create table t (id int primary key)")
    walferry = started(task, source={"dsn": small_server.dsn()}, retry=QUICK)
    small_server.psql("insert into t values (1)")
    small_server.wait_confirmed(slot_name)
    small_server.conf(max_slot_wal_keep_size="1MB")
    walferry.process.send_signal(signal.SIGSTOP)

    def lost():
        small_server.psql("create table bulk as select repeat('x', 1000) from generate_series(1, 10000);"
                          "drop table bulk; select pg_switch_wal(); checkpoint")
        return small_server.query("select wal_status from pg_replication_slots where slot_name = %s",
                                  (slot_name,)) == [("lost",)]

    try:
        small_server.psql("insert into t values (2)")
        wait_until(lost, "the slot to be given up", 60, interval=0)
        walferry.process.send_signal(signal.SIGCONT)
        status, code, last = ended(walferry)
        assert (status, code) == (3, "WF2030") and "max_slot_wal_keep_size" in last["fields"]["remedy"]
        # And again, rather than a new slot and a gap that nobody is told of.
        status, code, last = ended(walferry.start())
        assert (status, code) == (3, "WF2030")
        assert f"pg_drop_replication_slot('{slot_name}')" in last["fields"]["remedy"]
    finally:
        small_server.conf(max_slot_wal_keep_size=None)


# --- the server, or a part of it, hangs or has another history ---

@at_least_once
def test_a_walsender_that_hangs(server, broker, database, slot_name, topic_prefix, task, delivery):
    """It keeps the slot, so that the next connection has to wait for it."""
    server.psql("create table t (id int primary key)", database)
    walferry = started(task, source={"silence_timeout": "1s"}, sink=delivery.sink(), retry=QUICK)
    server.psql("insert into t values (1)", database)
    server.wait_confirmed(slot_name)
    hung = server.walsender_pid(slot_name)
    before = times_streaming(walferry)
    os.kill(hung, signal.SIGSTOP)
    try:
        server.psql("insert into t values (2)", database)
        walferry.wait_for_log('"code":"WF2003"')
        walferry.wait_for_log("standing by: another connection of this task reads the slot")
    finally:
        os.kill(hung, signal.SIGCONT)
    wait_streaming_again(walferry, before)
    server.wait_confirmed(slot_name)
    assert delivery.ids(broker, topic_prefix + "public.t") == [1, 2]
    assert set(codes(walferry)) <= {"WF2003", "WF2012", "WF2025"} and stopped_well(walferry)


@pytest.fixture
def own_server(run):
    """A server of the test's own."""
    server = Postgres(run)
    server.install_walferry()
    server.start()
    server.psql("create table t (id int primary key)")
    yield server
    server.stop("immediate")


def start_new_timeline(server):
    """Ends it cleanly, and has it recover to the end of its log, and so begin a new timeline."""
    server.stop("fast")
    server.conf(restore_command="false")
    (server.data / "recovery.signal").touch()
    server.start()
    wait_until(lambda: server.query("select pg_is_in_recovery()") == [(False,)], "the end of recovery", 30)


def test_a_new_timeline_that_holds_everything(own_server, broker, slot_name, topic_prefix, task, delivery):
    walferry = started(task, source={"dsn": own_server.dsn()}, sink=delivery.sink())
    own_server.psql("insert into t select generate_series(1, 10)")
    start_new_timeline(own_server)
    own_server.psql("insert into t select generate_series(11, 20)")
    own_server.wait_confirmed(slot_name)
    assert "new timeline" in walferry.log() and set(codes(walferry)) <= {"WF2003", "WF2012", "WF2016"}
    assert delivery.ids(broker, topic_prefix + "public.t") == list(range(1, 21)) and stopped_well(walferry)


def test_a_new_timeline_while_the_shipper_is_down(own_server, broker, slot_name, topic_prefix, task, delivery):
    """What Kafka has lies before the point where the timelines part: the next start goes on, and repeats nothing."""
    walferry = started(task, source={"dsn": own_server.dsn()}, sink=delivery.sink())
    own_server.psql("insert into t select generate_series(1, 10)")
    own_server.wait_confirmed(slot_name)
    assert stopped_well(walferry)
    own_server.psql("insert into t select generate_series(11, 20)")
    start_new_timeline(own_server)
    own_server.psql("insert into t select generate_series(21, 30)")
    again(walferry)
    own_server.wait_confirmed(slot_name)
    assert delivery.ids(broker, topic_prefix + "public.t") == list(range(1, 31)) and stopped_well(walferry)


def test_a_server_restarted_while_the_shipper_is_down(own_server, broker, slot_name, topic_prefix, task, delivery):
    """Before 17 a server that is shut down forgets positions that were confirmed since its last checkpoint but one:
    the shipper knows them from its own progress record."""
    walferry = started(task, source={"dsn": own_server.dsn()}, sink=delivery.sink())
    own_server.psql("insert into t select generate_series(1, 10)")
    own_server.wait_confirmed(slot_name)
    assert stopped_well(walferry)
    own_server.restart("fast")
    own_server.psql("insert into t select generate_series(11, 20)")
    again(walferry)
    own_server.wait_confirmed(slot_name)
    assert delivery.ids(broker, topic_prefix + "public.t") == list(range(1, 21)) and stopped_well(walferry)


@at_least_once
def test_a_shutdown_in_the_middle_of_a_transaction_under_way(server, broker, database, slot_name, topic_prefix, task,
                                                             delivery):
    """A fast shutdown waits for the walsender to send all it has; an open transaction of the application is ended."""
    walferry = started(task, sink=delivery.sink())
    with CounterLoad(server, database) as load, \
            contextlib.closing(server.connect(database, autocommit=False)) as open_one:
        with open_one.cursor() as cursor:
            cursor.execute("insert into counters values (1001, 0, '')")
            load.go_on(50)
            server.restart("fast")
            load.go_on(50)
    server.wait_confirmed(slot_name)
    assert delivery.repeats(load, broker, topic_prefix + "public.counters") == 0 and not producer_replaced(walferry)
    assert set(codes(walferry)) <= {"WF2003", "WF2012"} and stopped_well(walferry)

"""Prepared transactions: taken in at PREPARE TRANSACTION where asked for, in Kafka when and only when they are committed."""

import pytest

from harness.run import wait_until
from harness.stream import position


@pytest.fixture(autouse=True)
def _no_prepared_transaction_is_left(server, database):
    """One that is left would make every new slot of the server wait."""
    yield
    for (gid,) in server.query("select gid from pg_prepared_xacts where database = %s", (database,)):
        server.query("rollback prepared %s", (gid,), database)


def start(task, **changes):
    walferry = task(**changes).start()
    walferry.wait_for_log('"streaming"')
    return walferry


def ids(broker, topic):
    return [record.json["data"][0]["id"] for record in broker.consume(topic)]


def prepare(server, database, gid, first, last):
    server.psql(f"begin; insert into t select i, 'prepared' from generate_series({first}, {last}) i; savepoint a; "
                f"insert into t values ({last + 1}, 'gone'); rollback to a; prepare transaction '{gid}'", database)


@pytest.mark.parametrize("two_phase", [True, False, ["app-"]])
def test_rows_arrive_at_commit_prepared_and_never_after_a_rollback(server, broker, database, slot_name, topic_prefix, task,
                                                                  two_phase):
    server.psql("create table t (id int primary key, v text)", database)
    walferry = start(task, source={"two_phase": two_phase})
    prepare(server, database, "app-1", 1, 3)
    prepare(server, database, "app-2", 11, 13)
    prepare(server, database, "other-1", 21, 23)
    server.psql("insert into t values (100, 'meanwhile')", database)
    broker.wait_records(topic_prefix + "public.t", 1)
    assert ids(broker, topic_prefix + "public.t") == ["100"]
    server.psql("rollback prepared 'app-2'", database)
    server.psql("commit prepared 'other-1'", database)
    server.psql("commit prepared 'app-1'", database)
    server.wait_confirmed(slot_name)
    records = broker.consume(topic_prefix + "public.t")
    assert [r.json["data"][0]["id"] for r in records] == ["100", "21", "22", "23", "1", "2", "3"]
    assert [position(r).ordinal for r in records] == [0, 0, 1, 2, 0, 1, 2]
    assert walferry.stop() == 0


def test_a_restart_between_prepare_and_commit(server, broker, database, slot_name, topic_prefix, task):
    server.psql("create table t (id int primary key, v text)", database)
    walferry = start(task, source={"two_phase": True})
    prepare(server, database, "app-1", 1, 3)
    server.psql("insert into t values (100, 'meanwhile')", database)
    broker.wait_records(topic_prefix + "public.t", 1)
    assert walferry.stop() == 0
    server.psql("commit prepared 'app-1'", database)
    walferry = start(task, source={"two_phase": True})
    server.wait_confirmed(slot_name)
    arrived = ids(broker, topic_prefix + "public.t")
    # What was committed after the PREPARE comes again: the slot stands before it.
    assert arrived[-3:] == ["1", "2", "3"] and set(arrived[:-3]) == {"100"}
    assert walferry.stop() == 0


def test_a_lost_connection_between_prepare_and_commit_repeats_nothing(server, broker, database, slot_name, topic_prefix, task):
    server.psql("create table t (id int primary key, v text)", database)
    walferry = start(task, source={"two_phase": True})
    prepare(server, database, "app-1", 1, 3)
    server.psql("insert into t values (100, 'meanwhile'); insert into t values (101, 'meanwhile')", database)
    broker.wait_records(topic_prefix + "public.t", 2)
    server.query("select pg_terminate_backend(active_pid) from pg_replication_slots where slot_name = %s", (slot_name,))
    walferry.wait_for_log(r'(?s)trying again.*"streaming"')
    server.psql("insert into t values (102, 'after'); commit prepared 'app-1'; insert into t values (103, 'last')", database)
    server.wait_confirmed(slot_name)
    assert ids(broker, topic_prefix + "public.t") == ["100", "101", "102", "1", "2", "3", "103"]
    assert walferry.stop() == 0


def test_the_slot_is_not_confirmed_past_a_prepared_transaction(server, broker, database, slot_name, topic_prefix, task):
    server.psql("create table t (id int primary key, v text)", database)
    walferry = start(task, source={"two_phase": True})
    before = server.current_lsn()
    prepare(server, database, "app-1", 1, 3)
    after = server.current_lsn()
    server.psql("insert into t values (100, 'meanwhile')", database)
    broker.wait_records(topic_prefix + "public.t", 1)
    server.wait_confirmed(slot_name, before)
    assert walferry.stop() == 0
    assert before <= server.confirmed_lsn(slot_name) < after
    walferry = start(task, source={"two_phase": True})
    server.psql("rollback prepared 'app-1'", database)
    server.wait_confirmed(slot_name)
    assert walferry.stop() == 0


def test_a_new_session_confirms_nothing_past_a_prepared_transaction_that_it_has_not_read_again(
        server, broker, database, slot_name, topic_prefix, task):
    server.psql("create table t (id int primary key, v text)", database)
    settings = {"two_phase": True, "status_interval_ms": 10}
    walferry = start(task, source=settings)
    # Many frames: a status goes out after the first of them.
    prepare(server, database, "app-1", 1, 20000)
    after = server.current_lsn()
    server.psql("insert into t values (0, 'meanwhile')", database)
    broker.wait_records(topic_prefix + "public.t", 1)

    def told():
        return server.query("select (flush_lsn - '0/0')::bigint from pg_stat_replication where application_name = %s "
                            "and flush_lsn is not null", (f"walferry-{slot_name}",))

    wait_until(told, "the session's position", 30)
    for turn in range(3):
        server.query("select pg_terminate_backend(active_pid, 10000) from pg_replication_slots where slot_name = %s", (slot_name,))
        walferry.wait_for_log("(?s)" + 'trying again.*"streaming".*' * (turn + 1))
        wait_until(told, "the new session's position", 30)
        assert told()[0][0] < after and server.confirmed_lsn(slot_name) < after
    walferry.kill()
    server.psql("commit prepared 'app-1'", database)
    walferry = start(task, source=settings)
    server.wait_confirmed(slot_name)
    assert ids(broker, topic_prefix + "public.t")[-20000:] == [str(i) for i in range(1, 20001)]
    assert walferry.stop() == 0


def test_what_was_prepared_before_it_was_asked_for_arrives_also_after_an_interruption(server, broker, database, slot_name,
                                                                                       topic_prefix, task):
    server.psql("create table t (id int primary key, v text)", database)
    walferry = start(task, source={"two_phase": ["app-"]})
    prepare(server, database, "other-1", 1, 30000)
    server.wait_confirmed(slot_name)
    assert walferry.stop() == 0

    # A small queue and slow acknowledgements make the delivery last.
    walferry = start(task, source={"two_phase": True}, sink={"queue_bytes": "1MB", "kafka": {"linger.ms": "100"}})
    topic = topic_prefix + "public.t"
    server.psql("commit prepared 'other-1'", database)
    wait_until(lambda: topic in broker.topics() and sum(broker.end_offsets(topic).values()) > 100, "the first rows", 30)
    server.query("select pg_terminate_backend(active_pid) from pg_replication_slots where slot_name = %s", (slot_name,))
    server.wait_confirmed(slot_name)
    records = broker.consume(topic)
    assert [r.json["data"][0]["id"] for r in records] == [str(i) for i in range(1, 30001)]
    assert [position(r).ordinal for r in records] == list(range(30000))
    assert "trying again" in walferry.log()
    assert walferry.stop() == 0


def test_a_full_spool_lets_prepared_transactions_come_after_their_commit(server, broker, database, slot_name, topic_prefix, task,
                                                                         run):
    server.psql("create table t (id int primary key, v text)", database)
    walferry = start(task, source={"two_phase": True}, spool={"directory": str(run.subfolder("spool")), "size": "16MB"})
    server.psql("begin; insert into t select i, repeat(md5(i::text), 20) from generate_series(1, 40000) i; "
                "prepare transaction 'app-1'; insert into t values (0, 'meanwhile')", database)
    broker.wait_records(topic_prefix + "public.t", 1)
    assert "WF4201" in walferry.log()
    server.psql("commit prepared 'app-1'", database)
    server.wait_confirmed(slot_name)
    assert ids(broker, topic_prefix + "public.t") == [str(i) for i in range(40001)]
    assert walferry.stop() == 0

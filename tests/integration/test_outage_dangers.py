"""The outage log where something is wrong around it: lost, full, a slot dropped, a progress record lost."""

import shutil

import pytest
from outage_task import ISOLATION, both, hold, ids, make, outage, start

from harness.postgres import lsn_from_text
from harness.run import wait_until
from harness.stream import CounterLoad


def test_a_lost_log_is_told_even_after_a_new_one_was_begun(run, server, broker, database, slot_name, topic_prefix,
                                                           task):
    """Rows 2 were confirmed and only in the lost log; a new log is begun while Kafka is still away."""
    walferry, folder = make(task, run, "at-least-once")
    with outage(server, broker, database, slot_name, walferry):
        shutil.rmtree(folder)
        walferry.start()
        walferry.wait_for_log("streaming into the outage log", timeout=60)
        server.psql("insert into t values (3)", database)
        end = server.current_lsn()
        wait_until(lambda: any(lsn_from_text(sent) >= end for (sent,) in server.query(
            "select sent_lsn::text from pg_stat_replication")), "row 3 to be sent", 20)
        assert walferry.stop() == 0
    # A new log, not empty, which does not hold what lies between the progress record and its own beginning.
    walferry.start()
    wait_until(lambda: not walferry.running() or '"streaming"' in walferry.log(), "an end or a stream", 40)
    found = ids(broker.consume(topic_prefix + "public.t"))
    assert not walferry.running() and walferry.wait() == 5, f"goes on in silence; Kafka has {found}"


def test_a_dropped_slot_with_a_log(run, server, broker, database, slot_name, topic_prefix, task):
    """The remedy of the error says: what the log holds is delivered by a start with --accept-gap."""
    walferry, _ = hold(run, server, broker, database, slot_name, task)
    server.drop_slot(slot_name)
    assert walferry.start().wait() == 3 and "WF2023" in walferry.log()
    walferry.start(["--accept-gap"])
    walferry.wait_for_log('"streaming"', timeout=60)
    server.psql("insert into t values (3)", database)
    server.wait_confirmed(slot_name)
    assert ids(broker.consume(topic_prefix + "public.t")) == [0, 1, 2, 3]
    assert walferry.stop() == 0


def test_progress_lost_with_a_log(run, server, broker, database, slot_name, topic_prefix, task):
    """The progress topic is gone (a new cluster): the log has the only copy of rows 1 and 2."""
    walferry, _ = hold(run, server, broker, database, slot_name, task)
    broker.delete_topic(f"walferry.progress.{slot_name}")
    walferry.start(["--accept-gap"])
    walferry.wait_for_log('"streaming"', timeout=60)
    server.psql("insert into t values (3)", database)
    wait_until(lambda: 3 in ids(broker.consume(topic_prefix + "public.t")), "row 3", 30)
    found = set(ids(broker.consume(topic_prefix + "public.t")))
    assert found >= {1, 2}, f"Kafka has {found}"


def test_a_log_without_room_for_a_large_frame_is_drained_all_the_same(run, server, broker, database, slot_name,
                                                                      topic_prefix, task):
    """The server keeps what comes; Kafka gets it once it answers."""
    server.psql("create table t (id int primary key, pad text); alter table t alter pad set storage external", database)
    walferry, _ = make(task, run, "at-least-once", outage_size="64MB")
    start(walferry)
    broker.stop()
    try:
        server.psql("insert into t values (0, '')", database)
        walferry.wait_for_log("streaming into the outage log", timeout=30)
        for n in range(1, 120):
            server.psql(f"insert into t values ({n}, repeat('x', 700000))", database)
        walferry.wait_for_log("WF4204|the outage log is full", timeout=60)
    finally:
        broker.start()
    topic = topic_prefix + "public.t"
    wait_until(lambda: topic in broker.topics(), "the topic", 30)
    wait_until(lambda: not walferry.running() or sum(broker.end_offsets(topic).values()) >= 120, "all rows or an end", 60)
    assert walferry.running() and walferry.stop() == 0


def test_stopped_while_the_log_is_drained_and_kafka_takes_nothing(run, server, broker, database, slot_name, task):
    """Everything is safe in the log and confirmed: that is no failure."""
    server.psql("create table t (id int primary key, pad text)", database)
    folder = run.subfolder("spool")
    walferry = task(sink={"queue_bytes": "1MB"}, retry={"max_delay": "500ms"}, shutdown={"timeout": "5s"},
                    spool={"directory": str(folder), "outage": True, "outage_after": "1s"})
    start(walferry)
    broker.stop()
    try:
        server.psql("insert into t values (0, '')", database)
        walferry.wait_for_log("streaming into the outage log", timeout=30)
        server.psql("insert into t select n, repeat('x', 300) from generate_series(1, 300000) n", database)
        server.wait_confirmed(slot_name)
    finally:
        broker.start()
    walferry.wait_for_log("Kafka answers again: delivering", timeout=60)
    with broker.hung():
        status = walferry.stop()
    assert status == 0


@pytest.mark.parametrize("moment", ["Kafka answers again: delivering", "the outage log is drained"])
@both
def test_kafka_hangs_again(mode, moment, run, server, broker, database, slot_name, topic_prefix, task):
    """The slot goes on, whatever Kafka was being asked when it ceased to answer: about topics, what they take, their
    ends. librdkafka itself would wait a minute for some of these."""
    server.psql("".join(f"create table t{n} (id int primary key);" for n in range(12)), database)
    walferry, folder = make(task, run, mode, sink={"oversize": "dead-letter"}, outage_after="2s")
    start(walferry)

    def goes_on(rounds: int) -> None:
        for _ in range(rounds):
            load.go_on(30)
            server.wait_confirmed(slot_name, timeout=20)

    with CounterLoad(server, database) as load:
        load.go_on(50)
        server.wait_confirmed(slot_name)
        with broker.hung():
            walferry.wait_for_log("streaming into the outage log", timeout=30)
            for n in range(12):
                server.psql(f"insert into t{n} values (1)", database)
            goes_on(3)
        wait_until(lambda: moment in walferry.log(), moment, 60, interval=0)
        with broker.hung():
            goes_on(12)
        load.go_on(20)
    wait_until(lambda: not list(folder.glob("*.outage/*.segment")), "the log to be empty", 90)
    server.wait_confirmed(slot_name)
    assert load.check(broker, topic_prefix + "public.counters", ISOLATION[mode]) == 0
    assert walferry.stop() == 0

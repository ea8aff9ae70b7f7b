"""While Kafka is away, changes go to the outage log, the slot goes on, and nothing is lost or comes twice."""

import shutil

from outage_task import ISOLATION, both, hold, ids, make, start

from harness.run import wait_until
from harness.stream import CounterLoad, last_progress, log_lines


@both
def test_the_slot_goes_on_while_kafka_is_away(mode, run, server, broker, database, slot_name, topic_prefix, task):
    walferry, folder = make(task, run, mode)
    start(walferry)
    topic = topic_prefix + "public.counters"
    with CounterLoad(server, database) as load:
        load.go_on(50)
        broker.stop()
        try:
            walferry.wait_for_log("streaming into the outage log", timeout=30)
            load.go_on(100)
            server.wait_confirmed(slot_name)
            load.go_on(50)
            # Killed, and started with Kafka still away.
            walferry.kill()
            start(walferry, "streaming into the outage log")
            load.go_on(50)
            server.wait_confirmed(slot_name)
        finally:
            broker.start()
        walferry.wait_for_log("the outage log is drained", timeout=60)
        walferry.wait_for_log('"streaming"')
        load.go_on(50)
    server.wait_confirmed(slot_name)
    assert load.check(broker, topic, ISOLATION[mode]) == 0
    assert not list(folder.glob("*.outage/*.segment"))
    assert walferry.stop() == 0


@both
def test_killed_while_the_log_is_drained(mode, run, server, broker, database, slot_name, topic_prefix, task):
    server.psql("create table t (id int primary key, pad text)", database)
    walferry, _ = make(task, run, mode)
    start(walferry)
    server.psql("insert into t values (0, '')", database)
    server.wait_confirmed(slot_name)
    broker.stop()
    try:
        server.psql("insert into t values (1, '')", database)
        walferry.wait_for_log("streaming into the outage log", timeout=30)
        for first in range(2, 60002, 6000):
            server.psql(f"insert into t select n, repeat('x', 300) from generate_series({first}, {first + 5999}) n",
                        database)
        server.wait_confirmed(slot_name)
    finally:
        broker.start()
    walferry.wait_for_log("Kafka answers again: delivering", timeout=60)
    topic = topic_prefix + "public.t"
    wait_until(lambda: sum(broker.end_offsets(topic).values()) > 5000, "rows in Kafka", 30, interval=0)
    walferry.kill()
    start(walferry)
    server.psql("insert into t values (60002, '')", database)
    server.wait_confirmed(slot_name)
    assert ids(broker.consume(topic, ISOLATION[mode])) == list(range(60003))
    assert walferry.stop() == 0


def test_a_standby_without_the_log_confirms_nothing(run, server, broker, database, slot_name, topic_prefix, task):
    """It takes over in an outage; the one that has the log can still deliver it."""
    server.psql("create table t (id int primary key)", database)
    first, _ = make(task, run, "at-least-once")
    second, _ = make(task, run, "at-least-once")
    start(first)
    server.psql("insert into t values (0)", database)
    server.wait_confirmed(slot_name)
    broker.stop()
    try:
        server.psql("insert into t values (1)", database)
        first.wait_for_log("streaming into the outage log", timeout=30)
        server.wait_confirmed(slot_name)
        first.kill()
        confirmed = server.confirmed_lsn(slot_name)
        start(second, "streaming into the outage log")
        server.psql("insert into t values (2)", database)
        second.wait_for_log("Kafka is away: changes go to the outage log")
        assert server.confirmed_lsn(slot_name) == confirmed
    finally:
        broker.start()
    assert second.wait(60) == 5 and "WF4210" in second.log()
    start(first)
    server.wait_confirmed(slot_name)
    assert ids(broker.consume(topic_prefix + "public.t")) == [0, 1, 2]
    assert first.stop() == 0


def test_a_lost_log_is_told(run, server, broker, database, slot_name, topic_prefix, task):
    walferry, folder = hold(run, server, broker, database, slot_name, task)
    shutil.rmtree(folder)
    walferry.start()
    assert walferry.wait() == 5
    last = log_lines(walferry.log())[-1]["fields"]
    assert last["code"] == "WF4210" and last_progress(broker, slot_name)["spool"] in str(log_lines(walferry.log())[-1])
    assert ids(broker.consume(topic_prefix + "public.t")) in ([0], [0, 1])


def test_a_full_log_leaves_the_rest_to_the_server(run, server, broker, database, slot_name, topic_prefix, task):
    server.psql("create table t (id int primary key, pad text)", database)
    walferry, _ = make(task, run, "at-least-once", outage_size="64MB")
    start(walferry)
    broker.stop()
    try:
        server.psql("insert into t values (0, '')", database)
        walferry.wait_for_log("streaming into the outage log", timeout=30)
        for first in range(1, 15001, 500):
            server.psql(f"insert into t select n, repeat('x', 8000) from generate_series({first}, {first + 499}) n",
                        database)
        walferry.wait_for_log("the outage log is full", timeout=60)
        end = server.current_lsn()
        assert server.confirmed_lsn(slot_name) < end
    finally:
        broker.start()
    server.wait_confirmed(slot_name, end)
    assert ids(broker.consume(topic_prefix + "public.t")) == list(range(15001))
    assert walferry.stop() == 0


def test_a_transaction_larger_than_the_log(run, server, broker, database, slot_name, topic_prefix, task):
    server.psql("create table t (id int primary key, pad text)", database)
    walferry, _ = make(task, run, "at-least-once", outage_size="64MB")
    start(walferry)
    broker.stop()
    try:
        server.psql("insert into t values (0, '')", database)
        walferry.wait_for_log("streaming into the outage log", timeout=30)
        server.psql("insert into t values (1, '')", database)
        server.psql("insert into t select n, repeat('x', 8000) from generate_series(2, 12000) n", database)
        walferry.wait_for_log("the outage log is full", timeout=60)
    finally:
        broker.start()
    server.psql("insert into t values (12001, '')", database)
    server.wait_confirmed(slot_name)
    assert ids(broker.consume(topic_prefix + "public.t")) == list(range(12002))
    assert walferry.stop() == 0


def test_an_outage_needs_a_directory(run, task):
    walferry = task(spool={"outage": True}).start()
    assert walferry.wait() == 2
    assert "WF1007" in walferry.log() or "WF1006" in walferry.log()

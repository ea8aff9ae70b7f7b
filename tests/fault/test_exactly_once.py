"""Kafka's transactions under faults: their coordinator moves, their time runs out, their producer is fenced."""

import signal

from outcome import codes, started, stopped_well
from promise import Delivery, written

from harness.run import wait_until
from harness.stream import CounterLoad

EXACTLY_ONCE = Delivery("exactly-once")


def test_the_transaction_coordinator_moves(server, cluster, database, slot_name, topic_prefix, cluster_task):
    """Killed while transactions of both producers are committed all the time."""
    walferry = started(cluster_task, sink=EXACTLY_ONCE.sink(commit_interval="20ms"))
    topic = topic_prefix + "public.counters"
    producer = f"walferry-{slot_name}-0"
    with CounterLoad(server, database) as load:
        cluster.view.wait_records(topic, 200)
        killed = cluster.transaction_coordinator(producer)
        killed.kill()
        assert cluster.transaction_coordinator(producer) is not killed
        load.go_on(100)
        server.wait_confirmed(slot_name)
    server.wait_confirmed(slot_name)
    assert load.check(cluster.view, topic, "read_committed") == 0
    assert set(codes(walferry)) <= {"WF3016", "WF3017"} and stopped_well(walferry)


def test_a_coordinator_that_can_write_nothing(server, cluster, database, slot_name, topic_prefix, cluster_task):
    """Topics have their leader, but two of three brokers hang, and with them the coordinator or its copies: the log says
    that nothing goes on, and when it does again."""
    server.psql("create table t (id int primary key)", database)
    topic = topic_prefix + "public.t"
    for name in (topic, f"walferry.progress.{slot_name}"):
        cluster.create_topic_on(cluster.nodes[0], name)
    walferry = started(cluster_task, sink=EXACTLY_ONCE.sink(commit_interval="8s"))
    server.psql("insert into t values (1)", database)
    inserted = server.current_lsn()
    wait_until(lambda: written(cluster.view, topic) >= 1, "the row in an open transaction", 20)
    with cluster.nodes[1].hung(), cluster.nodes[2].hung():
        walferry.wait_for_log("kafka acknowledges nothing; waiting|WF3020", timeout=60)
        assert server.confirmed_lsn(slot_name) < inserted
    walferry.wait_for_log("kafka acknowledges again|kafka answers commits again", timeout=60)
    server.wait_confirmed(slot_name)
    assert EXACTLY_ONCE.ids(cluster.view, topic) == [1]
    assert set(codes(walferry)) <= {"WF3020"} and stopped_well(walferry)


def test_a_transaction_whose_time_runs_out(server, cluster, database, slot_name, topic_prefix, cluster_task):
    """The process stands still in an open transaction, until the coordinator ends it: nothing of it counts, and the
    process learns that when it goes on."""
    server.psql("create table t (id int primary key, pad text)", database)
    topic, view = topic_prefix + "public.t", cluster.view
    walferry = started(cluster_task, sink=EXACTLY_ONCE.sink(queue_bytes="1MB", kafka={"linger.ms": 100,
                                                            "transaction.timeout.ms": 6000}))
    server.psql("insert into t select n, repeat('x', 300) from generate_series(1, 20000) n", database)
    wait_until(lambda: written(view, topic) > 1000, "some rows of the transaction", 30)
    walferry.process.send_signal(signal.SIGSTOP)
    stopped_at = written(view, topic)
    assert view.end_offsets(topic, "read_committed") == {0: 0}, "the transaction was over too soon for this test"
    wait_until(lambda: view.end_offsets(topic, "read_committed")[0] == written(view, topic) > stopped_at,
               "the transaction to end", 30)
    walferry.process.send_signal(signal.SIGCONT)
    server.wait_confirmed(slot_name)
    assert EXACTLY_ONCE.ids(view, topic) == list(range(1, 20001))
    # Which of its calls Kafka refuses first is a matter of chance.
    assert {"WF3012", "WF3016"} & set(codes(walferry)) and stopped_well(walferry)


def test_a_commit_interval_longer_than_a_transaction_may_last(server, cluster, database, slot_name, topic_prefix,
                                                              cluster_task):
    """The shorter of the two holds, also while the task is behind: else each transaction is ended by Kafka, and begun
    again for ever."""
    server.psql("create table t (id int primary key)", database)
    walferry = started(cluster_task, sink=EXACTLY_ONCE.sink(commit_interval="10s",
                                                            kafka={"transaction.timeout.ms": 3000}))
    server.psql("insert into t select generate_series(1, 10)", database)
    server.wait_confirmed(slot_name, timeout=20)
    assert EXACTLY_ONCE.ids(cluster.view, topic_prefix + "public.t") == list(range(1, 11))
    assert codes(walferry) == [] and stopped_well(walferry)


def test_a_producer_fenced_in_the_middle_of_a_transaction(server, broker, database, slot_name, topic_prefix, task):
    """Somebody else takes both transactional ids while a large transaction of the source is on its way."""
    server.psql("create table t (id int primary key, pad text)", database)
    topic = topic_prefix + "public.t"
    walferry = started(task, sink=EXACTLY_ONCE.sink(queue_bytes="1MB", kafka={"linger.ms": 100}))
    server.psql("insert into t select n, repeat('x', 300) from generate_series(1, 20000) n", database)
    wait_until(lambda: written(broker, topic) > 1000, "some rows of the transaction", 30)
    for producer in (0, 1):
        broker.fence(f"walferry-{slot_name}-{producer}")
    walferry.wait_for_log('"code":"WF3016"')
    server.wait_confirmed(slot_name)
    assert EXACTLY_ONCE.ids(broker, topic) == list(range(1, 20001)) and stopped_well(walferry)


def test_killed_in_an_open_transaction(server, broker, database, slot_name, topic_prefix, task):
    """One that may last a quarter of an hour: the next start ends it, so that readers need not wait for that."""
    server.psql("create table t (id int primary key)", database)
    topic = topic_prefix + "public.t"
    walferry = started(task, sink=EXACTLY_ONCE.sink(commit_interval="10s", kafka={"transaction.timeout.ms": 900000}))
    server.psql("insert into t select generate_series(1, 10)", database)
    wait_until(lambda: written(broker, topic) >= 10, "the rows in an open transaction", 20)
    walferry.kill()
    server.psql("insert into t select generate_series(11, 20)", database)
    walferry.start()
    server.wait_confirmed(slot_name)
    assert EXACTLY_ONCE.ids(broker, topic) == list(range(1, 21)) and stopped_well(walferry)

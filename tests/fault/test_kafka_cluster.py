"""Three brokers: leaders move, copies fall out, the whole cluster goes and comes back."""

from outcome import codes, ended, slow, started, stopped_well
from promise import at_least_once, row_ids

from harness.run import wait_until
from harness.stream import CounterLoad, assert_ordered, log_lines


def test_a_leader_killed_under_load(server, cluster, database, slot_name, topic_prefix, cluster_task, delivery):
    walferry = started(cluster_task, sink=delivery.sink())
    topic = topic_prefix + "public.counters"
    with CounterLoad(server, database) as load:
        cluster.view.wait_records(topic, 200)
        killed = cluster.leader(topic)
        killed.kill()
        assert cluster.leader(topic) is not killed
        load.go_on(100)
        server.wait_confirmed(slot_name)  # with one broker of three away
        cluster.start()
    server.wait_confirmed(slot_name)
    assert delivery.repeats(load, cluster.view, topic) == 0 and codes(walferry) == [] and stopped_well(walferry)


@at_least_once
def test_leaders_that_move_to_and_fro(server, cluster, database, slot_name, topic_prefix, cluster_task, delivery):
    """Shut down and started again, as for an upgrade; then the leaderships are handed back under load."""
    walferry = started(cluster_task, sink=delivery.sink(topic_partitions=3))
    topic = topic_prefix + "public.counters"
    with CounterLoad(server, database) as load:
        cluster.view.wait_records(topic, 200)
        cluster.hand_back_leaderships()
        first = cluster.leader(topic)
        first.stop()
        load.go_on(50)
        assert cluster.leader(topic) is not first
        first.start()
        cluster.wait_in_sync([topic])
        cluster.hand_back_leaderships()
        wait_until(lambda: cluster.leader(topic) is first, "the leadership to come back", 30)
        load.go_on(50)
    server.wait_confirmed(slot_name)
    assert delivery.repeats(load, cluster.view, topic) == 0 and codes(walferry) == [] and stopped_well(walferry)


def test_two_of_three_brokers_killed(server, cluster, database, slot_name, topic_prefix, cluster_task, delivery):
    """Neither copies enough nor a quorum: nothing is confirmed, and the one that is left takes nothing."""
    walferry = started(cluster_task, sink=delivery.sink())
    server.psql("create table t (id int primary key)", database)
    topic = topic_prefix + "public.t"
    server.psql("insert into t select generate_series(1, 100)", database)
    before = server.wait_confirmed(slot_name)
    for node in cluster.followers(topic):
        node.kill()
    server.psql("insert into t select generate_series(101, 200)", database)
    end = server.current_lsn()
    # Ten seconds without any acknowledgement are worth a line.
    warning = walferry.wait_for_log(r'\{[^\n]*"msg":"kafka acknowledges nothing; waiting"[^\n]*\}')
    assert log_lines(warning[0])[0]["level"] == "warning" and walferry.running()
    assert before <= server.confirmed_lsn(slot_name) < end
    cluster.start()
    server.wait_confirmed(slot_name)
    assert delivery.ids(cluster.view, topic) == list(range(1, 201))
    assert codes(walferry) == [] and stopped_well(walferry)


@at_least_once
def test_too_few_copies_for_longer_than_the_window(server, cluster, database, slot_name, topic_prefix, cluster_task,
                                                   delivery):
    """The quorum is there, so the leader refuses: it is told how, and a later start goes on."""
    server.psql("create table t (id int primary key)", database)
    topic = topic_prefix + "public.t"
    cluster.view.create_topic(topic, replication=3, config={"min.insync.replicas": "3"})
    walferry = started(cluster_task, sink=delivery.sink(), retry={"connection_window": "1s"})
    server.psql("insert into t select generate_series(1, 100)", database)
    before = server.wait_confirmed(slot_name)
    cluster.followers(topic)[0].kill()
    wait_until(lambda: cluster.in_sync(topic) == 2, "the copy to fall out", 30)
    server.psql("insert into t select generate_series(101, 200)", database)
    end = server.current_lsn()
    status, code, last = ended(walferry)
    assert (status, code) == (4, "WF3019") and "retry.connection_window" in last["fields"]["remedy"]
    assert before <= server.confirmed_lsn(slot_name) < end
    cluster.start()
    walferry.start()
    server.wait_confirmed(slot_name)
    assert delivery.ids(cluster.view, topic) == list(range(1, 201)) and stopped_well(walferry)


@slow
def test_all_brokers_killed_and_started_again(server, cluster, database, slot_name, topic_prefix, cluster_task,
                                              delivery):
    walferry = started(cluster_task, sink=delivery.sink(topic_partitions=3))
    topic = topic_prefix + "public.counters"
    with CounterLoad(server, database) as load:
        cluster.view.wait_records(topic, 200)
        cluster.stop()
        walferry.wait_for_log("all brokers are down")
        load.go_on(50)
        cluster.start()
        load.go_on(50)
    server.wait_confirmed(slot_name)
    assert delivery.repeats(load, cluster.view, topic) == 0 and codes(walferry) == [] and stopped_well(walferry)


@slow
def test_no_controller_for_a_while(server, cluster, database, slot_name, topic_prefix, cluster_task):
    """Without a quorum of controllers a new table's topic cannot be made: that is waited for, and told."""
    server.psql("create table t (id int primary key)", database)
    walferry = started(cluster_task)
    for node in cluster.nodes[1:]:
        node.kill()
    server.psql("insert into t select generate_series(1, 10)", database)
    end = server.current_lsn()
    walferry.wait_for_log('"code":"WF3002"', timeout=60)
    cluster.start()
    server.wait_confirmed(slot_name, end)
    records = cluster.view.consume(topic_prefix + "public.t")
    assert_ordered(records)
    assert row_ids(records) == list(range(1, 11)) and stopped_well(walferry)

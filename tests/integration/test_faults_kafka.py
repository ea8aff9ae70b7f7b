"""Kafka fails in mid-stream: every change still arrives, in order per key, and a repeat is told by its position."""

from harness.proxy import Proxy
from harness.run import wait_until
from harness.stream import CounterLoad, assert_ordered, log_lines, without_repeats


def start(task, **changes):
    walferry = task(retry={"max_delay": "500ms"}, **changes).start()
    walferry.wait_for_log('"streaming"')
    return walferry


def warnings(walferry):
    return [line for line in log_lines(walferry.log()) if line["level"] in ("warning", "error")]


def test_a_broker_killed_under_load_and_brought_back(server, broker, database, slot_name, topic_prefix, task):
    walferry = start(task)
    topic = topic_prefix + "public.counters"
    with CounterLoad(server, database) as load:
        broker.wait_records(topic, 500)
        broker.kill()
        load.go_on(300)
        walferry.wait_for_log("all brokers are down")
        broker.start()
        load.go_on(300)
    server.wait_confirmed(slot_name)
    repeats = load.check(broker, topic)
    print(f"{load.committed} transactions, {repeats} repeats")
    # librdkafka's idempotence does without any: nothing was lost in between, so nothing was sent anew.
    assert repeats == 0 and walferry.stop() == 0
    assert [line for line in warnings(walferry) if "remedy" in line.get("fields", {})] == []


def test_a_broker_shut_down_and_started_again(server, broker, database, slot_name, topic_prefix, task):
    walferry = start(task)
    topic = topic_prefix + "public.counters"
    with CounterLoad(server, database) as load:
        broker.wait_records(topic, 100)
        broker.restart()
        load.go_on(100)
    server.wait_confirmed(slot_name)
    assert load.check(broker, topic) == 0 and walferry.stop() == 0


def test_a_broker_away_at_the_start(server, broker, database, slot_name, topic_prefix, task):
    server.psql("create table t (id int primary key)", database)
    broker.kill()
    walferry = task(retry={"max_delay": "500ms"}).start()
    walferry.wait_for_log("Connection refused")
    assert walferry.stop(timeout=8) == 0, "a stop while waiting for Kafka"
    walferry.start()
    walferry.wait_for_log("Connection refused")
    # Before Kafka is known to be there nothing is left on the server that would hold its WAL.
    assert server.confirmed_lsn(slot_name) is None
    broker.start()
    walferry.wait_for_log('"streaming"')
    server.psql("insert into t values (1)", database)
    server.wait_confirmed(slot_name)
    assert len(broker.consume(topic_prefix + "public.t")) == 1 and walferry.stop() == 0


def test_a_stop_while_kafka_is_away_is_bounded_and_says_what_is_missing(server, broker, database, slot_name,
                                                                        topic_prefix, task):
    server.psql("create table t (id int primary key)", database)
    walferry = start(task, shutdown={"timeout": "1s"})
    server.psql("insert into t values (1)", database)
    server.wait_confirmed(slot_name)
    broker.kill()
    before = server.current_lsn()
    server.psql("insert into t select generate_series(2, 100)", database)
    end = server.current_lsn()
    received = "select write_lsn >= %s::pg_lsn from pg_stat_replication where application_name = %s"
    parameters = f"{end >> 32:X}/{end & 0xFFFFFFFF:X}", f"walferry-{slot_name}"
    wait_until(lambda: server.query(received, parameters) == [(True,)], "the rows to be with the shipper", 20)
    walferry.wait_for_log("all brokers are down")
    assert walferry.stop(timeout=15) == 4
    last = log_lines(walferry.log())[-1]
    assert last["fields"]["code"] == "WF3015" and "99 messages" in last["msg"]
    assert server.confirmed_lsn(slot_name) <= before
    broker.start()
    walferry.start()
    server.wait_confirmed(slot_name)
    records, repeats = without_repeats(broker.consume(topic_prefix + "public.t"))
    assert len(records) == 100 and repeats == 0 and walferry.stop() == 0


def test_a_hung_broker_does_not_cost_the_connection_to_the_server(server, broker, database, slot_name, topic_prefix,
                                                                  task):
    """Stopped for longer than wal_sender_timeout, with the queue full, so that nothing is read from the server."""
    server.psql(f"alter database {database} set wal_sender_timeout = '2s';"
                "create table t (id int primary key, pad text)", database)
    walferry = start(task, sink={"queue_bytes": "1MB"})
    topic = topic_prefix + "public.t"
    server.psql("insert into t values (0, '')", database)
    broker.wait_records(topic, 1)
    pid = server.walsender_pid(slot_name)
    with broker.hung():
        server.psql("insert into t select n, repeat(md5(n::text), 30) from generate_series(1, 30000) n", database)

        def replies(since):
            return server.query("select reply_time > %s::timestamptz + interval '3 s' from pg_stat_replication "
                                "where pid = %s", (since, pid)) == [(True,)]

        now = server.query("select now()")[0][0]
        wait_until(lambda: replies(now), "replies for longer than wal_sender_timeout", 20)
    server.wait_confirmed(slot_name)
    assert server.walsender_pid(slot_name) == pid
    records, repeats = without_repeats(broker.consume(topic))
    assert [int(record.json["data"][0]["id"]) for record in records] == list(range(30001)) and repeats == 0
    assert walferry.stop() == 0


def test_a_hung_broker_and_a_connection_lost_meanwhile(server, broker, database, slot_name, topic_prefix, task):
    """The connection to the server ends while a change waits for room in the full queue: it is neither lost nor counted."""
    server.psql("create table t (id int primary key, pad text)", database)
    topic = topic_prefix + "public.t"
    # A walsender whose client does not read cannot be ended from the server's side: the connection is cut in between.
    with Proxy(server.port) as proxy:
        walferry = start(task, source={"dsn": proxy.dsn(server, database)}, sink={"queue_bytes": "1MB"})
        server.psql("insert into t values (0, '')", database)
        broker.wait_records(topic, 1)
        with broker.hung():
            server.psql("insert into t select n, repeat(md5(n::text), 30) from generate_series(1, 30000) n", database)
            server.wait_walsender_blocked(slot_name)
            proxy.cut()
            walferry.wait_for_log('"trying again"')
        server.wait_confirmed(slot_name)
        records, repeats = without_repeats(broker.consume(topic))
        assert [int(record.json["data"][0]["id"]) for record in records] == list(range(30001)) and repeats == 0
        assert walferry.stop() == 0


def test_the_way_to_kafka_cut_again_and_again(server, guarded_kafka, database, slot_name, topic_prefix, task):
    proxy, broker = guarded_kafka.proxy, guarded_kafka.broker
    walferry = start(task, sink={"brokers": guarded_kafka.proxied})
    topic = topic_prefix + "public.counters"
    with CounterLoad(server, database) as load:
        broker.wait_records(topic, 100)
        for _ in range(5):
            proxy.cut()
            load.go_on(60)
        proxy.stall()
        proxy.cut()
        load.go_on(60)
        proxy.flow()
        load.go_on(60)
    server.wait_confirmed(slot_name)
    assert load.check(broker, topic) == 0 and walferry.stop() == 0


def test_a_topic_deleted_in_mid_stream_is_made_again(server, broker, database, slot_name, topic_prefix, task):
    server.psql("create table t (id int primary key); create table other (id int primary key)", database)
    walferry = start(task, sink={"kafka": {"topic.metadata.propagation.max.ms": 500,
                                           "topic.metadata.refresh.interval.ms": 500}})
    topic = topic_prefix + "public.t"
    server.psql("insert into t values (1); insert into other values (1)", database)
    server.wait_confirmed(slot_name)
    broker.delete_topic(topic)
    server.psql("insert into t select generate_series(2, 500); insert into other values (2)", database)
    walferry.wait_for_log("WF3007", timeout=60)
    server.wait_confirmed(slot_name)
    records, _ = without_repeats(broker.consume(topic))
    assert [int(record.json["data"][0]["id"]) for record in records] == list(range(2, 501))
    others, _ = without_repeats(broker.consume(topic_prefix + "public.other"))
    assert len(others) == 2 and walferry.stop() == 0


def test_a_topic_deleted_where_none_may_be_made(server, broker, database, slot_name, topic_prefix, task):
    server.psql("create table t (id int primary key)", database)
    topic = topic_prefix + "public.t"
    broker.create_topic(topic)
    broker.create_progress_topic(slot_name)
    walferry = start(task, sink={"create_topics": False, "kafka": {"topic.metadata.propagation.max.ms": 500,
                                                                   "topic.metadata.refresh.interval.ms": 500}})
    server.psql("insert into t values (1)", database)
    confirmed = server.wait_confirmed(slot_name)
    broker.delete_topic(topic)
    server.psql("insert into t values (2)", database)
    lsn = server.current_lsn()
    assert walferry.wait(timeout=60) == 4
    last = log_lines(walferry.log())[-1]["fields"]
    assert last["code"] == "WF3006" and "kafka-topics.sh" in last["remedy"] and topic in last["remedy"]
    assert confirmed <= server.confirmed_lsn(slot_name) < lsn
    broker.create_topic(topic)
    walferry.start()
    server.wait_confirmed(slot_name)
    records = broker.consume(topic)
    assert [record.json["data"][0]["id"] for record in records] == ["2"] and walferry.stop() == 0
    assert_ordered(records)

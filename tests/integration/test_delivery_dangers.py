import pytest

from harness.run import wait_until
from harness.stream import last_progress, log_lines

from test_delivery import both, ids, make, start, start_again, ISOLATION


@both
def test_a_table_left_out_after_its_row_has_stopped_the_task(mode, server, broker, database, slot_name, topic_prefix,
                                                             task):
    """The error says to leave the table out until the row is passed."""
    server.psql("create table t (id int primary key); create table big (id int primary key, flags bool[])", database)
    walferry = start(task, mode)
    server.psql("insert into t values (1)", database)
    server.wait_confirmed(slot_name)
    server.psql("insert into big values (1, array_fill(true, array[6000000]))", database)
    assert walferry.wait(60) == 5
    print(last_progress(broker, slot_name))
    again = make(task, mode, source={"tables": ["public.*", "!public.big"]})
    start_again(again)
    server.psql("insert into t values (2)", database)
    wait_until(lambda: not again.running() or len(broker.consume(topic_prefix + "public.t", ISOLATION[mode])) == 2, "row 2", 20)
    print(again.log()[-3000:])
    server.wait_confirmed(slot_name, timeout=20)
    assert ids(broker.consume(topic_prefix + "public.t", ISOLATION[mode])) == [1, 2]
    assert again.stop() == 0


def test_a_transaction_of_another_producer_hides_the_tail_for_a_while(server, broker, database, slot_name, topic_prefix, task):
    """The reader waits for it, at most the request timeout."""
    import threading
    from confluent_kafka import Producer
    server.psql("create table t (id int primary key)", database)
    walferry = start(task, "at-least-once")
    topic = topic_prefix + "public.t"
    server.psql("insert into t values (0)", database)
    server.wait_confirmed(slot_name)
    other = Producer({"bootstrap.servers": broker.brokers, "transactional.id": slot_name + "-other"})
    other.init_transactions(30)
    other.begin_transaction()
    other.produce(topic, b"{}", b"k")
    assert other.flush(30) == 0
    # Rows behind it; the slot is not told of them, since the progress record is held back.
    import os, signal
    server.psql("insert into t select generate_series(1, 300)", database)
    wait_until(lambda: sum(broker.end_offsets(topic).values()) >= 302, "rows in Kafka", 30, interval=0)
    walferry.kill()
    print("progress", last_progress(broker, slot_name)["position"])
    walferry.start()
    walferry.wait_for_log('"streaming"|stays open|looked at', 60)
    timer = threading.Timer(3, lambda: other.commit_transaction(30))
    timer.start()
    walferry.wait_for_log('"streaming"', 60)
    server.psql("insert into t values (301)", database)
    timer.join()
    server.wait_confirmed(slot_name)
    found = [int(r.json["data"][0]["id"]) for r in broker.consume(topic, "read_uncommitted") if r.json.get("data")]
    print(walferry.log()[-2500:])
    assert found == list(range(302)), f"{len(found)} records of 302 rows"


def test_a_start_with_many_topics_keeps_its_connection(server, broker, database, slot_name, topic_prefix, task):
    """The tails of all topics of the record are looked at while the slot is held."""
    server.psql("select format('create table t%s (id int primary key)', n) from generate_series(1, 500) n \\gexec", database)
    walferry = start(task, "at-least-once", source={"takeover_timeout": "2s"})
    server.psql("select format('insert into t%s values (1)', n) from generate_series(1, 500) n \\gexec", database)
    server.wait_confirmed(slot_name, timeout=100)
    server.psql("insert into t1 values (2)", database)
    server.wait_confirmed(slot_name)
    server.psql("insert into t1 values (3)", database)
    server.wait_confirmed(slot_name)
    walferry.kill()
    walferry.start()
    try:
        walferry.wait_for_log('"streaming"', 30)
    finally:
        print(walferry.log()[-3000:])
    assert "trying again" not in walferry.log()

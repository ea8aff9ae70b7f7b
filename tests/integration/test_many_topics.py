"""How soon a start knows what stands in the topics: many of them, and a long tail. A standby has to be at work before the
server's patience with the slot's last reader has passed twice (`source.takeover_timeout`, 4 s)."""

from concurrent.futures import wait
from datetime import datetime

from confluent_kafka import Producer
from confluent_kafka.admin import NewTopic

from harness.run import wait_until
from harness.stream import last_progress, log_lines

TAKEOVER_S = 4.0


def doctor(broker, task, **changes):
    """Writes a progress record that says something else."""
    record = {**last_progress(broker, task), **changes}
    record["epoch"] += 1
    broker.produce(f"walferry.progress.{task}", f"{task}/{record['epoch']}", record)


def stopped(walferry, server, slot_name):
    server.wait_confirmed(slot_name)
    assert walferry.stop() == 0


def start(walferry):
    walferry.start()
    walferry.wait_for_log('"streaming"', 60)


def create(broker, names):
    futures = broker.admin.create_topics([NewTopic(name, num_partitions=1) for name in names], operation_timeout=60,
                                         request_timeout=90)
    assert not wait(futures.values(), 120).not_done
    wait_until(lambda: set(names) <= set(broker.topics()), "the topics", 60)


def delete(broker, names):
    futures = broker.admin.delete_topics(names, operation_timeout=60, request_timeout=90)
    assert not wait(futures.values(), 120).not_done


def tail_read(walferry):
    """Number of records and seconds, from the line before the tails are read to the one after."""
    lines = {line["msg"].split()[0] + " " + line["msg"].split()[1]: line for line in log_lines(walferry.log())
             if " " in line["msg"]}
    begun, ended = lines["using the"], lines["kafka: looked"]
    seconds = [datetime.fromisoformat(line["ts"].replace("Z", "+00:00")).timestamp() for line in (begun, ended)]
    return int(ended["msg"].split()[3]), seconds[1] - seconds[0]


def test_the_tails_of_a_thousand_topics(server, broker, database, slot_name, topic_prefix, task):
    walferry = task()
    start(walferry)
    server.psql("create table t (id int primary key); insert into t values (1)", database)
    stopped(walferry, server, slot_name)
    names = [f"{slot_name}-many-{number}" for number in range(1000)]
    create(broker, names)
    try:
        producer = Producer({"bootstrap.servers": broker.brokers})
        for name in names:
            for _ in range(2):
                producer.produce(name, b"not ours")
        assert producer.flush(60) == 0
        doctor(broker, slot_name, offsets={name: [[0, 0]] for name in names})
        found = []
        for _ in range(3):  # what is not written to keeps its offset
            start(walferry)
            found.append(tail_read(walferry))
            stopped(walferry, server, slot_name)
    finally:
        delete(broker, names)
    assert [records for records, _ in found] == [2 * len(names)] * 3
    assert min(seconds for _, seconds in found) < TAKEOVER_S


def test_topics_that_the_record_does_not_name(server, broker, database, slot_name, topic_prefix, task):
    """Each is looked at when it is first written to."""
    tables = [f"t{number}" for number in range(60)]
    server.psql(";".join(f"create table {table} (id int primary key)" for table in tables), database)

    def rows(number):
        for table in tables:
            server.psql(f"insert into {table} values ({number})", database)

    walferry = task()
    start(walferry)
    rows(1)
    stopped(walferry, server, slot_name)
    rows(2)
    doctor(broker, slot_name, offsets={})
    walferry.start()
    walferry.wait_for_log('"streaming"', 60)
    server.wait_confirmed(slot_name, timeout=TAKEOVER_S)
    assert walferry.stop() == 0
    for table in tables:
        assert [record.json["data"][0]["id"] for record in broker.consume(topic_prefix + "public." + table)] == ["1", "2"]


def test_a_tail_that_takes_little_room_in_kafka(server, broker, database, slot_name, topic_prefix, task):
    """Records that compress well come in large numbers at once: more than may wait to be looked at."""
    rows = 400_000
    server.psql("create table t (id int primary key, pad text)", database)
    walferry = task()
    start(walferry)
    server.psql(f"insert into t select n, repeat('x', 400) from generate_series(1, {rows}) n", database)
    server.wait_confirmed(slot_name, timeout=120)
    assert walferry.stop() == 0
    doctor(broker, slot_name, offsets={topic_prefix + "public.t": [[0, 0]]})
    start(walferry)
    records, seconds = tail_read(walferry)
    stopped(walferry, server, slot_name)
    assert records == rows
    assert seconds < TAKEOVER_S

"""A topic, a right or a quota changes under the running shipper; a broker's disk is full."""

import os
import subprocess

import pytest
from outcome import codes, ended, producer_replaced, started, stopped_well
from promise import at_least_once, row_ids

from harness import Kafka
from harness.guarded_kafka import PASSWORD, USER
from harness.run import wait_until
from harness.stream import assert_ordered, position, without_repeats

# What librdkafka knows about topics is half a second old at most.
FRESH_METADATA = {"topic.metadata.propagation.max.ms": 500, "topic.metadata.refresh.interval.ms": 500}


def test_partitions_added_while_running(server, broker, database, slot_name, topic_prefix, task, delivery):
    """Rows go on to the partitions that their keys then have; those that were sent stay where they are."""
    server.psql("create table t (id int primary key)", database)
    topic = topic_prefix + "public.t"
    broker.create_topic(topic)
    walferry = started(task, sink=delivery.sink(kafka=FRESH_METADATA))
    server.psql("insert into t select generate_series(1, 100)", database)
    server.wait_confirmed(slot_name)
    broker.add_partitions(topic, 4)
    sent = 100

    def all_used():
        nonlocal sent
        server.psql(f"insert into t select generate_series({sent + 1}, {sent + 20})", database)
        sent += 20
        server.wait_confirmed(slot_name)
        return len([end for end in broker.end_offsets(topic).values() if end > 0]) == 4

    wait_until(all_used, "rows in each of the partitions", 30, interval=0.1)
    records = delivery.consume(broker, topic)
    assert_ordered(records)
    assert sorted(row_ids(records)) == list(range(1, sent + 1))
    assert len({position(record) for record in records}) == sent
    assert codes(walferry) == [] and stopped_well(walferry)


def test_a_topic_made_anew_by_somebody_else(server, broker, database, slot_name, topic_prefix, task, delivery):
    """With other partitions. What the old one held is gone with it; nothing after that is, and nothing comes twice."""
    server.psql("create table t (id int primary key)", database)
    topic = topic_prefix + "public.t"
    broker.create_topic(topic, partitions=3)
    walferry = started(task, sink=delivery.sink(kafka=FRESH_METADATA))
    server.psql("insert into t select generate_series(1, 100)", database)
    server.wait_confirmed(slot_name)
    broker.delete_topic(topic)
    broker.create_topic(topic, partitions=2)
    server.psql("insert into t select generate_series(101, 200)", database)
    server.wait_confirmed(slot_name)
    server.psql("insert into t select generate_series(201, 300)", database)
    server.wait_confirmed(slot_name)
    records, repeats = without_repeats(delivery.consume(broker, topic))
    assert sorted(row_ids(records)) == list(range(101, 301))
    assert repeats == 0 or producer_replaced(walferry)
    assert walferry.stop() == 0


def test_a_topic_deleted_while_the_shipper_is_down(server, broker, database, slot_name, topic_prefix, task, delivery):
    """Where the shipper's last progress points is nothing any more: it must not look for its records there."""
    server.psql("create table t (id int primary key); create table other (id int primary key)", database)
    topic = topic_prefix + "public.t"
    walferry = started(task, sink=delivery.sink())
    server.psql("insert into t select generate_series(1, 100); insert into other values (1)", database)
    server.wait_confirmed(slot_name)
    walferry.kill()
    broker.delete_topic(topic)
    server.psql("insert into t select generate_series(101, 110); insert into other values (2)", database)
    walferry.start()
    server.wait_confirmed(slot_name)
    assert set(delivery.ids(broker, topic)) >= set(range(101, 111))
    assert delivery.ids(broker, topic_prefix + "public.other") == [1, 2] and stopped_well(walferry)


def test_a_right_withdrawn_and_given_back(server, guarded_kafka, database, slot_name, topic_prefix, task, delivery):
    server.psql("create table t (id int primary key)", database)
    topic, broker = topic_prefix + "public.t", guarded_kafka.broker
    delivery.allow(guarded_kafka, slot_name, topic)
    login = {"security.protocol": "SASL_PLAINTEXT", "sasl.mechanism": "PLAIN", "sasl.username": USER,
             "sasl.password": PASSWORD}
    walferry = started(task, sink=delivery.sink(brokers=guarded_kafka.sasl, kafka=login))
    server.psql("insert into t select generate_series(1, 100)", database)
    before = server.wait_confirmed(slot_name)
    guarded_kafka.withdraw(topic)
    server.psql("insert into t select generate_series(101, 200)", database)
    end = server.current_lsn()
    status, code, last = ended(walferry)
    assert (status, code) == (4, "WF3008") and topic in last["msg"] and "kafka-acls.sh" in last["fields"]["remedy"]
    assert before <= server.confirmed_lsn(slot_name) < end
    delivery.allow(guarded_kafka, slot_name, topic)
    walferry.start()
    server.wait_confirmed(slot_name)
    assert delivery.ids(broker, topic) == list(range(1, 201)) and stopped_well(walferry)


def test_a_quota_slows_and_loses_nothing(server, broker, database, slot_name, topic_prefix, task):
    """50 kB/s, which the broker enforces by answering late, and by not reading meanwhile."""
    server.psql("create table t (id int primary key, pad text)", database)
    topic = topic_prefix + "public.t"
    walferry = started(task, sink={"queue_bytes": "1MB", "kafka": {"compression.type": "none", "batch.size": 20000}})
    quota = ("kafka.admin.ConfigCommand", "--bootstrap-server", broker.brokers, "--alter", "--entity-type", "clients",
             "--entity-default")
    broker.tool(*quota, "--add-config", "producer_byte_rate=50000")
    try:
        before = server.confirmed_lsn(slot_name)
        server.psql("insert into t select n, repeat('x', 500) from generate_series(1, 1500) n", database)
        broker.wait_records(topic, 100)
        held = server.confirmed_lsn(slot_name)
    finally:
        broker.tool(*quota, "--delete-config", "producer_byte_rate")
    server.wait_confirmed(slot_name)
    records = broker.consume(topic)
    assert_ordered(records)
    assert row_ids(records) == list(range(1, 1501)) and before <= held
    assert codes(walferry) == [] and stopped_well(walferry)


@pytest.fixture
def small_disk(run):
    """A file system of 48 MB in the run's folder."""
    folder = run.subfolder("disk")
    mount = ["mount", "-t", "tmpfs", "-o", "size=48m,mode=755", "walferry-tests", str(folder)]
    if os.geteuid() != 0 or subprocess.run(mount, capture_output=True, check=False).returncode != 0:
        pytest.skip("only root can mount a small file system")
    unmounted = []

    def unmount():
        if not unmounted:
            unmounted.append(subprocess.run(["umount", "--lazy", str(folder)], check=True))

    run.at_close(unmount)
    yield folder
    unmount()


@at_least_once
def test_a_brokers_disk_is_full(run, small_disk, server, database, slot_name, topic_prefix, task, delivery):
    """The broker gives up its only disk and ends; with room again it goes on, and so does the shipper."""
    broker = Kafka(run, {"log.dirs": small_disk / "data", "log.segment.bytes": 4194304,
                         "log.index.size.max.bytes": 65536}, heap="256m").start()
    server.psql("create table t (id int primary key, pad text)", database)
    walferry = started(task, sink=delivery.sink(brokers=broker.brokers))
    topic = topic_prefix + "public.t"
    server.psql("insert into t select n, 'x' from generate_series(1, 100) n", database)
    before = server.wait_confirmed(slot_name)
    ballast = small_disk / "ballast"
    with ballast.open("wb") as file, pytest.raises(OSError, match="No space left"):
        while True:
            file.write(b"x" * 65536)
            file.flush()
    server.psql("insert into t select n, md5(n::text) || md5((-n)::text) from generate_series(101, 20000) n", database)
    end = server.current_lsn()
    wait_until(lambda: not broker.running(), "the broker to end", 60)
    assert walferry.running() and before <= server.confirmed_lsn(slot_name) < end
    ballast.unlink()
    broker.start()
    server.wait_confirmed(slot_name)
    assert delivery.ids(broker, topic) == list(range(1, 20001))
    assert codes(walferry) == [] and stopped_well(walferry)
    broker.kill()

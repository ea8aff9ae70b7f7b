"""Kafka is not as the task file says: each time a code, what to do, an exit status, and nothing lost."""

import pytest
from confluent_kafka.admin import AclOperation

from harness.guarded_kafka import PASSWORD, USER
from harness.run import free_port
from harness.stream import log_lines

NO_RETRY = {"connection_window": "0ms", "other_window": "0ms"}


def ended(walferry, timeout=60.0):
    """Exit status and the fields of the last line of a command that ends by itself."""
    status = walferry.wait(timeout)
    last = log_lines(walferry.log())[-1]
    assert last["level"] == "error" and last["fields"]["remedy"]
    return status, last["fields"]["code"], last["msg"], last["fields"]


def sasl(password=PASSWORD, mechanism="PLAIN"):
    return {"security.protocol": "SASL_PLAINTEXT", "sasl.mechanism": mechanism, "sasl.username": USER,
            "sasl.password": password}


@pytest.mark.parametrize("properties", [sasl(password="wrong-one"), sasl(mechanism="SCRAM-SHA-256")])
def test_a_login_that_kafka_refuses(properties, server, guarded_kafka, database, slot_name, task):
    walferry = task(sink={"brokers": guarded_kafka.sasl, "kafka": properties}).start()
    status, code, message, fields = ended(walferry)
    assert (status, code) == (4, "WF3003") and guarded_kafka.sasl in message and "sasl.password" in fields["remedy"]
    assert "wrong-one" not in walferry.log()
    assert server.confirmed_lsn(slot_name) is None


def test_brokers_that_cannot_be_reached(server, broker, guarded_kafka, database, slot_name, task):
    """At once, since each waits for as long as a broker may take to answer."""
    refusing = f"127.0.0.1:{free_port()}"
    trusting = {"security.protocol": "SSL", "ssl.ca.location": str(guarded_kafka.certificate)}
    cases = {
        "nobody listens": (refusing, {}, "WF3002", "Connection refused", "sink.brokers"),
        "no such name": ("no-such-host.invalid:9092", {}, "WF3002", "no-such-host.invalid", "sink.brokers"),
        "no broker": (f"127.0.0.1:{server.port}", {}, "WF3002", "", "sink.brokers"),
        "no login": (guarded_kafka.sasl, {}, "WF3002", "", "security.protocol"),
        "not trusted": (guarded_kafka.tls, {"security.protocol": "SSL"}, "WF3004", "certificate", "ssl.ca.location"),
        "no tls there": (broker.brokers, trusting, "WF3002", "", "must not have it"),
        "tls there": (guarded_kafka.tls, {}, "WF3002", "", "security.protocol"),
    }
    started = {name: task(name=f"{slot_name}_{number}", retry=NO_RETRY,
                          sink={"brokers": brokers, "kafka": kafka}).start()
               for number, (name, (brokers, kafka, *_)) in enumerate(cases.items())}
    for name, (brokers, _, expected, why, remedy) in cases.items():
        status, code, message, fields = ended(started[name])
        assert (status, code) == (4, expected), (name, fields)
        assert brokers in message and why in fields["why"] and remedy in fields["remedy"], (name, fields)
    assert server.query("select count(*) from pg_replication_slots where database = %s", (database,)) == [(0,)]


def test_tls_and_sasl_done_right(server, guarded_kafka, database, slot_name, topic_prefix, task):
    server.psql("create table t (id int primary key)", database)
    topic = topic_prefix + "public.t"
    guarded_kafka.allow(topic, AclOperation.WRITE, AclOperation.DESCRIBE, AclOperation.CREATE)
    guarded_kafka.allow_progress(slot_name)
    tls = task(name=slot_name + "_tls", sink={"brokers": guarded_kafka.tls, "topic": topic_prefix + "tls", "kafka": {
        "security.protocol": "SSL", "ssl.ca.location": str(guarded_kafka.certificate)}}).start()
    login = task(sink={"brokers": guarded_kafka.sasl, "kafka": sasl()}).start()
    tls.wait_for_log('"streaming"')
    login.wait_for_log('"streaming"')
    server.psql("insert into t values (1)", database)
    server.wait_confirmed(slot_name)
    server.wait_confirmed(slot_name + "_tls")
    assert len(guarded_kafka.broker.consume(topic)) == len(guarded_kafka.broker.consume(topic_prefix + "tls")) == 1
    assert tls.stop() == login.stop() == 0


def refused_at_the_first_row(server, database, slot_name, walferry):
    """Starts, changes a row; what the command ended with. The row must still be there for the next start."""
    server.psql("create table t (id int primary key)", database)
    walferry.start().wait_for_log('"streaming"')
    server.psql("insert into t values (1)", database)
    lsn = server.current_lsn()
    end = ended(walferry)
    assert server.confirmed_lsn(slot_name) < lsn
    return end


def test_a_topic_that_may_not_be_written_to(server, guarded_kafka, database, slot_name, topic_prefix, task):
    topic = topic_prefix + "public.t"
    guarded_kafka.broker.create_topic(topic)
    guarded_kafka.allow(topic, AclOperation.DESCRIBE, AclOperation.READ)
    guarded_kafka.allow_progress(slot_name)
    walferry = task(sink={"brokers": guarded_kafka.sasl, "kafka": sasl()})
    status, code, message, fields = refused_at_the_first_row(server, database, slot_name, walferry)
    assert (status, code) == (4, "WF3008") and topic in message
    assert "kafka-acls.sh" in fields["remedy"] and f"User:{USER}" in fields["remedy"]
    guarded_kafka.allow(topic, AclOperation.WRITE)
    walferry.start()
    server.wait_confirmed(slot_name)
    assert len(guarded_kafka.broker.consume(topic)) == 1 and walferry.stop() == 0


def test_a_topic_that_may_not_be_made(server, guarded_kafka, database, slot_name, topic_prefix, task):
    guarded_kafka.allow_progress(slot_name)
    walferry = task(sink={"brokers": guarded_kafka.sasl, "kafka": sasl()})
    status, code, message, fields = refused_at_the_first_row(server, database, slot_name, walferry)
    assert (status, code) == (4, "WF3008") and topic_prefix + "public.t" in message
    assert "--operation Create" in fields["remedy"]


def test_a_topic_that_is_missing_and_may_not_be_made(server, broker, database, slot_name, topic_prefix, task):
    broker.create_progress_topic(slot_name)
    walferry = task(sink={"create_topics": False})
    status, code, message, fields = refused_at_the_first_row(server, database, slot_name, walferry)
    assert (status, code) == (4, "WF3006") and topic_prefix + "public.t" in message
    assert "kafka-topics.sh" in fields["remedy"] and "create_topics" in fields["why"]
    broker.create_topic(topic_prefix + "public.t")
    walferry.start()
    server.wait_confirmed(slot_name)
    assert len(broker.consume(topic_prefix + "public.t")) == 1 and walferry.stop() == 0


def test_a_topic_that_cannot_be_made(server, broker, database, slot_name, topic_prefix, task):
    broker.create_progress_topic(slot_name)
    walferry = task(sink={"topic_replication": 3})
    status, code, message, fields = refused_at_the_first_row(server, database, slot_name, walferry)
    assert (status, code) == (4, "WF3010") and topic_prefix + "public.t" in message
    assert "topic_replication" in fields["remedy"]
    assert topic_prefix + "public.t" not in broker.topics()


def test_a_topic_whose_name_differs_in_dot_and_underscore_only(server, broker, database, slot_name, topic_prefix, task):
    other = (topic_prefix + "public.t").replace(".", "_")
    broker.create_topic(other)
    try:
        status, code, _, fields = refused_at_the_first_row(server, database, slot_name, task())
    finally:
        broker.delete_topic(other)
    assert (status, code) == (4, "WF3010") and "collides" in fields["why"]


def test_a_progress_topic_that_is_missing_and_may_not_be_made(server, broker, database, slot_name, task):
    status, code, message, fields = ended(task(sink={"create_topics": False}).start())
    assert (status, code) == (4, "WF3006") and f"walferry.progress.{slot_name}" in message
    assert "--config cleanup.policy=compact" in fields["remedy"]
    assert server.confirmed_lsn(slot_name) is None


def test_a_message_too_large_for_its_topic(server, broker, database, slot_name, topic_prefix, task):
    server.psql("create table t (id int primary key, note text)", database)
    topic = topic_prefix + "public.t"
    broker.create_topic(topic, config={"max.message.bytes": "20000"})
    walferry = task(sink={"kafka": {"compression.type": "none"}}).start()
    walferry.wait_for_log('"streaming"')
    server.psql("insert into t values (1, 'small')", database)
    before = server.wait_confirmed(slot_name)
    server.psql("insert into t values (2, repeat('x', 50000)); insert into t values (3, 'small')", database)
    lsn = server.current_lsn()
    status, code, message, fields = ended(walferry)
    assert (status, code) == (4, "WF3005") and topic in message
    assert "kafka-configs.sh" in fields["remedy"] and topic in fields["remedy"]
    assert before <= server.confirmed_lsn(slot_name) < lsn
    broker.delete_topic(topic)
    broker.create_topic(topic)
    walferry.start()
    server.wait_confirmed(slot_name)
    assert [record.json["data"][0]["id"] for record in broker.consume(topic)] == ["2", "3"] and walferry.stop() == 0


def test_a_message_larger_than_the_producer_may_send(server, database, slot_name, task):
    server.psql("create table t (id int primary key, note text)", database)
    walferry = task(sink={"kafka": {"message.max.bytes": 5000}}).start()
    walferry.wait_for_log('"streaming"')
    server.psql("insert into t values (2, repeat('x', 50000))", database)
    status, code, _, fields = ended(walferry)
    assert (status, code) == (4, "WF3005") and "message.max.bytes" in fields["remedy"]


def test_a_topic_name_that_is_too_long(server, database, slot_name, task):
    walferry = task(sink={"topic": "x" * 230 + ".{schema}.{table}"})
    server.psql(f"create table {'t' * 40} (id int primary key)", database)
    walferry.start().wait_for_log('"streaming"')
    server.psql(f"insert into {'t' * 40} values (1)", database)
    status, code, message, fields = ended(walferry)
    assert (status, code) == (4, "WF3014") and "public.ttt" in message and "249" in fields["why"]
    assert "[[table]]" in fields["remedy"]


def test_a_key_column_that_the_table_does_not_have(server, database, slot_name, topic_prefix, task):
    walferry = task(table=[{"match": "public.*", "key": ["customer_id"]}])
    server.psql("create table t (id int primary key)", database)
    walferry.start().wait_for_log('"streaming"')
    server.psql("insert into t values (1)", database)
    lsn = server.current_lsn()
    status, code, message, _ = ended(walferry)
    assert (status, code) == (2, "WF4101") and "public.t" in message and "customer_id" in message
    assert server.confirmed_lsn(slot_name) < lsn


def test_rows_before_one_that_cannot_be_sent_arrive_before_the_end(server, broker, database, slot_name, topic_prefix, task):
    """The key's column is renamed: neither key fits all rows that the slot holds."""
    walferry = task(table=[{"match": "public.t", "key": ["customer"]}]).start()
    walferry.wait_for_log('"streaming"')
    server.psql("create table t (id int primary key, customer int); insert into t values (1, 10)", database)
    server.psql("alter table t rename customer to client; insert into t values (2, 20)", database)
    assert ended(walferry)[:2] == (2, "WF4101")
    task(table=[{"match": "public.t", "key": ["client"]}]).start()
    keys = [record.key for record in broker.wait_records(topic_prefix + "public.t", 2)]
    assert keys == [b'{"customer":"10"}', b'{"client":"20"}']


@pytest.mark.parametrize(("properties", "code"), [
    ({"no.such.property": "x"}, "WF3001"), ({"linger.ms": "soon"}, "WF3001"), ({"compression.type": "rar"}, "WF3001"),
    ({"acks": "0"}, "WF1006"), ({"ssl.ca.location": "/no/such/file", "security.protocol": "ssl"}, "WF3001"),
    ({"transactional.id": "x"}, "WF1006"), ({"bootstrap.servers": "x:1"}, "WF1006"),
    ({"partitioner": "random"}, "WF1006")])
def test_a_kafka_property_that_cannot_be(properties, code, server, database, slot_name, task):
    walferry = task(sink={"kafka": properties}).start()
    assert walferry.wait() == 2
    log = walferry.log()
    assert code in log and next(iter(properties)) in log
    assert server.confirmed_lsn(slot_name) is None

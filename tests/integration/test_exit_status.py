"""The exit status tells whether all that was read has reached Kafka."""

from harness.stream import log_lines


def test_giving_kafka_up_with_rows_on_their_way_is_a_failure(server, broker, database, slot_name, topic_prefix, task):
    server.psql("create table t (id int primary key)", database)
    walferry = task(retry={"connection_window": "4s", "max_delay": "1s"}).start()
    walferry.wait_for_log('"streaming"')
    server.psql("insert into t values (1)", database)
    server.wait_confirmed(slot_name)
    broker.kill()
    server.psql("insert into t values (2)", database)
    assert walferry.wait(60) == 4
    assert log_lines(walferry.log())[-1]["fields"]["code"] == "WF3019"
    broker.start()
    walferry.start()
    server.wait_confirmed(slot_name)
    assert [record.json["data"][0]["id"] for record in broker.consume(topic_prefix + "public.t")] == ["1", "2"]
    assert walferry.stop() == 0

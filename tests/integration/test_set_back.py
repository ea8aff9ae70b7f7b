"""A server that was set back: under an outage log, and with rows of the lost history in Kafka."""

import pytest
from outage_task import ids

from harness.run import wait_until

from test_faults_postgres import new_walsender, set_back, start, walsender  # noqa: F401


@pytest.mark.parametrize("mode", ["at-least-once", "exactly-once"])
def test_rows_of_the_lost_history_hide_none_of_the_new(mode, set_back, broker, slot_name, topic_prefix, task):
    own, copy, put_back = set_back
    own.psql("create table t (id int primary key, pad text)")
    walferry = start(task, source={"dsn": own.dsn()}, sink={"delivery": mode, "headers": "position"})
    own.psql("insert into t values (0, 'before')")
    own.wait_confirmed(slot_name)
    pid = walsender(own, slot_name)
    copy()
    new_walsender(own, slot_name, pid)
    own.psql("do $$ begin for n in 1..5000 loop insert into t values (n, ''); commit; end loop; end $$")
    own.wait_confirmed(slot_name)
    put_back(False)
    assert walferry.wait(60) == 3
    own.psql("do $$ begin for n in 100001..103000 loop insert into t values (n, 'new'); commit; end loop; end $$")
    walferry.start(["--accept-gap"])
    walferry.wait_for_log('"streaming"')
    own.psql("insert into t values (200000, '')")
    topic = topic_prefix + "public.t"
    wait_until(lambda: 200000 in ids(broker.consume(topic)), "the last row", 60)
    missing = set(range(100001, 103001)) - set(ids(broker.consume(topic)))
    assert not missing, f"{len(missing)} of 3000 rows are not in Kafka"


def test_a_server_set_back_under_an_outage_log(set_back, run, broker, slot_name, topic_prefix, task):
    own, copy, put_back = set_back
    own.psql("create table t (id int primary key, pad text)")
    folder = run.subfolder("spool")
    walferry = start(task, source={"dsn": own.dsn()}, retry={"max_delay": "500ms"},
                     spool={"directory": str(folder), "outage": True, "outage_after": "1s"})
    own.psql("insert into t values (0, 'before')")
    own.wait_confirmed(slot_name)
    pid = walsender(own, slot_name)
    copy()
    new_walsender(own, slot_name, pid)
    broker.stop()
    try:
        own.psql("insert into t values (1, '')")
        walferry.wait_for_log("streaming into the outage log", timeout=30)
        own.psql("insert into t select n, repeat('x', 200) from generate_series(2, 5000) n")
        own.wait_confirmed(slot_name)
        assert walferry.stop() == 0
        put_back(True)
        own.psql("insert into t select n, 'new' from generate_series(100001, 100010) n")
        own.psql("insert into t select n, repeat('y', 300) from generate_series(200001, 210000) n")
    finally:
        broker.start()
    walferry.start()
    wait_until(lambda: not walferry.running() or '"streaming"' in walferry.log(), "an end or a stream", 60)
    assert not walferry.running() and walferry.wait() == 3 and "WF2035" in walferry.log()

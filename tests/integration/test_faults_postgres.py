"""PostgreSQL fails in mid-stream: nothing is lost, and a connection made anew within the process repeats nothing."""

import contextlib
import shutil
import subprocess

import psycopg2
import pytest

from harness import Postgres
from harness.run import wait_until
from harness.stream import CounterLoad, assert_ordered, log_lines, without_repeats


# Some ten thousand rows a second, so that a test can come between them.
SLOW_SINK = {"queue_bytes": "1MB", "kafka": {"linger.ms": 100}}


def start(task, **changes):
    walferry = task(**{"retry": {"max_delay": "500ms"}, **changes}).start()
    walferry.wait_for_log('"streaming"')
    return walferry


def walsender(server, slot_name):
    rows = server.query("select active_pid from pg_replication_slots where slot_name = %s", (slot_name,))
    return rows[0][0] if rows else None


def new_walsender(server, slot_name, old):
    """Waits for the shipper to be back; the new process's id."""
    wait_until(lambda: walsender(server, slot_name) not in (None, old), "the shipper to come back", 30)
    return walsender(server, slot_name)


def ids(records):
    return [int(record.json["data"][0]["id"]) for record in records]


@pytest.mark.parametrize("mode", ["immediate", "fast"])
def test_a_server_stopped_under_load_and_started_again(mode, server, broker, database, slot_name, topic_prefix, task):
    walferry = start(task)
    topic = topic_prefix + "public.counters"
    with CounterLoad(server, database) as load:
        load.go_on(200)
        server.restart(mode)  # immediate: crash recovery at the start
        load.go_on(200)
    server.wait_confirmed(slot_name)
    # The positions that this process has produced are known to it, whatever the server has forgotten.
    assert load.check(broker, topic) == 0 and walferry.stop() == 0
    codes = {line["fields"]["code"] for line in log_lines(walferry.log())
             if line["level"] == "warning" and "code" in line.get("fields", {})}
    assert codes <= {"WF2003", "WF2012"} and codes


def test_a_server_killed_with_all_its_processes(server, broker, database, slot_name, topic_prefix, task):
    walferry = start(task)
    topic = topic_prefix + "public.counters"
    with CounterLoad(server, database) as load:
        load.go_on(200)
        server.kill9()
        server.start()
        load.go_on(100)
    server.wait_confirmed(slot_name)
    assert load.check(broker, topic) == 0 and walferry.stop() == 0


def test_the_walsender_ended_again_and_again_within_one_transaction(server, broker, database, slot_name, topic_prefix,
                                                                    task):
    server.psql("create table t (id int primary key, pad text)", database)
    walferry = start(task, sink=SLOW_SINK)
    topic = topic_prefix + "public.t"
    server.psql("insert into t select n, repeat('x', 300) from generate_series(1, 40000) n", database)
    end = server.current_lsn()
    pid = walsender(server, slot_name)
    ended_within = 0
    for step in range(1, 5):
        broker.wait_records(topic, step * 6000)
        ended_within += server.confirmed_lsn(slot_name) < end
        server.query("select pg_terminate_backend(%s)", (pid,))
        pid = new_walsender(server, slot_name, pid)
    server.wait_confirmed(slot_name)
    records = broker.consume(topic)
    assert_ordered(records)
    assert ids(records) == list(range(1, 40001))
    assert ended_within >= 2, "the transaction was over too soon for this test"
    assert walferry.stop() == 0


def test_idle_connections_lost_now_and_then_never_use_up_the_window(server, database, slot_name, task):
    """The window is for a series of failures: between two of them the connection was good."""
    walferry = start(task, retry={"connection_window": "1s", "initial_delay": "10ms", "max_delay": "100ms"})
    pid = walsender(server, slot_name)
    for _ in range(4):
        now = server.query("select clock_timestamp()")[0][0]
        wait_until(lambda: server.query("select clock_timestamp() > %s + interval '0.6 s'", (now,))[0][0],
                   "the connection to have lasted", 10)
        server.query("select pg_terminate_backend(%s)", (pid,))
        pid = new_walsender(server, slot_name, pid)
    assert walferry.running() and walferry.stop() == 0


def test_a_slot_dropped_behind_the_back_is_not_made_again_in_silence(server, database, slot_name, task):
    server.psql("create table t (id int primary key)", database)
    walferry = start(task)
    server.drop_slot(slot_name)
    assert walferry.wait() == 3
    last = log_lines(walferry.log())[-1]
    assert last["fields"]["code"] == "WF2023" and "new slot" in last["fields"]["remedy"]
    assert server.confirmed_lsn(slot_name) is None


def test_a_slot_advanced_behind_the_back_is_told(server, broker, database, slot_name, topic_prefix, task):
    server.psql("create table t (id int primary key)", database)
    walferry = start(task)
    server.psql("insert into t values (1)", database)
    server.wait_confirmed(slot_name)
    pid = walsender(server, slot_name)
    with contextlib.closing(server.connect(database)) as connection, connection.cursor() as cursor:
        cursor.execute("select pg_terminate_backend(%s)", (pid,))
        wait_until(lambda: _advance(cursor, slot_name), "the slot to be free", 20)
    assert walferry.wait() == 3
    assert log_lines(walferry.log())[-1]["fields"]["code"] == "WF2033"


def _advance(cursor, slot_name):
    """Moves a slot that is free over a row that the shipper has not seen."""
    cursor.execute("insert into t select max(id) + 1 from t")
    try:
        cursor.execute("select pg_replication_slot_advance(%s, pg_current_wal_lsn())", (slot_name,))
        return True
    except psycopg2.errors.ObjectInUse:
        cursor.execute("select pg_terminate_backend(active_pid) from pg_replication_slots where slot_name = %s",
                       (slot_name,))
        return False


def test_the_shipper_killed_again_and_again(server, broker, database, slot_name, topic_prefix, task):
    walferry = start(task)
    topic = topic_prefix + "public.counters"
    with CounterLoad(server, database) as load:
        for _ in range(4):
            load.go_on(100)
            walferry.kill()
            walferry.start()
            walferry.wait_for_log('"streaming"', timeout=60)
    server.wait_confirmed(slot_name)
    repeats = load.check(broker, topic)
    print(f"{load.committed} transactions, {repeats} repeats after four kills")
    assert walferry.stop() == 0


def test_the_shipper_killed_within_a_large_transaction(server, broker, database, slot_name, topic_prefix, task):
    server.psql("create table t (id int primary key, pad text)", database)
    walferry = start(task, sink=SLOW_SINK)
    topic = topic_prefix + "public.t"
    server.psql("insert into t select n, repeat('x', 300) from generate_series(1, 20000) n", database)
    broker.wait_records(topic, 3000)
    walferry.kill()
    walferry.start()
    server.wait_confirmed(slot_name)
    records, repeats = without_repeats(broker.consume(topic))
    assert ids(records) == list(range(1, 20001)) and repeats == 0
    assert walferry.stop() == 0


@pytest.fixture
def set_back(run):
    """A server of its own, with a function that puts the data folder back to what it was at the last copy()."""
    own = Postgres(run)
    own.install_walferry()
    own.start()
    copied = own.data.with_name("copy")

    def copy():
        own.stop("fast")
        subprocess.run(["cp", "-a", own.data, copied], check=True)
        own.start()

    def put_back(recover):
        own.kill9()
        shutil.rmtree(own.data)
        subprocess.run(["cp", "-a", copied, own.data], check=True)
        if recover:  # to the end of the log that is there, and then on a new timeline
            own.conf(restore_command="false")
            (own.data / "recovery.signal").touch()
        own.start()

    yield own, copy, put_back
    if own.running():
        own.stop("immediate")


@pytest.mark.parametrize(("recover", "code"), [(False, "WF2036"), (True, "WF2035")])
def test_a_server_set_back_is_not_streamed_on_in_silence(recover, code, set_back, broker, slot_name, topic_prefix,
                                                         task):
    """A restored server, or a promoted standby that lacks the last changes, uses positions a second time."""
    own, copy, put_back = set_back
    own.psql("create table t (id int primary key, pad text)")
    walferry = start(task, source={"dsn": own.dsn()})
    own.psql("insert into t values (1, 'before')")
    own.wait_confirmed(slot_name)
    pid = walsender(own, slot_name)
    copy()
    new_walsender(own, slot_name, pid)
    own.psql("insert into t select n, repeat('x', 200) from generate_series(2, 2000) n")
    own.wait_confirmed(slot_name)
    put_back(recover)
    assert walferry.wait() == 3
    last = log_lines(walferry.log())[-1]
    assert last["fields"]["code"] == code and "--accept-gap" in last["fields"]["remedy"]
    # What is new at the old positions comes once the task is started knowingly, and not before.
    own.psql("insert into t select n, 'new' from generate_series(100001, 100010) n")
    assert walferry.start().wait() == 3 and code in walferry.log()
    walferry.start(["--accept-gap"])
    broker.wait_records(topic_prefix + "public.t", 2010)
    own.wait_confirmed(slot_name)
    assert set(range(100001, 100011)) <= set(ids(broker.consume(topic_prefix + "public.t")))
    assert walferry.stop() == 0


def test_much_that_is_not_for_us_is_no_silence(server, broker, database, slot_name, topic_prefix, task):
    """The server decodes for longer than silence_timeout, and by its own settings would say nothing for minutes."""
    server.psql("create table t (id int primary key); create table big (id int)", database)
    server.conf(wal_sender_timeout="10min")
    walferry = start(task, source={"tables": ["public.t"], "silence_timeout": "2s"})
    server.psql("insert into big select generate_series(1, 3000000)", database)
    server.psql("insert into t values (1)", database)
    broker.wait_records(topic_prefix + "public.t", 1)
    server.conf(wal_sender_timeout=None)
    assert [line for line in log_lines(walferry.log()) if line.get("fields", {}).get("code") == "WF2003"] == []
    assert walferry.stop() == 0


def test_a_part_of_a_password_with_an_at_sign_is_not_logged(server, database, task):
    walferry = task(source={"dsn": f"postgresql://postgres:first@second@127.0.0.1:{server.port}/{database}"},
                    retry={"max_delay": "500ms"}).start()
    walferry.wait_for_log('"trying again"')
    walferry.stop()
    assert "second" not in walferry.log().replace('"seconds"', "") and "***@127.0.0.1" in walferry.log()

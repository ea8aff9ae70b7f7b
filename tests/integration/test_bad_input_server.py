"""PostgreSQL is not as it must be: each time a code, what to do, an exit status, and nothing left half done."""

import re

import psycopg2.extras
import pytest

from harness import Postgres
from harness.proxy import Proxy
from harness.run import free_port, wait_until
from harness.stream import log_lines

NO_RETRY = {"connection_window": "0ms", "other_window": "0ms"}


def ended(walferry, timeout=60.0):
    """Exit status, code, message and the fields of the last line of a command that ends by itself."""
    status = walferry.wait(timeout)
    last = log_lines(walferry.log())[-1]
    assert last["level"] == "error" and last["fields"]["remedy"]
    return status, last["fields"]["code"], last["msg"], last["fields"]


@pytest.fixture
def role(server, test_id):
    """A role of the test's own."""
    name = test_id + "_role"
    server.psql(f'create role "{name}" login replication')
    yield name
    server.psql(f'drop owned by "{name}"; drop role "{name}"')


@pytest.fixture(scope="module")
def bare_server(run):
    """A server as the package leaves it, without our plugin, and with little of everything."""
    server = Postgres(run, {"max_replication_slots": 2, "max_wal_senders": 3, "max_slot_wal_keep_size": "1MB",
                            "min_wal_size": "32MB", "max_wal_size": "32MB"})
    server.start()
    yield server
    server.stop("immediate")


def on(server):
    """The source of a task on another server than the usual one."""
    return {"dsn": server.dsn("postgres")}


# --- the server's settings ---

def test_the_plugin_is_not_installed(bare_server, slot_name, task):
    walferry = task(source=on(bare_server)).start()
    status, code, message, fields = ended(walferry)
    assert (status, code) == (3, "WF2018") and "make install" in fields["remedy"]
    assert bare_server.confirmed_lsn(slot_name) is None


def test_the_plugin_is_not_allowed(bare_server, slot_name, task):
    if not bare_server.knows_setting("output_plugin_libraries"):
        pytest.skip("this server allows any plugin")
    bare_server.conf(output_plugin_libraries="pgoutput, test_decoding")
    try:
        status, code, message, fields = ended(task(source=on(bare_server)).start())
    finally:
        bare_server.conf(output_plugin_libraries="pgoutput, test_decoding, walferry")
    assert (status, code) == (3, "WF2019")
    statement = "SET output_plugin_libraries = 'pgoutput', 'test_decoding', 'walferry'"
    assert statement in fields["remedy"]
    assert bare_server.confirmed_lsn(slot_name) is None


def test_wal_level_is_too_low(bare_server, task):
    bare_server.conf(wal_level="replica")
    bare_server.restart()
    try:
        status, code, message, fields = ended(task(source=on(bare_server)).start())
    finally:
        bare_server.conf(wal_level="logical")
        bare_server.restart()
    assert (status, code) == (3, "WF2017") and "ALTER SYSTEM SET wal_level = logical" in fields["remedy"]


def test_no_slot_is_left(bare_server, slot_name, task):
    bare_server.psql("select pg_create_physical_replication_slot('one'), pg_create_physical_replication_slot('two')")
    try:
        status, code, message, fields = ended(task(source=on(bare_server)).start())
    finally:
        bare_server.psql("select pg_drop_replication_slot('one'), pg_drop_replication_slot('two')")
    assert (status, code) == (3, "WF2021") and "max_replication_slots" in fields["remedy"]


def test_no_walsender_is_left(bare_server, task):
    kept = [bare_server.connect(connection_factory=psycopg2.extras.PhysicalReplicationConnection) for _ in range(3)]
    try:
        status, code, message, fields = ended(task(source=on(bare_server), retry=NO_RETRY).start())
    finally:
        for connection in kept:
            connection.close()
    assert (status, code) == (3, "WF2011") and "max_wal_senders" in fields["remedy"]


def test_a_slot_whose_wal_is_gone(bare_server, broker, slot_name, topic_prefix, task):
    bare_server.install_walferry()
    bare_server.psql("drop table if exists t; create table t (id int primary key, pad text)")
    walferry = task(source={**on(bare_server), "tables": ["public.t"]}).start()
    walferry.wait_for_log('"streaming"')
    assert walferry.stop() == 0

    bare_server.psql("create table if not exists bulk (pad text)")

    def lost():
        bare_server.psql("insert into bulk select repeat('x', 1000) from generate_series(1, 20000);"
                         "select pg_switch_wal(); checkpoint")
        query = "select wal_status from pg_replication_slots where slot_name = %s"
        return bare_server.query(query, (slot_name,)) == [("lost",)]

    wait_until(lost, "the slot to be given up", 60, interval=0)
    try:
        status, code, message, fields = ended(walferry.start())
    finally:
        bare_server.drop_slot(slot_name)
    assert (status, code) == (3, "WF2030") and "max_slot_wal_keep_size" in fields["remedy"]
    assert f"pg_drop_replication_slot('{slot_name}')" in fields["remedy"]


def test_another_cluster_behind_the_same_address(server, bare_server, broker, database, slot_name, task):
    """A failover gone wrong, or a DSN that leads somewhere else: nothing is made over there."""
    with Proxy(server.port) as proxy:
        bare_server.create_database(database)
        walferry = task(source={"dsn": f"host=127.0.0.1 port={proxy.port} user=postgres dbname={database}"},
                        retry={"max_delay": "300ms"}).start()
        walferry.wait_for_log('"streaming"')
        proxy.target = bare_server.port
        proxy.cut()
        status, code, message, fields = ended(walferry)
    bare_server.drop_database(database)
    assert (status, code) == (3, "WF2034") and "another cluster" in fields["why"]
    assert bare_server.confirmed_lsn(slot_name) is None


# --- who and where ---

def test_a_role_that_may_not_replicate(server, database, slot_name, role, task):
    server.psql(f'alter role "{role}" noreplication')
    status, code, message, fields = ended(task(source={"dsn": server.dsn(database, user=role)}).start())
    assert (status, code) == (3, "WF2009") and f'ALTER ROLE "{role}" REPLICATION' in fields["remedy"]
    assert server.confirmed_lsn(slot_name) is None


def test_a_role_with_nothing_but_replication_is_enough(server, broker, database, slot_name, topic_prefix, role, task):
    server.psql("create table t (id int primary key)", database)
    walferry = task(source={"dsn": server.dsn(database, user=role)}).start()
    walferry.wait_for_log('"streaming"')
    server.psql("insert into t values (1)", database)
    server.wait_confirmed(slot_name)
    assert len(broker.consume(topic_prefix + "public.t")) == 1 and walferry.stop() == 0


@pytest.mark.parametrize("given", ["wrong", "none"])
def test_a_wrong_password_or_none(given, server, database, slot_name, role, task):
    server.psql(f"alter role \"{role}\" password 'right'")
    server.hba(f'host all "{role}" 127.0.0.1/32 scram-sha-256')
    try:
        password = {"password": "wrong-hush"} if given == "wrong" else {}
        walferry = task(source={"dsn": server.dsn(database, user=role, **password)}).start()
        status, code, message, fields = ended(walferry)
    finally:
        server.hba()
    assert (status, code) == (3, "WF2004") and "pgpass" in fields["remedy"] and "hush" not in walferry.log()


def test_pg_hba_that_does_not_let_us_in(server, database, role, task):
    server.hba(f'host all "{role}" 127.0.0.1/32 reject')
    try:
        status, code, message, fields = ended(task(source={"dsn": server.dsn(database, user=role)}).start())
    finally:
        server.hba()
    assert (status, code) == (3, "WF2006") and "pg_hba.conf" in fields["remedy"] and role in fields["remedy"]


def test_a_server_that_cannot_be_reached(slot_name, broker, task):
    port = free_port()
    walferry = task(source={"dsn": f"host=127.0.0.1 port={port} dbname=x user=y"},
                    retry={"connection_window": "1s", "initial_delay": "50ms", "max_delay": "300ms"}).start()
    status, code, message, fields = ended(walferry)
    assert (status, code) == (3, "WF2003") and str(port) in message
    lines = log_lines(walferry.log())
    attempts = [line for line in lines if line["level"] == "warning" and line["fields"].get("code") == "WF2003"]
    again = [line["fields"] for line in lines if line["msg"] == "trying again"]
    assert len(attempts) == len(again) >= 3
    assert [fields["attempt"] for fields in again] == list(range(1, len(again) + 1))
    assert any("retry window is over" in line["msg"] for line in lines)


@pytest.mark.parametrize("dsn", ["host=127.0.0.1 dbname=", "nonsense", "host='127.0.0.1", "host=x frobnicate=1",
                                 "postgresql://[", "host=127.0.0.1 port=http"])
def test_a_dsn_that_is_none(dsn, broker, slot_name, task):
    walferry = task(source={"dsn": dsn}, retry=NO_RETRY).start()
    status = walferry.wait()
    log = walferry.log()
    assert status in (2, 3) and re.search(r"WF(2002|1006|2003|2004|2007)", log) and "remedy" in log


def test_a_database_that_is_not_there(server, slot_name, broker, task):
    status, code, message, fields = ended(task(source={"dsn": server.dsn("no_such_database")}).start())
    assert (status, code) == (3, "WF2007") and "no_such_database" in message


def test_a_database_dropped_meanwhile(server, broker, database, slot_name, task):
    walferry = task().start()
    walferry.wait_for_log('"streaming"')
    server.drop_database(database)
    status, code, message, fields = ended(walferry)
    assert (status, code) in ((3, "WF2007"), (3, "WF2023")) and database in message + slot_name
    assert server.confirmed_lsn(slot_name) is None


# --- the slot ---

def test_a_missing_slot_where_none_may_be_made(server, database, slot_name, task):
    status, code, message, fields = ended(task(source={"create_slot": False}).start())
    assert (status, code) == (3, "WF2023") and slot_name in message
    assert f"pg_create_logical_replication_slot('{slot_name}', 'walferry')" in fields["remedy"]
    assert server.confirmed_lsn(slot_name) is None


def test_a_slot_of_another_plugin(server, database, slot_name, task):
    server.psql(f"select pg_create_logical_replication_slot('{slot_name}', 'test_decoding')", database)
    status, code, message, fields = ended(task().start())
    assert (status, code) == (3, "WF2027") and "test_decoding" in fields["why"] + message
    assert server.confirmed_lsn(slot_name) is not None, "what is not ours stays"


def test_a_physical_slot(server, database, slot_name, task):
    server.psql(f"select pg_create_physical_replication_slot('{slot_name}')")
    try:
        assert ended(task().start())[:2] == (3, "WF2029")
    finally:
        server.drop_slot(slot_name)


def test_a_slot_of_another_database(server, database, slot_name, task):
    server.psql(f"select pg_create_logical_replication_slot('{slot_name}', 'walferry')", "postgres")
    try:
        status, code, message, fields = ended(task().start())
    finally:
        server.drop_slot(slot_name)
    assert (status, code) == (3, "WF2028") and "dbname=postgres" in fields["remedy"]


def test_a_slot_in_use_is_waited_for(server, broker, database, slot_name, topic_prefix, task):
    """By a reader that is about to go, as the connection of a shipper that died is."""
    server.psql("create table t (id int primary key)", database)
    reader = server.connect(database, connection_factory=psycopg2.extras.LogicalReplicationConnection)
    cursor = reader.cursor()
    cursor.create_replication_slot(slot_name, output_plugin="walferry")
    cursor.start_replication(slot_name=slot_name, decode=False)
    walferry = task(source={"create_slot": False}, retry={"initial_delay": "50ms", "max_delay": "200ms"}).start()
    match = walferry.wait_for_log(r'"code":"WF2025".*"why":"([^"]*(?:\\"[^"]*)*)"')
    assert match
    server.psql("insert into t values (1)", database)
    reader.close()
    server.wait_confirmed(slot_name)
    assert len(broker.consume(topic_prefix + "public.t")) == 1 and walferry.stop() == 0


def test_a_slot_in_use_for_too_long(server, database, slot_name, task):
    reader = server.connect(database, connection_factory=psycopg2.extras.LogicalReplicationConnection)
    cursor = reader.cursor()
    cursor.create_replication_slot(slot_name, output_plugin="walferry")
    cursor.start_replication(slot_name=slot_name, decode=False)
    walferry = task(retry={"other_window": "300ms", "initial_delay": "50ms"}).start()
    status, code, message, fields = ended(walferry)
    reader.close()
    assert (status, code) == (3, "WF2025") and "pg_terminate_backend" in fields["remedy"]


def test_two_shippers_on_one_task_of_which_one_is_to_exit(server, broker, database, slot_name, topic_prefix, task):
    server.psql("create table t (id int primary key)", database)
    first = task(source={"status_interval_ms": 50}).start()
    first.wait_for_log('"streaming"')
    second = task(source={"second_shipper": "exit"}, retry={"initial_delay": "50ms", "max_delay": "200ms"}).start()
    second.wait_for_log("WF2025")
    # The first one makes progress, which is how the second knows that it is alive.
    for number in range(200):
        if not second.running():
            break
        server.psql(f"insert into t values ({number})", database)
        server.wait_confirmed(slot_name)
    status, code, message, fields = ended(second)
    assert (status, code) == (3, "WF2026") and "another name" in fields["remedy"]
    assert first.running()
    server.wait_confirmed(slot_name)
    records = broker.consume(topic_prefix + "public.t")
    assert [int(record.json["data"][0]["id"]) for record in records] == list(range(len(records)))
    assert first.stop() == 0

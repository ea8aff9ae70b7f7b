"""The plugin over the replication protocol: how slots are made, what options do, and what interruptions leave."""

import contextlib
import threading
from pathlib import Path

import psycopg2
import psycopg2.errors
import psycopg2.extras
import pytest
from harness import Postgres, Run
from harness.run import wait_until
from plugin_stream import Decoder, Stream, capture, create_slot, is_last, walsender_pid


def test_pg_recvlogical_needs_no_options(run: Run, server: Postgres, database: str, slot_name: str) -> None:
    assert server.query("show shared_preload_libraries") == [("",)]
    server.tool("pg_recvlogical", "--create-slot", "--slot", slot_name, "--plugin=walferry", "--dbname", database)
    server.query("create table t (id int primary key, v text)", dbname=database)
    server.query("insert into t values (1, 'a'), (2, 'é')", dbname=database)
    end = server.query("select pg_current_wal_flush_lsn()::text")[0][0]
    output = run.subfolder("recvlogical") / "frames"
    server.tool("pg_recvlogical", "--start", "--slot", slot_name, "--dbname", database, "--endpos", end, "--file",
                str(output))
    frame = Path(output).read_bytes().removesuffix(b"\n")
    changes = Decoder(server, database).changes([frame])
    assert [(c["operation"], c["relation"], c["after"]) for c in changes] == [
        ("insert", "public.t", {"id": "1", "v": "a"}), ("insert", "public.t", {"id": "2", "v": "é"})]


@pytest.mark.parametrize("options", ["{", '{"tables": ["x"]}', '{"nonsense": 1}', '{"version": 7}'])
def test_a_wrong_option_is_refused_and_named_before_any_data(server: Postgres, database: str, slot_name: str,
                                                             options: str) -> None:
    create_slot(server, database, slot_name)
    with contextlib.closing(server.connect(
            database, connection_factory=psycopg2.extras.LogicalReplicationConnection)) as connection:
        cursor = connection.cursor()
        with pytest.raises(psycopg2.Error) as refusal:
            cursor.start_replication(slot_name=slot_name, decode=False, options={"options": options})
        named = options.split('"')[1] if '"' in options else "options"
        assert f'option "{named}"' in str(refusal.value)
    assert capture(server, database, slot_name) == []  # the slot itself is unharmed


def test_a_session_that_was_refused_can_stream_afterwards(server: Postgres, database: str, slot_name: str) -> None:
    server.query("create table t (id int)", dbname=database)
    create_slot(server, database, slot_name)
    server.query("insert into t values (1)", dbname=database)
    with contextlib.closing(server.connect(
            database, connection_factory=psycopg2.extras.LogicalReplicationConnection)) as connection:
        cursor = connection.cursor()
        for _ in range(3):
            with pytest.raises(psycopg2.Error):
                cursor.start_replication(slot_name=slot_name, decode=False, options={"options": "[]"})
        cursor.start_replication(slot_name=slot_name, decode=False)
        wait_until(lambda: cursor.read_message() is not None, "the row", 20)


@pytest.mark.parametrize("arguments", ["", ", true", ", false, true", ", true, true"])
def test_every_kind_of_slot_can_be_made(server: Postgres, database: str, slot_name: str, arguments: str) -> None:
    with contextlib.closing(server.connect(database)) as connection, connection.cursor() as cursor:
        cursor.execute("create table t (id int)")
        cursor.execute(f"select pg_create_logical_replication_slot(%s, 'walferry'{arguments})", (slot_name,))
        cursor.execute("insert into t values (1)")
        cursor.execute("select count(*) from pg_logical_slot_get_binary_changes(%s, null, null)", (slot_name,))
        assert cursor.fetchone() == (1,)


def test_slots_are_made_by_the_protocol_with_every_snapshot_action_and_can_be_copied(
        server: Postgres, database: str, slot_name: str) -> None:
    with contextlib.closing(server.connect(
            database, connection_factory=psycopg2.extras.LogicalReplicationConnection)) as connection:
        cursor = connection.cursor()
        for number, action in enumerate(("EXPORT_SNAPSHOT", "NOEXPORT_SNAPSHOT")):
            cursor.execute(f'CREATE_REPLICATION_SLOT "{slot_name}_{number}" LOGICAL walferry {action}')
            assert cursor.fetchone()[0] == f"{slot_name}_{number}"
        cursor.execute("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
        cursor.execute(f'CREATE_REPLICATION_SLOT "{slot_name}_2" TEMPORARY LOGICAL walferry USE_SNAPSHOT')
        cursor.execute("ROLLBACK")
    server.query("select pg_copy_logical_replication_slot(%s, %s, false, 'walferry')",
                 (f"{slot_name}_0", f"{slot_name}_copy"), dbname=database)
    server.query("create table t (id int)", dbname=database)
    server.query("insert into t values (1)", dbname=database)
    for name in ("0", "1", "copy"):
        assert len(capture(server, database, f"{slot_name}_{name}")) == 1


def test_a_small_transaction_is_one_message_and_a_large_one_has_one_end(server: Postgres, database: str,
                                                                        slot_name: str) -> None:
    create_slot(server, database, slot_name)
    server.query("create table t (id int, v text)", dbname=database)
    for i in range(5):
        server.query("insert into t values (%s, 'x')", (i,), dbname=database)
    server.query("insert into t select i, repeat('x', 100) from generate_series(1, 5000) i", dbname=database)
    frames = capture(server, database, slot_name)
    assert [is_last(frame) for frame in frames[:5]] == [True] * 5
    assert len(frames) > 10
    assert [is_last(frame) for frame in frames[5:]] == [False] * (len(frames) - 6) + [True]
    ids = [int(c["after"]["id"]) for c in Decoder(server, database).changes(frames)]
    assert ids == [*range(5), *range(1, 5001)]


@pytest.mark.parametrize("options", [None, '{"tables": ["nowhere.*"]}'])
def test_an_idle_or_filtered_stream_holds_no_wal(run: Run, server: Postgres, database: str, slot_name: str,
                                                 options: str | None) -> None:
    create_slot(server, database, slot_name)
    server.query("create table t (id int)", dbname=database)
    environment = {"PATH": "/usr/bin:/bin", "PGHOST": "127.0.0.1", "PGPORT": str(server.port), "PGUSER": server.user}
    command = [server.bin / "pg_recvlogical", "--start", "--slot", slot_name, "--dbname", database, "--file",
               "/dev/null", "--status-interval=1", "--fsync-interval=0"]
    if options:
        command += ["--option", f"options={options}"]
    receiver = run.start(command, stdout=None, env=environment)
    try:
        if options:  # filtered: many transactions of this database, not one of them sent
            for _ in range(20):
                server.query("insert into t select generate_series(1, 500)", dbname=database)
        server.wait_confirmed(slot_name, timeout=60)
    finally:
        receiver.stop()


def test_after_a_cancelled_decode_the_session_lives_and_nothing_is_lost(server: Postgres, database: str,
                                                                        slot_name: str) -> None:
    create_slot(server, database, slot_name)
    server.query("create table t (id int, v text); create type mood as enum ('a')", dbname=database)
    for _ in range(3):
        server.query("insert into t select i, 'value ' || i from generate_series(1, 100000) i", dbname=database)
    with contextlib.closing(server.connect(database)) as connection, connection.cursor() as cursor:
        for milliseconds in (1, 20, 50, 100):
            cursor.execute(f"set statement_timeout = {milliseconds}")
            with contextlib.suppress(psycopg2.errors.QueryCanceled):
                cursor.execute("select count(*) from pg_logical_slot_peek_binary_changes(%s, null, null)", (slot_name,))
            # Invalidations of every kind meet what the cancelled decoding has left behind.
            cursor.execute("set statement_timeout = 0")
            cursor.execute("alter table t add column extra int; alter table t drop column extra")
            cursor.execute(f"alter type mood add value 'b{milliseconds}'")
            cursor.execute("alter schema public rename to public2; alter schema public2 rename to public")
        cursor.execute("create extension walferry")
        cursor.execute("""select count(*), count(distinct (d.xid::text, d.ordinal)) from
            pg_logical_slot_peek_binary_changes(%s, null, null) c, walferry.decode(c.data) d""", (slot_name,))
        assert cursor.fetchone() == (300000, 300000)


def test_after_a_terminated_walsender_nothing_is_lost(server: Postgres, database: str, slot_name: str) -> None:
    create_slot(server, database, slot_name)
    server.query("create table t (id int, v text)", dbname=database)
    for batch in range(20):
        server.query("insert into t select i, repeat('x', 50) from generate_series(%s, %s) i",
                     (batch * 5000, batch * 5000 + 4999), dbname=database)
    end = server.current_lsn()
    whole: list[bytes] = []
    part: list[bytes] = []
    for stop_after in (1, 7, 30, 60, None):
        part = []
        with Stream(server, database, slot_name) as stream, contextlib.suppress(psycopg2.Error):
            for frame in stream.frames(end):
                part.append(frame)
                if len(part) == stop_after:
                    server.query("select pg_terminate_backend(%s, 10000)", (stream.pid,))
        # What the server says again begins with a transaction's first frame; each session stands for itself.
        whole.extend(part)
        wait_until(lambda: walsender_pid(server, slot_name) is None, "the slot to be free", 20)
    decoder = Decoder(server, database)
    assert {int(c["after"]["id"]) for c in decoder.changes(whole)} == set(range(100000))


def test_a_cancelled_walsender_ends_in_the_middle_of_a_large_transaction(server: Postgres, database: str,
                                                                         slot_name: str) -> None:
    create_slot(server, database, slot_name)
    server.query("create table t (id int)", dbname=database)
    # Nothing is written for these rows: the plugin itself has to look for the interrupt.
    server.query("insert into t select generate_series(1, 3000000)", dbname=database)
    ended = threading.Event()

    def read() -> None:
        with contextlib.suppress(psycopg2.Error), \
                Stream(server, database, slot_name, {"tables": ["nowhere.*"]}) as stream:
            for _ in stream.frames(server.current_lsn()):
                pass
        ended.set()

    reader = threading.Thread(target=read)
    reader.start()
    wait_until(lambda: walsender_pid(server, slot_name) is not None or ended.is_set(), "the walsender", 20)
    server.query("select pg_terminate_backend(active_pid, 20000) from pg_replication_slots "
                 "where slot_name = %s and active_pid is not null", (slot_name,))
    reader.join(60)
    assert ended.is_set()
    assert walsender_pid(server, slot_name) is None

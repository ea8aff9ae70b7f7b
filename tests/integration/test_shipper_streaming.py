"""Transactions larger than logical_decoding_work_mem: they come in blocks while they are in progress, wait in the spool, and
reach Kafka as if they had been sent after their commit."""

import os
import random
import threading
from pathlib import Path

import psycopg2
import psycopg2.errors

from harness.run import wait_until
from harness.stream import position
from harness.walferry import merged

SMALL_MEMORY = {"options": "'-c logical_decoding_work_mem=64kB'"}


def small(server, database, **changes):
    """Settings of a task whose server sends transactions of more than 64 kB in blocks."""
    return merged({"source": {"dsn": server.dsn(database, **SMALL_MEMORY)}}, changes)


def start(task, **changes):
    walferry = task(**changes).start()
    walferry.wait_for_log('"streaming"')
    return walferry


def streamed(server, slot):
    """How many transactions the server has sent in blocks."""
    rows = server.query("select pg_stat_force_next_flush()") if server.query(
        "select 1 from pg_proc where proname = 'pg_stat_force_next_flush'") else None
    assert rows is None or rows
    return server.query("select coalesce(sum(stream_txns), 0) from pg_stat_replication_slots where slot_name = %s",
                        (slot,))[0][0]


def content(records):
    """What must be the same, however the transactions came: all but the time at which a message was made."""
    return [(record.partition, record.key, {**record.json, "ts": None} if record.value else None,
             record.header["walferry.position"]) for record in records]


def spool_folders(folder):
    return sorted(path.name for path in Path(folder).iterdir()) if Path(folder).exists() else []


def random_sessions(server, database, seed, sessions=4, transactions=12):
    """Sessions at once, each with large and small transactions, savepoints that are kept and rolled back, and rollbacks."""
    def work(number):
        choose = random.Random(seed * 1000 + number)
        with server.connect(database, autocommit=False) as connection:
            cursor = connection.cursor()
            for turn in range(transactions):
                base = number * 10_000_000 + turn * 100_000
                try:
                    statements(cursor, choose, base, depth=0)
                except psycopg2.errors.DeadlockDetected:
                    connection.rollback()
                    continue
                connection.rollback() if choose.random() < 0.2 else connection.commit()

    def statements(cursor, choose, base, depth):
        for step in range(choose.randint(1, 4)):
            start_id = base + depth * 20_000 + step * 4_000
            count = choose.choice([1, 3, 400, 1500])
            action = choose.random()
            if action < 0.55:
                cursor.execute("insert into big select i, %s, i from generate_series(%s, %s) i on conflict do nothing",
                               (f"s{base}.{depth}", start_id, start_id + count - 1))
            elif action < 0.65:
                cursor.execute("update big set v = v || '!' where id between %s and %s", (base, base + 500))
            elif action < 0.7:
                cursor.execute("delete from big where id between %s and %s", (base + 100, base + 150))
            elif action < 0.75:
                cursor.execute("insert into wide values (%s, repeat('w', 9000), repeat('x', %s))", (start_id, count))
            elif action < 0.8:
                cursor.execute("update wide set note = note || '+' where id between %s and %s", (base, base + 50_000))
            elif depth < 3:
                cursor.execute(f"savepoint s{depth}")
                statements(cursor, choose, base, depth + 1)
                cursor.execute(f"{choose.choice(['rollback to', 'release'])} savepoint s{depth}")

    threads = [threading.Thread(target=work, args=(number,)) for number in range(sessions)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def test_the_same_messages_with_the_same_positions_as_after_the_commit(server, broker, database, slot_name, topic_prefix, task,
                                                                       run):
    seed = int(os.environ.get("WALFERRY_SEED", "0")) or random.randrange(1 << 30)
    print(f"WALFERRY_SEED={seed}")
    server.psql("create table big (id int primary key, v text, n int);"
                "create table wide (id int primary key, w text, note text);"
                "alter table wide alter column w set storage external;", database)
    spool = run.subfolder("spool")
    blocks = task(**small(server, database, spool={"directory": str(spool)}, source={"slot": slot_name + "_b"},
                          sink={"topic": topic_prefix + "blocks.{table}"})).start()
    whole = task(**small(server, database, source={"slot": slot_name + "_w", "streaming": False},
                         sink={"topic": topic_prefix + "whole.{table}"})).start()
    blocks.wait_for_log('"streaming"')
    whole.wait_for_log('"streaming"')
    random_sessions(server, database, seed)
    server.psql("alter table big add column extra text default 'e'; insert into big values (-1, 'end', 0)", database)
    server.wait_confirmed(slot_name + "_b")
    server.wait_confirmed(slot_name + "_w")
    assert blocks.stop() == 0 and whole.stop() == 0
    assert streamed(server, slot_name + "_b") > 0
    assert streamed(server, slot_name + "_w") == 0
    rows = {}
    for table in ("big", "wide"):
        came = content(broker.consume(f"{topic_prefix}blocks.{table}"))
        assert came == content(broker.consume(f"{topic_prefix}whole.{table}"))
        rows[table] = len(came)
        live = {}
        for _, key, message, _ in came:
            if message["type"] == "DELETE":
                del live[key]
            else:
                live[key] = message["data"][0]
        assert len(live) == server.query(f"select count(*) from {table}", dbname=database)[0][0]
    print(rows)
    assert rows["big"] > 1000
    assert spool_folders(spool) == []


def test_a_transaction_that_is_rolled_back_leaves_nothing(server, broker, database, slot_name, topic_prefix, task, run):
    server.psql("create table big (id int primary key, v text)", database)
    spool = run.subfolder("spool")
    walferry = start(task, **small(server, database, spool={"directory": str(spool)}))
    with server.connect(database, autocommit=False) as connection:
        connection.cursor().execute("insert into big select i, repeat('x', 100) from generate_series(1, 20000) i")
        wait_until(lambda: any(spool.glob("*/*.frames")), "the transaction in the spool", 30)
        connection.rollback()
    server.psql("insert into big values (0, 'committed')", database)
    server.wait_confirmed(slot_name)
    records = broker.consume(topic_prefix + "public.big")
    assert [record.json["data"][0]["id"] for record in records] == ["0"]
    wait_until(lambda: not any(spool.glob("*/*.frames")), "an empty spool", 30)
    assert walferry.stop() == 0


def test_a_connection_lost_while_a_large_transaction_is_delivered_repeats_nothing(server, broker, database, slot_name,
                                                                                  topic_prefix, task):
    server.psql("create table big (id int primary key, v text); create table small (id int)", database)
    # A small queue and slow acknowledgements make the delivery last.
    walferry = start(task, **small(server, database, sink={"queue_bytes": "1MB", "kafka": {"linger.ms": "100"}}))
    topic = topic_prefix + "public.big"
    server.psql("insert into big select i, repeat('x', 200) from generate_series(1, 60000) i", database)
    wait_until(lambda: topic in broker.topics() and sum(broker.end_offsets(topic).values()) > 1000, "the first rows", 30)
    assert server.query("select count(pg_terminate_backend(active_pid)) from pg_replication_slots where slot_name = %s",
                        (slot_name,)) == [(1,)]
    server.wait_confirmed(slot_name)
    records = broker.consume(topic)
    assert [record.json["data"][0]["id"] for record in records] == [str(i) for i in range(1, 60001)]
    assert [position(record).ordinal for record in records] == list(range(60000))
    assert "trying again" in walferry.log()
    assert walferry.stop() == 0


def test_a_full_spool_lets_large_transactions_come_after_their_commit(server, broker, database, slot_name, topic_prefix, task,
                                                                      run):
    server.psql("create table big (id int primary key, v text)", database)
    spool = run.subfolder("spool")
    walferry = start(task, **small(server, database, spool={"directory": str(spool), "size": "16MB"}))
    server.psql("insert into big select i, repeat(md5(i::text), 20) from generate_series(1, 40000) i", database)
    server.wait_confirmed(slot_name)
    assert "WF4201" in walferry.log()
    records = broker.consume(topic_prefix + "public.big")
    assert [record.json["data"][0]["id"] for record in records] == [str(i) for i in range(1, 40001)]
    assert not any(spool.glob("*/*.frames"))
    assert walferry.stop() == 0


def test_a_spool_that_cannot_be_written_is_done_without(server, broker, database, slot_name, topic_prefix, task, run):
    server.psql("create table big (id int primary key, v text)", database)
    obstacle = run.subfolder("spool") / "a file"
    obstacle.write_text("in the way", encoding="utf-8")
    walferry = start(task, **small(server, database, spool={"directory": str(obstacle)}))
    server.psql("insert into big select i, repeat('x', 100) from generate_series(1, 5000) i", database)
    server.wait_confirmed(slot_name)
    assert "WF4202" in walferry.log()
    assert len(broker.consume(topic_prefix + "public.big")) == 5000
    assert walferry.stop() == 0


def test_a_damaged_spool_file_is_noticed_and_the_rows_come_again(server, broker, database, slot_name, topic_prefix, task, run):
    server.psql("create table big (id int primary key, v text)", database)
    spool = run.subfolder("spool")
    walferry = start(task, **small(server, database, spool={"directory": str(spool)}))
    with server.connect(database, autocommit=False) as connection:
        connection.cursor().execute("insert into big select i, repeat(md5(i::text), 20) from generate_series(1, 20000) i")
        wait_until(lambda: len(list(spool.glob("*/*.frames"))) > 2, "several files in the spool", 30)
        file = sorted(spool.glob("*/*.frames"))[1]
        with file.open("r+b") as damaged:
            damaged.seek(file.stat().st_size // 2)
            old = damaged.read(1)
            damaged.seek(-1, os.SEEK_CUR)
            damaged.write(bytes([old[0] ^ 1]))
        connection.commit()
    server.wait_confirmed(slot_name)
    assert "WF4001" in walferry.log()
    records = broker.consume(topic_prefix + "public.big")
    assert [record.json["data"][0]["id"] for record in records] == [str(i) for i in range(1, 20001)]
    assert walferry.stop() == 0


def test_a_spool_file_cut_from_outside_ends_the_shipper_with_a_word(server, broker, database, slot_name, topic_prefix, task,
                                                                    run):
    server.psql("create table big (id int primary key, v text)", database)
    spool = run.subfolder("spool")
    settings = small(server, database, spool={"directory": str(spool)})
    walferry = start(task, **settings)
    connection = server.connect(database, autocommit=False)
    connection.cursor().execute("insert into big select i, repeat('x', 100) from generate_series(1, 10000) i")
    wait_until(lambda: any(spool.glob("*/*.frames")), "the transaction in the spool", 30)
    for file in spool.glob("*/*.frames"):
        os.truncate(file, 0)
    connection.cursor().execute("insert into big select i, repeat('x', 100) from generate_series(10001, 40000) i")
    connection.commit()
    connection.close()
    assert walferry.wait() == 5
    assert "WF4202" in walferry.log()
    walferry = start(task, **settings)
    server.wait_confirmed(slot_name)
    assert len(broker.consume(topic_prefix + "public.big")) == 40000
    assert walferry.stop() == 0


def test_what_a_killed_shipper_left_in_the_spool_is_removed(server, broker, database, slot_name, topic_prefix, task, run):
    server.psql("create table big (id int primary key, v text)", database)
    spool = run.subfolder("spool")
    (spool / "another.txt").write_text("not ours", encoding="utf-8")
    settings = small(server, database, spool={"directory": str(spool)})
    walferry = start(task, **settings)
    connection = server.connect(database, autocommit=False)
    connection.cursor().execute("insert into big select i, repeat('x', 100) from generate_series(1, 20000) i")
    wait_until(lambda: any(spool.glob("*/*.frames")), "the transaction in the spool", 30)
    left = spool_folders(spool)
    walferry.kill()
    assert len(left) == 2

    walferry = start(task, **settings)
    connection.commit()
    connection.close()
    server.wait_confirmed(slot_name)
    assert len(broker.consume(topic_prefix + "public.big")) == 20000
    assert not set(left) - {"another.txt"} & set(spool_folders(spool))
    assert walferry.stop() == 0
    assert spool_folders(spool) == ["another.txt"]


def test_a_restart_in_the_middle_of_a_transaction_loses_nothing_of_it(server, broker, database, slot_name, topic_prefix, task):
    server.psql("create table big (id int primary key, v text); create table small (id int primary key)", database)
    walferry = start(task, **small(server, database))
    connection = server.connect(database, autocommit=False)
    connection.cursor().execute("insert into big select i, repeat('x', 100) from generate_series(1, 10000) i")
    for i in range(20):
        server.psql(f"insert into small values ({i})", database)
    # What was confirmed lies behind the first rows of the open transaction.
    server.wait_confirmed(slot_name)
    assert walferry.stop() == 0
    walferry = start(task, **small(server, database))
    connection.cursor().execute("insert into big select i, 'more' from generate_series(10001, 12000) i")
    connection.commit()
    connection.close()
    server.wait_confirmed(slot_name)
    assert [r.json["data"][0]["id"] for r in broker.consume(topic_prefix + "public.big")] == [str(i) for i in range(1, 12001)]
    assert len(broker.consume(topic_prefix + "public.small")) == 20
    assert walferry.stop() == 0


def test_the_replication_origin_is_a_header(server, broker, database, slot_name, topic_prefix, task):
    """However the transaction comes: whole, or in blocks."""
    server.psql("create table t (id int primary key, v text)", database)
    walferry = start(task, **small(server, database))
    origin = f"{slot_name} 'øther'"
    server.query("select pg_replication_origin_create(%s)", (origin,), dbname=database)
    try:
        connection = server.connect(database, autocommit=False)
        cursor = connection.cursor()
        cursor.execute("select pg_replication_origin_session_setup(%s)", (origin,))
        cursor.execute("insert into t values (1, 'small')")
        connection.commit()
        cursor.execute("insert into t select i, repeat('x', 100) from generate_series(2, 3000) i")
        connection.commit()
        cursor.execute("select pg_replication_origin_session_reset()")
        connection.commit()
        connection.close()
        server.psql("insert into t values (3001, 'local')", database)
        server.wait_confirmed(slot_name)
        records = broker.consume(topic_prefix + "public.t")
        assert len(records) == 3001
        assert {record.header.get("walferry.origin") for record in records[:3000]} == {origin.encode()}
        assert "walferry.origin" not in records[3000].header
    finally:
        server.query("select pg_replication_origin_drop(%s)", (origin,), dbname=database)
    assert walferry.stop() == 0

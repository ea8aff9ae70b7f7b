"""The command line: tail, config, version, help, and what is written to a terminal and to a pipe."""

import contextlib
import json
import os
import pty
import re
import select
import signal
import subprocess
import time

import pytest

from harness.run import wait_until
from harness.stream import log_lines
from harness.walferry import binary, run_once


@contextlib.contextmanager
def on_terminal(*arguments: str):
    """Runs the command with a terminal as its three standard files; gives the process and a reader of what it wrote."""
    ours, theirs = pty.openpty()
    process = subprocess.Popen([str(binary()), *arguments], stdin=theirs, stdout=theirs, stderr=theirs,
                               start_new_session=True)
    os.close(theirs)
    written = bytearray()

    def read() -> str:
        with contextlib.suppress(OSError):  # EIO: the other side is closed
            while select.select([ours], [], [], 0)[0]:
                written.extend(os.read(ours, 65536))
        return written.decode("utf-8", errors="replace")

    try:
        yield process, read
    finally:
        process.kill()
        process.wait()
        os.close(ours)


@contextlib.contextmanager
def tail(server, database, *arguments: str, **options):
    """`walferry tail` into a pipe, once its slot is there."""
    process = subprocess.Popen([str(binary()), "tail", server.dsn(database), *arguments], text=True,
                               stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True, **options)
    try:
        wait_until(lambda: process.poll() is not None or len(active_slots(server, database)) == 1, "tail's slot", 20)
        yield process
    finally:
        process.kill()
        process.communicate()


def active_slots(server, database):
    return server.query("select slot_name from pg_replication_slots where active and database = %s", (database,))


def no_slot_is_left(server, database):
    wait_until(lambda: not server.query("select from pg_replication_slots where database = %s", (database,)),
               "tail's slot to go away", 20)


def test_tail_writes_json_lines_into_a_pipe_and_ends_at_the_count(server, database):
    server.psql("create table t (id int primary key, note text); create table u (id int)", database)
    with tail(server, database, "--count", "3") as process:
        server.psql("insert into t values (1, E'two\\nlines'); insert into u values (7); update t set id = 2;"
                    "delete from t;", database)
        out, err = process.communicate(timeout=20)
    assert process.returncode == 0 and err == ""
    messages = [json.loads(line) for line in out.splitlines()]
    assert [(message["table"], message["type"]) for message in messages] == [
        ("t", "INSERT"), ("u", "INSERT"), ("t", "UPDATE")]
    assert messages[0]["data"] == [{"id": "1", "note": "two\nlines"}]
    no_slot_is_left(server, database)


def test_tail_of_chosen_tables(server, database):
    server.psql("create table t (id int); create table t_2 (id int); create table u (id int)", database)
    with tail(server, database, "--tables", "public.t*", "--tables", "!public.t_*", "--count", "1") as process:
        server.psql("insert into u values (1); insert into t_2 values (2); insert into t values (3)", database)
        out, _ = process.communicate(timeout=20)
    assert json.loads(out)["data"] == [{"id": "3"}]


@pytest.mark.parametrize("end", [signal.SIGTERM, signal.SIGINT])
def test_tail_ends_by_a_signal_and_leaves_no_slot(end, server, database):
    with tail(server, database) as process:
        process.send_signal(end)
        out, err = process.communicate(timeout=20)
    assert (process.returncode, out, err) == (0, "", "")
    no_slot_is_left(server, database)


def test_tail_ends_when_nobody_reads_although_nothing_changes(server, database):
    with tail(server, database) as process:
        process.stdout.close()
        assert process.wait(timeout=20) == 0
        assert process.stderr.read() == ""
    no_slot_is_left(server, database)


def test_tail_killed_leaves_no_slot(server, database):
    with tail(server, database) as process:
        process.kill()
        process.wait(timeout=20)
    no_slot_is_left(server, database)


def test_tail_says_so_when_the_output_cannot_be_written(server, database):
    server.psql("create table t (id int)", database)
    with open("/dev/full", "wb") as full:
        process = subprocess.Popen([str(binary()), "tail", server.dsn(database)], stdout=full, stderr=subprocess.PIPE,
                                   text=True)
        try:
            wait_until(lambda: len(active_slots(server, database)) == 1, "tail's slot", 20)
            server.psql("insert into t values (1)", database)
            _, err = process.communicate(timeout=20)
        finally:
            process.kill()
            process.wait()
    assert process.returncode == 6 and "WF5002" in err and "No space left" in err
    no_slot_is_left(server, database)


def test_tail_without_a_server_or_with_a_lost_one(server, database):
    done = run_once("tail", "host=127.0.0.1 port=1 dbname=x")
    assert done.returncode == 3 and "WF2003" in done.stderr and "remedy:" in done.stderr
    with tail(server, database) as process:
        server.query("select pg_terminate_backend(active_pid) from pg_replication_slots where database = %s",
                     (database,))
        _, err = process.communicate(timeout=20)
    assert process.returncode == 3 and "WF2012" in err


def test_tail_on_a_terminal_is_for_people(server, database):
    server.psql("create table t (id int primary key, note text)", database)
    with on_terminal("tail", server.dsn(database)) as (process, read):
        wait_until(lambda: "watching" in read(), "the greeting", 20)
        server.psql("insert into t values (1, E'\\x1b[31mred\\nline')", database)
        wait_until(lambda: "red" in read(), "the change", 20)
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=20) == 0
        text = read()
    assert "{\"id\"" not in text and "\x1b[31mred" not in text, "a value must not steer the terminal"
    assert "public.t" in text


def test_one_live_line_on_a_terminal(server, database, task):
    server.psql("create table t (id int primary key)", database)
    walferry = task()
    with on_terminal("run", str(walferry.task_file)) as (process, read):
        wait_until(lambda: "streaming" in read(), "the start", 20)
        wait_until(lambda: "rows/s" in read(), "the live line", 20)
        shown = len(read())
        server.psql("insert into t select generate_series(1, 10)", database)
        wait_until(lambda: "created topic" in read()[shown:], "a log line after the live line", 20)
        wait_until(lambda: "total 10 rows" in read(), "the rows in the live line", 20)
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=20) == 0
        text = read()
    # Each log line stands at the beginning of a line of its own.
    for line in text.replace("\x1b[K", "\x1b[K\n").splitlines():
        assert len(re.findall(r"\d{4}-\d\d-\d\dT", line)) <= 1
        assert "rows/s" not in line or "info" not in line
    assert "stopped" in text.splitlines()[-1]


def test_json_logs_in_a_pipe_to_the_last_line(server, database, slot_name, task):
    walferry = task(source={"create_slot": False}).start()
    assert walferry.wait() == 3
    lines = log_lines(walferry.log())
    assert lines[0]["msg"] == "starting" and lines[0]["fields"]["task"] == slot_name
    last = lines[-1]
    assert last["level"] == "error" and last["fields"]["code"] == "WF2023"
    assert "pg_create_logical_replication_slot" in last["fields"]["remedy"]


def test_text_logs_where_asked_for_and_quiet_below_the_level(server, database, slot_name, task):
    walferry = task(log={"format": "text", "level": "warning"}, source={"create_slot": False}).start()
    assert walferry.wait() == 3
    assert walferry.log().startswith("walferry: WF2023: ")
    quiet = task(log={"level": "error"}).start()
    server.wait_confirmed(slot_name)
    assert quiet.stop() == 0 and quiet.log() == ""


def test_no_secret_and_no_value_in_the_log(server, broker, database, slot_name, topic_prefix, task):
    server.psql("create table t (id int primary key, secret text)", database)
    walferry = task(source={"dsn": server.dsn(database) + " password=${DB_PASSWORD}"}, log={"level": "debug"},
                    sink={"kafka": {"sasl.password": "kafka-hush", "debug": "broker"}})
    walferry.start(environment={"DB_PASSWORD": "pg-hush"})
    walferry.wait_for_log('"streaming"')
    server.psql("insert into t values (1, 'cell-hush')", database)
    server.wait_confirmed(slot_name)
    assert walferry.stop() == 0 and "hush" not in walferry.log()
    done = run_once("config", str(walferry.task_file), env={**os.environ, "DB_PASSWORD": "pg-hush"})
    assert done.returncode == 0 and "hush" not in done.stdout + done.stderr


def test_version_and_help(server):
    version = run_once("version")
    assert version.returncode == 0 and re.fullmatch(r"walferry \d+\.\d+\.\d+\n", version.stdout)
    assert run_once("--version").stdout == version.stdout
    whole = run_once("--help")
    assert whole.returncode == 0 and "Exit status" in whole.stdout
    for command in ("run", "tail", "config", "version"):
        assert re.search(rf"^  {command} ", whole.stdout, re.MULTILINE)
        one = run_once(command, "--help")
        assert one.returncode == 0 and one.stderr == ""
        assert re.search(rf"Examples?:\n  .*walferry {command}", one.stdout)


def test_config_lists_all_settings_and_those_in_force(task):
    every = run_once("config")
    assert every.returncode == 0 and "sink.queue_bytes" in every.stdout
    walferry = task(sink={"queue_bytes": "64MB", "kafka": {"linger.ms": 7}})
    force = run_once("config", str(walferry.task_file))
    assert force.returncode == 0
    assert re.search(r"queue_bytes.*64MB", force.stdout) and re.search(r"linger\.ms.*7", force.stdout)
    checked = run_once("run", str(walferry.task_file), "--check-config")
    assert (checked.returncode, checked.stdout) == (0, f"{walferry.task_file} is valid\n")


@pytest.mark.parametrize("arguments", [[], ["frobnicate"], ["run"], ["run", "a", "b"], ["tail"], ["--frobnicate"],
                                       ["tail", "dbname=x", "--count", "0"], ["tail", "dbname=x", "--count", "-1"],
                                       ["tail", "dbname=x", "--tables", "a.b.c.*.\""],
                                       ["tail", "dbname=x", "--format", "x"],
                                       ["config", "x.toml", "--markdown"], ["run", ""]])
def test_a_wrong_command_line(arguments):
    done = run_once(*arguments)
    assert done.returncode == 2 and done.stdout == ""
    assert re.search(r"WF100[12]", done.stderr) and "remedy:" in done.stderr


def test_a_start_needs_no_second(server, broker, database, topic_prefix, task):
    """Not a limit, so that a busy machine fails nothing: `pytest -s` shows it."""
    server.psql("create table t (id int primary key)", database)
    first = task().start()
    first.wait_for_log('"streaming"')
    assert first.stop() == 0
    server.psql("insert into t values (1)", database)
    broker.create_topic(topic_prefix + "public.t")
    start = time.monotonic()
    first.start()
    broker.wait_records(topic_prefix + "public.t", 1)
    print(f"start to first record: {time.monotonic() - start:.2f} s")

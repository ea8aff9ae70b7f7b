"""The task file, and the surroundings of the process, are not as they must be."""

import os
import signal
import subprocess

import pytest

from harness.run import wait_until
from harness.walferry import binary, run_once

GOOD = """
name = "shop"
[source]
dsn = "host=127.0.0.1 port=1 dbname=shop"
[sink]
brokers = "127.0.0.1:1"
"""


def run_text(tmp_path, text, *arguments, **options):
    file = tmp_path / "task.toml"
    file.write_bytes(text if isinstance(text, bytes) else text.encode("utf-8"))
    return run_once("run", str(file), *arguments, **options)


def assert_refused(done, code, *parts):
    assert done.returncode == 2 and done.stdout == ""
    assert done.stderr.startswith(f"walferry: {code}") and "\n  remedy: " in done.stderr, done.stderr
    for part in parts:
        assert part in done.stderr, done.stderr


def test_the_good_one_is_good(tmp_path):
    assert run_text(tmp_path, GOOD, "--check-config").returncode == 0


@pytest.mark.parametrize(("path", "code"), [("no/such/file.toml", "WF1002"), (".", "WF1002"), ("/dev/null", "WF1007"),
                                            ("/proc/self/mem", "WF1002")])
def test_no_such_file_or_none_that_can_be_read(tmp_path, path, code):
    assert_refused(run_once("run", path, cwd=tmp_path), code)
    assert_refused(run_once("config", path, cwd=tmp_path), code)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become the user who may not read the file")
def test_a_file_that_may_not_be_read(tmp_path):
    file = tmp_path / "task.toml"
    file.write_text(GOOD)
    file.chmod(0)
    tmp_path.chmod(0o755)
    command = ["setpriv", "--reuid=nobody", "--regid=nogroup", "--clear-groups", str(binary()), "run", str(file)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False, cwd="/")
    if "setpriv" in done.stderr or done.returncode in (126, 127):
        pytest.skip("the command cannot be reached as another user")
    assert_refused(done, "WF1002", "ermission")


@pytest.mark.parametrize(("text", "code", "parts"), [
    ("", "WF1007", ["name"]),
    ("\n# nothing\n", "WF1007", ["name"]),
    (b"\x7fELF\x02\x01\x01\x00\xff\xfe" + bytes(range(256)), "WF1003", []),
    (b"\xff\xfen\x00a\x00m\x00e\x00", "WF1003", []),
    ("name = 'shop", "WF1003", ["task.toml:1"]),
    (GOOD + "[sink]\n", "WF1003", []),
    (GOOD + "format = 'canal-json'\nbroker = 'x:1'\n", "WF1004", ["task.toml:8", "broker", "brokers"]),
    (GOOD + "[sing]\nbrokers = 'x'\n", "WF1004", ["sing"]),
    (GOOD + "create_topics = 'yes'\n", "WF1005", ["task.toml:7", "create_topics"]),
    (GOOD + "topic_partitions = 1.5\n", "WF1005", ["topic_partitions"]),
    (GOOD + "topic_partitions = 0\n", "WF1006", ["topic_partitions", "100000"]),
    (GOOD + "topic_partitions = 99999999999999999999\n", "WF100", []),
    (GOOD + "queue_bytes = '64'\n", "WF100", ["queue_bytes", "MB"]),
    (GOOD + "queue_bytes = '9999999999GB'\n", "WF1006", ["queue_bytes"]),
    (GOOD + "format = 'canal_json'\n", "WF1006", ["canal-json"]),
    (GOOD + "format = 'dts-avro'\n", "WF1006", ["format"]),
    (GOOD + "topic = '{schema}.{tabel}'\n", "WF1006", ["{tabel}"]),
    (GOOD + "topic = 'a topic'\n", "WF1006", ["topic"]),
    (GOOD + "topic = ''\n", "WF1006", ["topic"]),
    (GOOD + "[[table]]\ntopic = 'x'\n", "WF1007", ["match"]),
    (GOOD + "[[table]]\nmatch = 'public.*'\nkey = []\n", "WF1006", ["key"]),
    (GOOD + "[table]\nmatch = 'public.*'\n", "WF1005", ["[[table]]"]),
    (GOOD + "[[table]]\nmatch = 'a.b.c'\n", "WF1006", ["a.b.c"]),
    (GOOD + "[[table]]\nmatch = 'public.t'\noperations = ['upsert']\n", "WF1006", ["upsert"]),
    (GOOD + "[retry]\nmax_delay = '1ms'\ninitial_delay = '1s'\n", "WF1006", ["max_delay"]),
    (GOOD.replace('"shop"', '"a/b"', 1), "WF1006", ["name"]),
    (GOOD.replace('"shop"', '"${NOT_SET_ANYWHERE}"', 1), "WF1008", ["NOT_SET_ANYWHERE", "task.toml:2"]),
    (GOOD.replace("[sink]", "tables = ['public.\"x']\n[sink]"), "WF1006", ["tables"]),
    (GOOD.replace("[sink]", "tables = ['']\n[sink]"), "WF1006", ["tables"]),
    (GOOD.replace("[sink]", "slot = 'Shop'\n[sink]"), "WF1006", ["slot"]),
    (GOOD.replace("127.0.0.1:1", "127.0.0.1:99999"), "WF1006", ["brokers"]),
    (b"name = 'x'\n" + b"#" * (2 << 20), "WF1002", ["1 MiB"]),
])
def test_a_task_file_that_is_wrong(tmp_path, text, code, parts):
    assert_refused(run_text(tmp_path, text), code, *parts)


# --- standard files ---

@pytest.fixture
def full_disk(tmp_path):
    """A file system without any room left; /dev/full where none can be mounted."""
    folder = tmp_path / "full"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=16k", "tmpfs", str(folder)]
    mounted = os.geteuid() == 0 and subprocess.run(mount, capture_output=True, check=False).returncode == 0
    if not mounted:
        yield None
        return
    try:
        with (folder / "filler").open("wb") as filler:
            with pytest.raises(OSError):
                while True:
                    os.write(filler.fileno(), b"x" * 4096)
        yield folder
    finally:
        subprocess.run(["umount", str(folder)], check=True)


def streams_whatever_the_log_does(server, broker, database, slot_name, topic, walferry, **files):
    """Starts the task with these standard files; rows arrive and a stop drains."""
    process = subprocess.Popen([str(binary()), "run", str(walferry.task_file)], stdin=subprocess.DEVNULL,
                               start_new_session=True, **files)
    try:
        wait_until(lambda: server.confirmed_lsn(slot_name) is not None or process.poll() is not None, "the slot", 30)
        server.psql("insert into t values (1)", database)
        server.wait_confirmed(slot_name)
        assert len(broker.consume(topic)) == 1
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=30) == 0
    finally:
        process.kill()
        process.wait()


def test_logs_on_a_full_disk_stop_nothing(server, broker, database, slot_name, topic_prefix, task, full_disk):
    server.psql("create table t (id int primary key)", database)
    with open(full_disk / "log" if full_disk else "/dev/full", "wb") as log:
        streams_whatever_the_log_does(server, broker, database, slot_name, topic_prefix + "public.t",
                                      task(log={"level": "debug"}), stdout=log, stderr=log)


def test_a_log_pipe_that_nobody_reads_stops_nothing(server, broker, database, slot_name, topic_prefix, task):
    server.psql("create table t (id int primary key)", database)
    read_end, write_end = os.pipe()
    os.close(read_end)
    try:
        streams_whatever_the_log_does(server, broker, database, slot_name, topic_prefix + "public.t", task(),
                                      stdout=write_end, stderr=write_end)
    finally:
        os.close(write_end)


def test_closed_standard_files_stop_nothing(server, broker, database, slot_name, topic_prefix, task):
    server.psql("create table t (id int primary key)", database)
    streams_whatever_the_log_does(server, broker, database, slot_name, topic_prefix + "public.t", task(),
                                  preexec_fn=lambda: (os.close(1), os.close(2)))


@pytest.mark.parametrize("arguments", [["version"], ["config"], ["config", "--markdown"]])
def test_output_that_cannot_be_written_is_an_error(arguments):
    with open("/dev/full", "wb") as full:
        done = subprocess.run([str(binary()), *arguments], stdout=full, stderr=subprocess.PIPE, text=True, timeout=30,
                              check=False)
    assert done.returncode == 6 and "WF5002" in done.stderr

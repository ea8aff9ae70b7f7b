"""The shipper's own process is killed, stopped, starved, or its clock is set."""

import os
import signal
import struct
import subprocess
from pathlib import Path

import pytest
from outcome import (SLOW_SINK, again, codes, ended, received, started, stopped_well, times_streaming,
                     wait_streaming_again)
from promise import at_least_once, written

from harness.proxy import Proxy
from harness.run import wait_until
from harness.stream import CounterLoad, log_lines
from harness.walferry import binary

QUICK = {"initial_delay": "50ms", "max_delay": "200ms"}
ROWS = 20000
LARGE = f"insert into t select n, repeat('x', 300) from generate_series(1, {ROWS}) n"


def in_the_middle(server, broker, slot_name, topic, rows=2000):
    """Waits until Kafka has some of a large transaction; fails where the shipper has read all of it by then."""
    end = server.current_lsn()
    wait_until(lambda: written(broker, topic) > rows, "some rows of the transaction", 30)
    assert not received(server, slot_name, end), "the transaction was over too soon for this test"


# --- SIGKILL ---

@at_least_once
def test_killed_while_idle(server, broker, database, slot_name, topic_prefix, task, delivery):
    server.psql("create table t (id int primary key, pad text)", database)
    walferry = started(task, sink=delivery.sink())
    server.psql("insert into t select n, '' from generate_series(1, 100) n", database)
    server.wait_confirmed(slot_name)
    walferry.kill()
    server.psql("insert into t values (101, '')", database)
    again(walferry)
    server.wait_confirmed(slot_name)
    assert delivery.ids(broker, topic_prefix + "public.t") == list(range(1, 102)) and stopped_well(walferry)


def test_killed_again_and_again_in_one_transaction(server, broker, database, slot_name, topic_prefix, task, delivery):
    """What each process had sent of the transaction is found again by the next one."""
    server.psql("create table t (id int primary key, pad text)", database)
    topic = topic_prefix + "public.t"
    walferry = started(task, sink=delivery.sink(**SLOW_SINK))
    server.psql(LARGE, database)
    for step in (1, 2, 3):
        in_the_middle(server, broker, slot_name, topic, step * ROWS // 5)
        walferry.kill()
        again(walferry)
    server.wait_confirmed(slot_name)
    assert delivery.ids(broker, topic) == list(range(1, ROWS + 1)) and stopped_well(walferry)


def test_killed_while_it_drains(server, broker, database, slot_name, topic_prefix, task, delivery):
    """SIGTERM came, Kafka takes nothing, and then SIGKILL: as a supervisor does that loses its patience."""
    server.psql("create table t (id int primary key, pad text)", database)
    walferry = started(task, sink=delivery.sink())
    server.psql("insert into t select n, '' from generate_series(1, 100) n", database)
    server.wait_confirmed(slot_name)
    with broker.hung():
        server.psql("insert into t select n, '' from generate_series(101, 1000) n", database)
        end = server.current_lsn()
        wait_until(lambda: received(server, slot_name, end), "the rows to be with the shipper", 20)
        walferry.process.send_signal(signal.SIGTERM)
        before = server.query("select reply_time from pg_stat_replication where pid = %s",
                              (server.walsender_pid(slot_name),))
        wait_until(lambda: server.query("select reply_time from pg_stat_replication where pid = %s",
                                        (server.walsender_pid(slot_name),)) != before, "it to drain", 20)
        assert walferry.running()
        walferry.kill()
    again(walferry)
    server.wait_confirmed(slot_name)
    assert delivery.ids(broker, topic_prefix + "public.t") == list(range(1, 1001)) and stopped_well(walferry)


# --- SIGSTOP, SIGCONT ---

def test_stopped_for_longer_than_the_server_waits(server, broker, database, slot_name, topic_prefix, task, delivery):
    """In the middle of a transaction. The server gives the connection up; the process goes on where it was."""
    server.psql(f"alter database {database} set wal_sender_timeout = '1s';"
                "create table t (id int primary key, pad text)", database)
    topic = topic_prefix + "public.t"
    walferry = started(task, sink=delivery.sink(**SLOW_SINK))
    server.psql(LARGE, database)
    in_the_middle(server, broker, slot_name, topic)
    before, pid = times_streaming(walferry), server.walsender_pid(slot_name)
    walferry.process.send_signal(signal.SIGSTOP)
    wait_until(lambda: server.walsender_pid(slot_name) != pid, "the server to give the connection up", 30)
    walferry.process.send_signal(signal.SIGCONT)
    wait_streaming_again(walferry, before)
    server.wait_confirmed(slot_name)
    assert delivery.ids(broker, topic) == list(range(1, ROWS + 1))
    assert set(codes(walferry)) <= {"WF2003", "WF2012", "WF2025"} and codes(walferry) and stopped_well(walferry)


# --- out of something ---

def limit(walferry, **limits):
    """Sets limits of the running process; `resource=None` lifts one."""
    words = [f"--{name}={'unlimited' if value is None else value}:" for name, value in limits.items()]
    subprocess.run(["prlimit", "--pid", str(walferry.pid), *words], check=True)


def limited(run, walferry, **limits):
    """Starts it within limits of the system, in a program that is made for that."""
    wrapper = run.subfolder("limited") / "walferry"
    words = " ".join(f"--{name}={value}:" for name, value in limits.items())
    wrapper.write_text(f'#!/bin/sh\nexec prlimit {words} -- "{binary()}" "$@"\n', encoding="ascii")
    wrapper.chmod(0o755)
    os.environ["WALFERRY_BIN"] = str(wrapper)
    try:
        return walferry.start()
    finally:
        del os.environ["WALFERRY_BIN"]


def status_of(walferry, name):
    """A size of /proc/PID/status in bytes."""
    for line in Path(f"/proc/{walferry.pid}/status").read_text(encoding="ascii").splitlines():
        if line.startswith(name + ":"):
            return int(line.split()[1]) * 1024
    raise ValueError(f"no {name}")


@at_least_once
def test_no_file_handle_left_for_a_while(server, broker, database, slot_name, topic_prefix, task, delivery):
    """When the connection to the server has to be made anew."""
    server.psql("create table t (id int primary key)", database)
    with Proxy(server.port) as proxy:
        walferry = started(task, source={"dsn": proxy.dsn(server, database)}, sink=delivery.sink(), retry=QUICK)
        server.psql("insert into t values (1)", database)
        server.wait_confirmed(slot_name)
        limit(walferry, nofile=4)
        proxy.cut()
        line = walferry.wait_for_log(r'\{[^\n]*Too many open files[^\n]*\}')
        assert log_lines(line[0])[0]["fields"]["code"] == "WF2003"
        server.psql("insert into t values (2)", database)
        limit(walferry, nofile=1024)
        server.wait_confirmed(slot_name)
        assert delivery.ids(broker, topic_prefix + "public.t") == [1, 2] and stopped_well(walferry)


@at_least_once
def test_too_few_file_handles_to_start(run, server, broker, database, slot_name, topic_prefix, task, delivery):
    server.psql("create table t (id int primary key)", database)
    walferry = task(sink=delivery.sink(), retry={"connection_window": "0ms", "other_window": "0ms"})
    status, code, last = ended(limited(run, walferry, nofile=5))
    assert status in (3, 4, 6) and "Too many open files" in walferry.log()
    again(walferry)
    server.psql("insert into t values (1)", database)
    server.wait_confirmed(slot_name)
    assert delivery.ids(broker, topic_prefix + "public.t") == [1] and stopped_well(walferry)


def out_of_memory(walferry):
    """It ends by itself, and says why, unless the C library gave up first: that one aborts where it cannot go on."""
    status = walferry.wait(60)
    return status == -signal.SIGABRT or (status == 6 and "WF5001" in walferry.log())


@at_least_once
def test_out_of_memory_while_streaming(server, broker, database, slot_name, topic_prefix, task, delivery):
    """A row of many megabytes where there is no room for it: a clear end, and the next start sends it."""
    server.psql("create table t (id int primary key, pad text); alter table t alter pad set storage external", database)
    walferry = started(task, sink=delivery.sink())
    server.psql("insert into t values (1, '')", database)
    before = server.wait_confirmed(slot_name)
    room = status_of(walferry, "VmSize") + 24 * 1024 * 1024
    limit(walferry, **{"as": room})
    server.psql("insert into t select n, repeat('x', 60000000) from generate_series(2, 2) n", database)
    end = server.current_lsn()
    assert out_of_memory(walferry) and before <= server.confirmed_lsn(slot_name) < end
    again(walferry)
    server.wait_confirmed(slot_name)
    assert delivery.ids(broker, topic_prefix + "public.t") == [1, 2] and stopped_well(walferry)


@pytest.mark.parametrize("part", [0.25, 0.4])
def test_too_little_memory_to_start(part, run, server, broker, database, slot_name, topic_prefix, task):
    """At two places: where threads are made, and where they begin to work."""
    walferry = started(task, retry={"connection_window": "0ms", "other_window": "0ms"})
    enough = status_of(walferry, "VmSize")
    assert walferry.stop() == 0
    assert out_of_memory(limited(run, walferry, **{"as": int(part * enough)}))
    again(walferry)
    assert walferry.stop() == 0


# --- the clock ---

@pytest.fixture(scope="module")
def clock_shim(run):
    """A library that sets a process's wall clock."""
    library = run.subfolder("clock") / "shim.so"
    source = Path(__file__).with_name("clock_shim.c")
    subprocess.run(["gcc", "-O1", "-Wall", "-Wextra", "-Werror", "-shared", "-fPIC", "-o", library, source, "-ldl"],
                   check=True)
    return library


@pytest.fixture
def clock(clock_shim, slot_name):
    """The environment of a process whose clock can be set, and a function that sets it, hours off the right time."""
    offset = clock_shim.with_name(slot_name)
    offset.write_bytes(struct.pack("q", 0))

    def set_clock(hours):
        with offset.open("r+b") as file:
            file.write(struct.pack("q", int(hours * 3600)))

    return {"LD_PRELOAD": str(clock_shim), "CLOCK_OFFSET": str(offset)}, set_clock


@at_least_once
def test_a_clock_that_jumps(clock, server, broker, database, slot_name, topic_prefix, task, delivery):
    """Half an hour on, two days back, right again: no time-out ends early or late, and connections are made anew."""
    topic = topic_prefix + "public.counters"
    environment, set_clock = clock
    walferry = task(sink=delivery.sink(), source={"silence_timeout": "2s"}, retry=QUICK)
    walferry.start(environment=environment)
    walferry.wait_for_log('"streaming"')
    with CounterLoad(server, database) as load:
        broker.wait_records(topic, 100)
        for hours in (0.5, -48, 0):
            set_clock(hours)
            load.go_on(40)
            server.wait_confirmed(slot_name)
        set_clock(-48)
        server.query("select pg_terminate_backend(%s)", (server.walsender_pid(slot_name),))
        load.go_on(40)
    server.wait_confirmed(slot_name)
    hours = {round((record.json["ts"] - record.json["es"]) / 1800000) / 2 for record in broker.consume(topic)}
    assert hours == {0, 0.5, -48}, "the clock did not jump"
    assert delivery.repeats(load, broker, topic) == 0 and codes(walferry) == ["WF2012"] and stopped_well(walferry)


def test_a_clock_far_ahead(clock, server, broker, database, slot_name, topic_prefix, task, delivery):
    """Kafka refuses records of more than an hour ahead of its own clock: told, and tried until the clock is right."""
    topic = topic_prefix + "public.t"
    environment, set_clock = clock
    server.psql("create table t (id int primary key)", database)
    walferry = task(sink=delivery.sink(), retry=QUICK).start(environment=environment)
    walferry.wait_for_log('"streaming"')
    server.psql("insert into t select generate_series(1, 10)", database)
    before = server.wait_confirmed(slot_name)
    set_clock(48)
    server.psql("insert into t select generate_series(11, 20)", database)
    end = server.current_lsn()
    walferry.wait_for_log(r'"code":"WF301[27]"[^\n]*INVALID_TIMESTAMP')
    walferry.wait_for_log('"attempt":2')
    assert before <= server.confirmed_lsn(slot_name) < end
    set_clock(0)
    server.wait_confirmed(slot_name)
    assert delivery.ids(broker, topic) == list(range(1, 21)) and stopped_well(walferry)

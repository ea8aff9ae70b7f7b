"""A row that does not fit into a frame is never passed on as if it were whole."""

import json
import subprocess

import pytest
from harness.run import wait_until
from harness.stream import log_lines
from harness.walferry import binary

# An array of so many items is beyond what the plugin has the server print.
OVERSIZE = "insert into t values (1, array_fill(true, array[6000000]))"


@pytest.fixture
def table(server, database):
    server.psql("create table t (id int primary key, flags bool[]); create table other (id int primary key)", database)


@pytest.mark.usefixtures("table")
def test_run_stops_before_an_oversize_row_until_it_is_left_out(server, broker, database, slot_name, topic_prefix, task):
    walferry = task().start()
    walferry.wait_for_log('"streaming"')
    server.psql("insert into t values (0, '{t}')", database)
    server.wait_confirmed(slot_name)
    server.psql(OVERSIZE, database)
    server.psql("truncate t restart identity cascade; insert into other values (2)", database)
    assert walferry.wait() == 5
    error = next(line for line in log_lines(walferry.log()) if line["level"] == "error")
    assert error["fields"]["code"] == "WF4103" and "public.t " in error["msg"]
    assert "source.tables" in error["fields"]["remedy"]
    assert len(broker.consume(topic_prefix + "public.t")) == 1

    # The slot stands before the row.
    again = task().start()
    assert again.wait() == 5 and "WF4103" in again.log()
    entry = {"match": "public.t", "operations": ["truncate"]}
    without = task(table=[entry]).start()
    broker.wait_records(topic_prefix + "public.other", 1)
    server.wait_confirmed(slot_name)
    types = [record.json["type"] for record in broker.consume(topic_prefix + "public.t")]
    assert sorted(types) == ["INSERT", "TRUNCATE"]
    assert without.stop() == 0


@pytest.mark.usefixtures("table")
def test_tail_prints_an_oversize_row_with_a_warning(server, database):
    command = [str(binary()), "tail", server.dsn(database), "--count", "2"]
    with subprocess.Popen(command, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        try:
            wait_until(lambda: server.query("select 1 from pg_replication_slots where active and database = %s",
                                            (database,)) != [], "tail's slot", 20)
            server.psql(OVERSIZE + "; insert into other values (2)", database)
            output, errors = process.communicate(timeout=60)
        finally:
            process.kill()
    assert process.returncode == 0
    assert [json.loads(line)["data"] for line in output.splitlines()] == [[{"id": "1"}], [{"id": "2"}]]
    warning = json.loads(errors)
    assert warning["level"] == "warning" and warning["fields"] == {"schema": "public", "table": "t", "change": 1}

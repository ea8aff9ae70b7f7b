"""Rows that their topic does not take, or that cannot be sent whole: what each policy sends in their place, that it is
counted and logged, and that nothing is lost or comes twice."""

import json
import re
import zlib
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka.admin import AclOperation
from harness import Kafka, Postgres, Walferry
from harness.guarded_kafka import PASSWORD, USER
from harness.kafka import Record
from harness.run import BUILD, wait_until
from harness.stream import log_lines
from plugin_stream import slow

MB = 1_000_000
TOPIC_LIMIT = 100_000
ROWS = 5
LARGE = 3  # the id of the row that is too large
LARGE_TEXT = "select string_agg(md5(i::text), '') from generate_series(1, {}) i"  # 32 bytes each
TABLE = "create table t (id int primary key, note text)"

# Random bits for lz4: what counts is the size before compression, and the batch must not slip through.
PLAIN = {"compression.type": "none"}
# What the plugin leaves out (it has the server print no array of so many items).
LEFT_OUT = "insert into t2 values ({}, array_fill(true, array[6000000]))"


def reassembler() -> Any:
    """The reader of docs/oversize.md."""
    page = (BUILD.parent / "docs" / "oversize.md").read_text(encoding="utf-8")
    found = re.search(r"```python\n(.*?)```", page, re.DOTALL)
    assert found
    names: dict[str, Any] = {}
    exec(compile(found[1], "docs/oversize.md", "exec"), names)  # noqa: S102
    return names["Reassembler"]()


def whole_values(records: Iterable[Record]) -> Iterator[tuple[Record, bytes]]:
    """Each record, or the last message of it, with its whole value."""
    reader = reassembler()
    for record in records:
        value = reader.feed(record.topic, record.partition, record.value, record.header)
        if value is not None:
            yield record, value


def reassembled(records: Iterable[Record]) -> list[tuple[Record, Any]]:
    return [(record, json.loads(value)) for record, value in whole_values(records)]


def row_of(message: Any) -> dict[str, Any]:
    return message["data"][0]


def warnings_of(walferry: Walferry) -> list[dict[str, Any]]:
    return [line["fields"] for line in log_lines(walferry.log())
            if line["level"] == "warning" and line["msg"] == "a record could not be sent as it is"]


def stopped(walferry: Walferry) -> dict[str, int]:
    """Ends the task; its counters."""
    assert walferry.stop() == 0
    last = next(line for line in log_lines(walferry.log()) if line["msg"] == "stopped")
    return {name: last["fields"][name] for name in ("rows", "dead_letters", "split", "claim_checks", "key_only")}


@pytest.fixture
def topic(server: Postgres, broker: Kafka, database: str, topic_prefix: str) -> str:
    server.psql(TABLE, database)
    name = topic_prefix + "public.t"
    broker.create_topic(name, config={"max.message.bytes": str(TOPIC_LIMIT)})
    return name


@pytest.fixture
def with_policy(task: Callable[..., Walferry], topic_prefix: str) -> Callable[..., Walferry]:
    """A task whose batches are no larger than the topic takes; it is asked how much that is."""
    def make(policy: str, **sink: Any) -> Walferry:
        kafka = {**PLAIN, "batch.size": TOPIC_LIMIT // 2, **sink.pop("kafka", {})}
        return task(sink={"oversize": policy, "dead_letter_topic": topic_prefix + "dead", "kafka": kafka, **sink})
    return make


def write_rows(server: Postgres, database: str, size: int = 250_000) -> None:
    """Rows 1 to ROWS, of which one is too large and is changed again afterwards."""
    for number in range(1, ROWS + 1):
        text = LARGE_TEXT.format(size // 32) if number == LARGE else "select 'small'"
        server.psql(f"insert into t values ({number}, ({text}))", database)
    server.psql(f"update t set note = 'after' where id = {LARGE}", database)


def large_text(server: Postgres, database: str, size: int = 250_000) -> str:
    return str(server.query(LARGE_TEXT.format(size // 32), dbname=database)[0][0])


def assert_said(walferry: Walferry, policy: str, position: str, code: str = "WF3005") -> dict[str, Any]:
    [warning] = warnings_of(walferry)
    assert (warning["policy"], warning["code"]) == (policy, code)
    assert (warning["schema"], warning["table"], warning["position"]) == ("public", "t", position)
    return warning


def test_the_reader_of_the_documentation() -> None:
    """By the rules of docs/oversize.md, whatever crashes and other partitions bring in between."""
    def chunks(value: bytes, count: int, position: str = "7:1:0/AB:0") -> list[tuple[bytes, dict[str, bytes]]]:
        size = -(-len(value) // count)
        return [(value[i * size:(i + 1) * size],
                 {"walferry.chunk": f"{i + 1}/{count}".encode(), "walferry.size": str(len(value)).encode(),
                  "walferry.checksum": b"crc32:%08x" % zlib.crc32(value),
                  "walferry.position": (position + (f".c{i + 1}" if i + 1 < count else "")).encode()})
                for i in range(count)]

    def read(*messages: tuple[int, tuple[bytes, dict[str, bytes]]]) -> list[bytes]:
        reader = reassembler()
        values = [reader.feed("t", partition, *message) for partition, message in messages]
        return [value for value in values if value is not None]

    a = chunks(b"abcdefgh", 3)
    b = chunks(b"ABCDEFGH!", 3)
    ordinary = b"small", {"walferry.position": b"7:1:0/AB:1"}
    assert read((0, a[0]), (0, a[1]), (0, a[2]), (0, ordinary)) == [b"abcdefgh", b"small"]
    # Interrupted, and sent again: the same, with other bytes, in other chunks.
    assert read((0, a[0]), (0, a[1]), (0, a[0]), (0, a[1]), (0, a[2])) == [b"abcdefgh"]
    assert read((0, a[0]), (0, a[1]), (0, b[0]), (0, b[1]), (0, b[2])) == [b"ABCDEFGH!"]
    assert read((0, a[0]), *[(0, chunk) for chunk in chunks(b"abcdefgh", 2)]) == [b"abcdefgh"]
    # Two shippers at once, for a moment.
    assert read((0, a[0]), (0, a[0]), (0, a[1]), (0, a[1]), (0, a[2]), (0, a[2])) == [b"abcdefgh"]
    # Partitions are apart; who begins in the middle waits for the next record; one is a chunk too.
    assert read((0, a[0]), (1, b[0]), (0, a[1]), (1, b[1]), (1, b[2]), (0, a[2])) == [b"ABCDEFGH!", b"abcdefgh"]
    assert read((0, a[1]), (0, a[2]), (0, b[0]), (0, b[1]), (0, b[2])) == [b"ABCDEFGH!"]
    assert read((0, chunks(b"x", 1)[0])) == [b"x"]
    spoilt = a[1][0][::-1], a[1][1]
    with pytest.raises(ValueError, match="7:1:0/AB:0"):
        read((0, a[0]), (0, spoilt), (0, a[2]))


@pytest.mark.parametrize("limit", ["asked", "set"])
def test_split(server, broker, database, slot_name, topic, with_policy, limit):
    # Asked of the topic, or told; then batches need no setting of their own.
    sink = {} if limit == "asked" else {"max_message_size": 40_000, "kafka": {"batch.size": None}}
    walferry = with_policy("split", **sink).start()
    walferry.wait_for_log('"streaming"')
    write_rows(server, database)
    server.wait_confirmed(slot_name)
    records = broker.consume(topic)
    whole = reassembled(records)
    assert [row_of(message)["id"] for _, message in whole] == ["1", "2", "3", "4", "5", "3"]
    assert row_of(whole[LARGE - 1][1])["note"] == large_text(server, database)
    assert row_of(whole[-1][1])["note"] == "after"

    chunks = [record for record in records if "walferry.chunk" in record.header]
    largest = TOPIC_LIMIT if limit == "asked" else 40_000
    count = 3 if limit == "asked" else 7
    assert [record.header["walferry.chunk"].decode() for record in chunks] == [f"{i + 1}/{count}" for i in range(count)]
    # Contiguous, under one key, each with a position of its own, and the last one with that of the record.
    assert [record.offset for record in chunks] == list(range(chunks[0].offset, chunks[0].offset + count))
    assert {record.key for record in chunks} == {b'{"id":"3"}'}
    base = chunks[-1].header["walferry.position"]
    assert [record.header["walferry.position"] for record in chunks[:-1]] \
        == [base + f".c{i + 1}".encode() for i in range(count - 1)]
    assert b".c" not in base
    assert all(largest * 0.8 < len(record.value) < largest for record in chunks)
    warning = assert_said(walferry, "split", base.decode())
    assert warning["messages"] == count and warning["value_bytes"] == int(chunks[0].header["walferry.size"])
    assert stopped(walferry) == {"rows": 6, "dead_letters": 0, "split": 1, "claim_checks": 0, "key_only": 0}


def test_claim_check(server, broker, run, database, slot_name, topic, with_policy):
    folder = run.subfolder("claims")
    walferry = with_policy("claim-check", claim_check_directory=str(folder)).start()
    walferry.wait_for_log('"streaming"')
    write_rows(server, database)
    server.wait_confirmed(slot_name)
    records = broker.consume(topic)
    assert [row_of(record.json)["id"] for record in records] == ["1", "2", "3", "4", "5", "3"]
    claim = records[LARGE - 1]
    assert claim.json["data"] == [{"id": "3"}] and claim.json["type"] == "INSERT" and claim.key == b'{"id":"3"}'
    assert claim.header["walferry.policy"] == b"claim-check"
    files = [path for path in folder.rglob("*") if path.is_file()]
    assert files == [folder / claim.header["walferry.claim"].decode()]
    value = files[0].read_bytes()
    assert len(value) == int(claim.header["walferry.size"])
    assert claim.header["walferry.checksum"] == b"crc32:%08x" % zlib.crc32(value)
    message = json.loads(value)
    assert row_of(message) == {"id": "3", "note": large_text(server, database)}
    assert message["ts"] == message["es"]  # the same bytes whenever it is written
    assert_said(walferry, "claim-check", claim.header["walferry.position"].decode())
    assert stopped(walferry)["claim_checks"] == 1


def test_key_only(server, broker, database, slot_name, topic, with_policy):
    walferry = with_policy("key-only").start()
    walferry.wait_for_log('"streaming"')
    write_rows(server, database)
    server.wait_confirmed(slot_name)
    records = broker.consume(topic)
    assert [row_of(record.json)["id"] for record in records] == ["1", "2", "3", "4", "5", "3"]
    instead = records[LARGE - 1]
    assert instead.json["data"] == [{"id": "3"}] and instead.json["type"] == "INSERT"
    header = instead.header
    assert (header["walferry.policy"], header["walferry.reason"], header["walferry.code"]) \
        == (b"key-only", b"oversize", b"WF3005")
    assert int(header["walferry.size"]) > 250_000 - 32
    assert sum("walferry.policy" in record.header for record in records) == 1
    assert_said(walferry, "key-only", header["walferry.position"].decode())
    assert stopped(walferry)["key_only"] == 1


def test_a_row_without_key_is_no_case_for_key_only(server, broker, database, slot_name, topic, with_policy):
    server.psql("alter table t drop constraint t_pkey", database)
    walferry = with_policy("key-only").start()
    walferry.wait_for_log('"streaming"')
    server.psql("insert into t values (1, 'small')", database)
    before = server.wait_confirmed(slot_name)
    server.psql(f"insert into t values (2, ({LARGE_TEXT.format(8000)}))", database)
    assert walferry.wait() == 4
    error = log_lines(walferry.log())[-1]
    assert error["fields"]["code"] == "WF3005" and "key-only" in error["msg"] and "no key" in error["fields"]["why"]
    assert before <= server.confirmed_lsn(slot_name) < server.current_lsn()
    assert len(broker.consume(topic)) == 1


@pytest.mark.parametrize("fits", [True, False])
def test_dead_letter(server, broker, database, slot_name, topic, topic_prefix, with_policy, fits):
    dead = topic_prefix + "dead"
    if not fits:
        broker.create_topic(dead, config={"max.message.bytes": "50000"})
    walferry = with_policy("dead-letter", kafka={"batch.size": 50_000}).start()
    walferry.wait_for_log('"streaming"')
    write_rows(server, database)
    server.wait_confirmed(slot_name)
    assert [row_of(record.json)["id"] for record in broker.consume(topic)] == ["1", "2", "4", "5", "3"]
    [letter] = broker.consume(dead)
    header = {name.removeprefix("walferry."): value.decode() for name, value in letter.headers}
    assert letter.key == b'{"id":"3"}'
    expected = {"policy": "dead-letter", "reason": "oversize", "code": "WF3005", "topic": topic, "schema": "public",
                "table": "t", "value": "whole" if fits else "described"}
    assert {name: header[name] for name in expected} == expected
    assert topic in header["error"] and "md5" not in header["error"]
    if fits:
        assert row_of(letter.json)["note"] == large_text(server, database)
        assert len(letter.value) == int(header["size"])
    else:
        told = letter.json
        assert (told["schema"], told["table"], told["topic"], told["code"]) == ("public", "t", topic, "WF3005")
        assert told["position"] == header["position"] and told["size"] == int(header["size"]) > 249_000
    assert_said(walferry, "dead-letter", header["position"])
    assert stopped(walferry)["dead_letters"] == 1


def test_stop_leaves_it_to_the_broker_and_a_table_may_choose(server, broker, database, slot_name, topic, topic_prefix,
                                                             with_policy):
    """The sink splits, but one table stops; once the operator has chosen, the task goes on from there."""
    server.psql("create table other (id int primary key, note text)", database)
    broker.create_topic(topic_prefix + "public.other", config={"max.message.bytes": str(TOPIC_LIMIT)})
    large = LARGE_TEXT.format(8000)
    walferry = with_policy("split")
    walferry.task_file.write_text(walferry.task_file.read_text() + '\n[[table]]\nmatch = "public.t"\noversize = "stop"\n')
    walferry.start().wait_for_log('"streaming"')
    server.psql(f"insert into other values (1, ({large}))", database)
    server.wait_confirmed(slot_name)
    assert [row_of(message)["id"] for _, message in reassembled(broker.consume(topic_prefix + "public.other"))] == ["1"]
    server.psql(f"insert into t values (1, ({large}))", database)
    assert walferry.wait() == 4
    error = log_lines(walferry.log())[-1]["fields"]
    assert error["code"] == "WF3005" and "sink.oversize" in error["remedy"]
    again = with_policy("split").start()
    broker.wait_records(topic, 3)
    server.wait_confirmed(slot_name)
    assert [row_of(message)["id"] for _, message in reassembled(broker.consume(topic))] == ["1"]
    assert again.stop() == 0


def test_what_the_broker_lets_pass_compressed_is_not_touched_by_stop(server, broker, database, slot_name, topic, task):
    walferry = task().start()
    walferry.wait_for_log('"streaming"')
    server.psql("insert into t values (1, repeat('x', 500000))", database)
    server.wait_confirmed(slot_name)
    [record] = broker.consume(topic)
    assert len(record.value) > 500_000 and "walferry.policy" not in record.header
    assert walferry.stop() == 0 and warnings_of(walferry) == []


@pytest.mark.parametrize(("delivery", "policy"), [("at-least-once", "split"), ("at-least-once", "claim-check"),
                                                  ("at-least-once", "dead-letter"), ("exactly-once", "split")])
def test_every_row_arrives_once_after_kill_9(server, broker, run, database, slot_name, topic, topic_prefix, with_policy,
                                             delivery, policy):
    """Killed in the middle of large rows: put together again each is there once, and per key in order."""
    folder = run.subfolder("claims")
    sink = {"claim_check_directory": str(folder)} if policy == "claim-check" else {}
    walferry = with_policy(policy, delivery=delivery, queue_bytes="1MB", **sink).start()
    walferry.wait_for_log('"streaming"')
    rows = 900
    large = rows // 3
    load = f"""do $$ begin for n in 1..{rows} loop
        insert into t values (n, case when n % 3 = 0 then
            (select string_agg(md5((i + n)::text), '') from generate_series(1, 8000) i) else 'small' end);
        commit; end loop; end $$"""
    dead = topic_prefix + "dead"

    def written() -> int:
        return sum(sum(broker.end_offsets(name).values()) for name in (topic, dead))

    killed = known = 0
    with ThreadPoolExecutor(1) as pool:
        loading = pool.submit(server.psql, load, database)
        while killed < 3 and not loading.done():
            wait_until(lambda: written() > known + 60 or loading.done(), "rows in Kafka", 30)
            walferry.kill()
            killed += not loading.done()
            known = written()
            walferry.start()
        loading.result(60)
    assert killed >= 1, "the load was over too soon for this test"
    server.psql("update t set note = 'after'", database)
    server.wait_confirmed(slot_name)

    isolation = "read_committed" if delivery == "exactly-once" else "read_uncommitted"
    records = broker.consume(topic, isolation)
    letters = broker.consume(dead, isolation) if policy == "dead-letter" else []
    whole = reassembled(letters + records)
    positions = [record.header["walferry.position"] for record, _ in whole]
    assert len(set(positions)) == len(positions)
    states: dict[str, list[str]] = {}
    for _, message in whole:
        states.setdefault(row_of(message)["id"], []).append(row_of(message).get("note", "(claimed)"))
    assert len(states) == rows
    for number in range(1, rows + 1):
        first, after = states[str(number)]
        assert after == "after"
        if number % 3 != 0:
            assert first == "small"
        elif policy == "claim-check":
            assert first == "(claimed)"
        else:
            assert len(first) == 8000 * 32
    assert len(letters) == (large if policy == "dead-letter" else 0)
    files = [path for path in folder.rglob("*") if path.is_file()]
    assert len(files) == (large if policy == "claim-check" else 0)
    if delivery == "exactly-once":
        # Kafka's transactions alone decide: no chunk comes again, not even of a record that was interrupted.
        assert len(records) == 2 * rows + 2 * large
        assert len(broker.consume(topic, "read_uncommitted")) > len(records)
    assert walferry.stop() == 0


@pytest.fixture
def marked(server: Postgres, database: str) -> None:
    server.psql("create table t2 (id int primary key, flags bool[]); insert into t2 values (7, null)", database)


@pytest.mark.usefixtures("marked")
@pytest.mark.parametrize("policy", ["dead-letter", "key-only"])
def test_a_row_that_the_plugin_could_not_send_whole(server, broker, database, slot_name, topic_prefix, task, policy):
    walferry = task(sink={"dead_letter_topic": topic_prefix + "dead"},
                    table=[{"match": "public.t2", "unrenderable": policy}]).start()
    walferry.wait_for_log('"streaming"')
    server.psql(LEFT_OUT.format(1) + "; update t2 set flags = (select flags from t2 where id = 1) where id = 7; "
                "insert into t2 values (2, '{t}')", database)
    server.wait_confirmed(slot_name)
    records = broker.consume(topic_prefix + "public.t2")
    instead = broker.consume(topic_prefix + "dead") if policy == "dead-letter" else records[:-1]
    assert [record.json["data"] for record in instead] == [[{"id": "1"}], [{"id": "7"}]]
    assert [record.json["type"] for record in instead] == ["INSERT", "UPDATE"]
    for record in instead:
        assert record.header["walferry.code"] == b"WF4103" and record.header["walferry.reason"] == b"left-out"
        assert record.header["walferry.policy"].decode() == policy and "walferry.size" not in record.header
    if policy == "dead-letter":
        assert {record.header["walferry.value"] for record in instead} == {b"partial"}
    assert records[-1].json["data"] == [{"id": "2", "flags": "{t}"}] and "walferry.policy" not in records[-1].header
    assert [fields["code"] for fields in warnings_of(walferry)] == ["WF4103"] * 2
    counters = stopped(walferry)
    assert counters["dead_letters"] + counters["key_only"] == 2


@pytest.mark.parametrize("policy", ["stop", "dead-letter", "key-only"])
def test_a_value_that_cannot_be_rendered(server, broker, database, slot_name, topic_prefix, task, policy):
    server.psql("create table t (id int primary key, at time); create cast (bigint as time) without function", database)
    walferry = task(sink={"dead_letter_topic": topic_prefix + "dead", "unrenderable": policy}).start()
    walferry.wait_for_log('"streaming"')
    server.psql("insert into t values (1, '12:00'); insert into t values (2, (1::bigint << 60)::time);"
                "insert into t values (3, '12:00')", database)
    if policy == "stop":
        assert walferry.wait() == 5 and "WF4102" in walferry.log() and "sink.unrenderable" in walferry.log()
        return
    server.wait_confirmed(slot_name)
    records = broker.consume(topic_prefix + "public.t")
    if policy == "key-only":
        assert [record.json["data"][0]["id"] for record in records] == ["1", "2", "3"]
        [instead] = [record for record in records if "walferry.policy" in record.header]
        assert instead.json["data"] == [{"id": "2"}]
    else:
        assert [record.json["data"][0]["id"] for record in records] == ["1", "3"]
        [instead] = broker.consume(topic_prefix + "dead")
        assert instead.json["code"] == "WF4102" and instead.json["table"] == "t" and '"at"' in instead.json["error"]
        assert instead.header["walferry.value"] == b"described"
    assert instead.key == b'{"id":"2"}' and instead.header["walferry.reason"] == b"unrenderable"
    assert [fields["code"] for fields in warnings_of(walferry)] == ["WF4102"]
    assert stopped(walferry)["rows"] == 3


def test_an_update_of_the_key_in_two_halves(server, broker, database, slot_name, topic, with_policy):
    """The DELETE of the old key is an ordinary message; the INSERT is split, and has a position of its own."""
    walferry = with_policy("split", key_change="delete-insert").start()
    walferry.wait_for_log('"streaming"')
    server.psql(f"insert into t values (1, 'small'); update t set id = 2, note = ({LARGE_TEXT.format(8000)})", database)
    server.wait_confirmed(slot_name)
    records = broker.consume(topic)
    assert [message["type"] for _, message in reassembled(records)] == ["INSERT", "DELETE", "INSERT"]
    positions = [record.header["walferry.position"].decode().rsplit(":", 1)[1] for record in records]
    assert positions[1:] == ["0.1", "0.2.c1", "0.2.c2", "0.2"]
    assert stopped(walferry)["split"] == 1


def test_logical_messages_have_the_policy_of_the_sink(server, broker, database, slot_name, topic_prefix, with_policy):
    topic = topic_prefix + "messages"
    broker.create_topic(topic, config={"max.message.bytes": str(TOPIC_LIMIT)})
    walferry = with_policy("split", message_topic=topic)
    text = walferry.task_file.read_text().replace("[source]", "[source]\nmessages = true", 1)
    walferry.task_file.write_text(text)
    walferry.start().wait_for_log('"streaming"')
    server.psql(f"select pg_logical_emit_message(true, 'audit', ({LARGE_TEXT.format(8000)}))", database)
    server.psql("select pg_logical_emit_message(false, 'audit', 'small')", database)
    server.wait_confirmed(slot_name)
    reader = reassembler()
    values = [reader.feed(record.topic, record.partition, record.value, record.header)
              for record in broker.consume(topic)]
    assert [value for value in values if value] == [large_text(server, database, 256_000).encode(), b"small"]
    assert stopped(walferry)["split"] == 1


def test_a_claim_check_directory_that_is_not_there(server, broker, database, run, with_policy):
    folder = run.subfolder("claims") / "missing"
    walferry = with_policy("claim-check", claim_check_directory=str(folder)).start()
    assert walferry.wait() == 2
    assert "WF1006" in walferry.log() and str(folder) in walferry.log() and not folder.exists()


def test_a_claim_that_cannot_be_written_is_tried_again(server, broker, run, database, slot_name, topic, with_policy):
    folder = run.subfolder("claims")
    # A file where the task's folder has to be: no right is missing, so that it fails for root too.
    (folder / slot_name).write_text("in the way")
    walferry = with_policy("claim-check", claim_check_directory=str(folder)).start()
    walferry.wait_for_log('"streaming"')
    server.psql(f"insert into t values (1, ({LARGE_TEXT.format(8000)}))", database)
    walferry.wait_for_log("WF4301")
    assert broker.end_offsets(topic) == {0: 0}
    (folder / slot_name).unlink()
    [claim] = broker.wait_records(topic, 1)
    assert (folder / claim.header["walferry.claim"].decode()).stat().st_size == int(claim.header["walferry.size"])
    server.wait_confirmed(slot_name)
    assert walferry.stop() == 0


def test_warnings_are_thinned_out_but_all_is_counted(server, broker, database, slot_name, topic, with_policy):
    walferry = with_policy("key-only", max_message_size="10kB").start()
    walferry.wait_for_log('"streaming"')
    rows = 300
    server.psql(f"insert into t select n, repeat('x', 12000) from generate_series(1, {rows}) n", database)
    server.wait_confirmed(slot_name)
    assert len(broker.consume(topic)) == rows
    assert 20 <= len(warnings_of(walferry)) < rows
    assert stopped(walferry)["key_only"] == rows


def test_nothing_near_the_limit_is_refused(server, broker, database, slot_name, topic, with_policy):
    """Just below it a message passes as it is, just above it is split; the broker takes both, and every chunk."""
    walferry = with_policy("split").start()
    walferry.wait_for_log('"streaming"')
    sizes = [*range(TOPIC_LIMIT - 900, TOPIC_LIMIT + 100, 20), *range(2 * TOPIC_LIMIT - 1500, 2 * TOPIC_LIMIT, 50)]
    server.psql("insert into t select n, repeat('x', n) from unnest(array["
                + ",".join(map(str, sizes)) + "]) n", database)
    server.wait_confirmed(slot_name)
    records = broker.consume(topic)
    rows = [row_of(message) for _, message in reassembled(records)]
    assert [(int(row["id"]), len(row["note"])) for row in rows] == [(size, size) for size in sizes]
    whole = [record for record in records if "walferry.chunk" not in record.header]
    assert max(len(record.value) for record in whole) > TOPIC_LIMIT - 300
    assert stopped(walferry)["split"] == len(sizes) - len(whole)


def test_limits_that_may_not_be_asked_for(server, guarded_kafka, database, slot_name, topic_prefix, task):
    """Without the right to describe the topic's settings Kafka's default is assumed, and said."""
    server.psql(TABLE, database)
    topic = topic_prefix + "public.t"
    guarded_kafka.broker.create_topic(topic)
    guarded_kafka.allow(topic, AclOperation.WRITE, AclOperation.DESCRIBE)
    guarded_kafka.allow(f"walferry.progress.{slot_name}", AclOperation.CREATE, AclOperation.READ, AclOperation.WRITE)
    login = {"security.protocol": "SASL_PLAINTEXT", "sasl.mechanism": "PLAIN", "sasl.username": USER,
             "sasl.password": PASSWORD}
    walferry = task(sink={"brokers": guarded_kafka.sasl, "kafka": login, "oversize": "split"}).start()
    walferry.wait_for_log('"streaming"')
    server.psql(f"insert into t values (1, ({LARGE_TEXT.format(100_000)}))", database)
    server.wait_confirmed(slot_name)
    records = guarded_kafka.broker.consume(topic)
    assert [record.header["walferry.chunk"] for record in records] == [b"1/4", b"2/4", b"3/4", b"4/4"]
    assert [row_of(message)["id"] for _, message in reassembled(records)] == ["1"]
    [warning] = [line["fields"] for line in log_lines(walferry.log()) if "does not tell" in line["msg"]]
    assert warning["topic"] == topic and warning["max_message_bytes"] == 1048588
    assert walferry.stop() == 0


def test_a_compacted_topic_is_no_place_for_chunks(server, broker, database, slot_name, topic_prefix, with_policy):
    server.psql(TABLE, database)
    broker.create_topic(topic_prefix + "public.t", config={"cleanup.policy": "compact"})
    walferry = with_policy("split").start()
    walferry.wait_for_log('"streaming"')
    server.psql("insert into t values (1, 'small')", database)
    server.wait_confirmed(slot_name)
    [warning] = [line["fields"] for line in log_lines(walferry.log()) if "topic is compacted" in line["msg"]]
    assert warning["topic"] == topic_prefix + "public.t" and "claim-check" in warning["remedy"]
    assert walferry.stop() == 0


def rows_of_sizes(server: Postgres, broker: Kafka, database: str, slot: str, topic: str, walferry: Walferry,
                  folder: Path, megabytes: list[int]) -> None:
    """One row of each size through the topic's limit, and a small one after it."""
    walferry.start().wait_for_log('"streaming"')
    for size in megabytes:
        server.psql(f"insert into t values ({size}, repeat(md5('x'), {size * 31250})); insert into t values (-{size}, '')",
                    database)
        server.wait_confirmed(slot, timeout=900)
    found = []
    for record, value in whole_values(broker.consume(topic, timeout=900)):
        if claim := record.header.get("walferry.claim"):
            value = (folder / claim.decode()).read_bytes()
            assert record.header["walferry.checksum"] == b"crc32:%08x" % zlib.crc32(value)
        row = row_of(json.loads(value))
        found.append((int(row["id"]), len(row["note"])))
        assert row["note"] == row["note"][:32] * (len(row["note"]) // 32)
    assert found == [pair for size in megabytes for pair in ((size, size * MB), (-size, 0))]
    assert walferry.stop() == 0


@pytest.fixture
def ordinary_topic(server: Postgres, broker: Kafka, database: str, topic_prefix: str) -> str:
    """Its limit is that of a broker without settings."""
    server.psql(TABLE, database)
    broker.create_topic(topic_prefix + "public.t", config={"max.message.bytes": "1048588"})
    return topic_prefix + "public.t"


@pytest.mark.parametrize("policy", ["split", "claim-check"])
def test_rows_of_megabytes(server, broker, run, database, slot_name, ordinary_topic, task, policy):
    folder = run.subfolder("claims")
    walferry = task(sink={"oversize": policy, "claim_check_directory": str(folder)})
    rows_of_sizes(server, broker, database, slot_name, ordinary_topic, walferry, folder, [1, 2, 30])


@slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("size", [250, 900])
@pytest.mark.parametrize("policy", ["split", "claim-check"])
def test_rows_of_hundreds_of_megabytes(server, broker, run, database, slot_name, ordinary_topic, task, policy, size):
    folder = run.subfolder("claims")
    walferry = task(sink={"oversize": policy, "claim_check_directory": str(folder)})
    rows_of_sizes(server, broker, database, slot_name, ordinary_topic, walferry, folder, [size])

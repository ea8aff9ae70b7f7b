"""Values of hundreds of megabytes: they pass whole as long as a row fits into one message, and marked where not."""

from collections.abc import Iterator

import pytest
from harness import Postgres
from plugin_stream import Stream, create_slot, memory_of, slow

MB = 1000 * 1000
RECORD_SIZE = 12  # of the struct Record; its last byte are the image flags
AFTER_UNCHANGED, OVERSIZE = 0x40, 0x80


def rows(frames: Iterator[bytes]) -> list[tuple[int, bool]]:
    """Of each frame with a row its size and whether something was left out, without keeping any frame."""
    found = []
    for frame in frames:
        images = images_of_last_record(frame)
        if images is not None:
            found.append((len(frame), bool(images & OVERSIZE)))
            assert not images & OVERSIZE or images & AFTER_UNCHANGED  # what was left out is marked
    return found


def images_of_last_record(frame: bytes) -> int | None:
    """The image flags of the last row of a frame; None of a frame that only ends its transaction."""
    def number(at: int, size: int = 4) -> int:
        return int.from_bytes(frame[at:at + size], "little")

    batch = 7 + number(7)
    field = number(batch - number(batch) + 6, 2)  # the second field of Batch: records
    if field == 0:
        return None
    vector = batch + field + number(batch + field)
    return frame[vector + 4 + RECORD_SIZE * number(vector) - 1]


VALUES = {
    "compressible text": "repeat('0123456789', {tenth})",
    "compressible bytea": "decode(repeat('00', {size}), 'hex')",
    "external text": "repeat('abcdefghij', {tenth})",
    "external bytea": "convert_to(repeat('abcdefghij', {tenth}), 'UTF8')",
}


def one_value(server: Postgres, database: str, slot: str, kind: str, size: int) -> None:
    create_slot(server, database, slot)
    server.query(f"create table t (id int, v {kind.split()[1]})", dbname=database)
    if kind.startswith("external"):
        server.query("alter table t alter v set storage external", dbname=database)
    value = VALUES[kind].format(size=size, tenth=size // 10)
    server.query(f"insert into t values (1, {value})", dbname=database)
    server.query("update t set id = 2", dbname=database)
    with Stream(server, database, slot) as stream:
        seen = rows(stream.frames(server.current_lsn(), timeout=600))
    assert [oversize for _, oversize in seen] == [False, False]
    assert seen[0][0] - size in range(100, 2000)  # the whole value
    assert seen[1][0] < 2000  # out of line and not changed


@pytest.mark.parametrize("kind", VALUES)
def test_a_large_value_passes(server: Postgres, database: str, slot_name: str, kind: str) -> None:
    one_value(server, database, slot_name, kind, 20 * MB)


@slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("kind", VALUES)
def test_a_value_of_300_mb_passes(server: Postgres, database: str, slot_name: str, kind: str) -> None:
    one_value(server, database, slot_name, kind, 300 * MB)


@slow
@pytest.mark.timeout(1800)
def test_a_row_over_the_limit_comes_as_oversize_and_the_stream_goes_on(server: Postgres, database: str,
                                                                       slot_name: str) -> None:
    create_slot(server, database, slot_name)
    server.query("create table t (id int primary key, a text, b bytea, c text)", dbname=database)
    # No statement can make such a row at once; made of the compressed values of another table it can be.
    server.query("create table source (like t)", dbname=database)
    server.query(f"insert into source values (1, repeat('0123456789', {45 * MB}))", dbname=database)
    server.query(f"update source set b = decode(repeat('00', {450 * MB}), 'hex')", dbname=database)
    server.query(f"update source set c = repeat('abcdefghij', {45 * MB})", dbname=database)
    server.query("insert into t values (0, 'x', 'x', 'x')", dbname=database)
    server.query("insert into t select * from source", dbname=database)
    server.query("update t set id = 2 where id = 1", dbname=database)
    server.query("insert into t values (3, 'y', 'y', 'y')", dbname=database)
    with Stream(server, database, slot_name, {"tables": ["public.t"]}) as stream:
        before = memory_of(stream.pid)
        seen = rows(stream.frames(server.current_lsn(), timeout=1200))
        after = memory_of(stream.pid)
    assert [oversize for _, oversize in seen] == [False, True, False, False]
    assert 900 * MB < seen[1][0] < 901 * MB  # two of the three values
    # The server's send buffer of the largest message stays, nothing else.
    assert after - before < 950 * MB


@slow
@pytest.mark.timeout(1800)
def test_a_whole_before_image_and_a_large_after_image_fit_together(server: Postgres, database: str,
                                                                   slot_name: str) -> None:
    create_slot(server, database, slot_name)
    server.query("create table t (id int, a text, b text, c text)", dbname=database)
    server.query("alter table t replica identity full", dbname=database)
    # The before image just fits; the after image, small and with nothing out of line, then does not.
    server.query(f"insert into t values (1, repeat('x', {400 * MB}), repeat('y', {400 * MB}), repeat('z', 199950000))",
                 dbname=database)
    server.query("update t set a = '', b = '', c = repeat('c', 100000)", dbname=database)
    server.query("truncate t", dbname=database)
    with Stream(server, database, slot_name) as stream:
        seen = rows(stream.frames(server.current_lsn(), timeout=1200))
    assert [oversize for _, oversize in seen] == [False, True, False]
    assert seen[1][0] > 999 * MB

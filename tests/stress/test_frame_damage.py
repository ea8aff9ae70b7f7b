"""Damaged frames in the extension's functions, with a checksum that is right: they are read or refused with an ERROR, and
the server goes on. tests/fuzz does the same with the reader alone; here the server's own output functions get the bytes."""

import contextlib
import random
import struct
import time

import psycopg2
import psycopg2.errors
import pytest
from harness import Postgres
from plugin_stream import create_slot, slow

HEADER = 7  # bytes of a frame before its flatbuffer

# A value of each class of the wire, names and types of its own, both images, messages, truncates.
HISTORY = """
create type mood as enum ('sad', 'ok');
create table t (id int primary key, b bool, c "char", i2 int2, i8 int8, f4 float4, f8 float8, o oid, d date, t time, tz timetz,
    ts timestamp, tstz timestamptz, iv interval, u uuid, l pg_lsn, n numeric, v text, by bytea, m mood, a int[], na name);
alter table t replica identity full;
insert into t values (1, true, 'x', 7, 8, 1.5, 2.5, 9, '2026-01-01', '12:00', '12:00+01', '2026-01-01', '2026-01-01',
    '1 mon', md5('u')::uuid, '1/2', 1234567.89, 'text', '\\x00ff', 'ok', '{1,2}', 'name');
update t set v = null, n = -0.5, iv = '-3 days' where id = 1;
insert into t (id, n, d, ts) values (2, 'NaN', 'infinity', '-infinity'), (3, 1e100, '4713-01-01 BC', '294276-01-01');
delete from t where id = 1;
truncate t cascade;
select pg_logical_emit_message(true, 'prefix', 'content'), pg_logical_emit_message(false, 'other', '\\xff00'::bytea);
begin; insert into t (id) values (4); savepoint s; insert into t (id) values (5); rollback to s;
insert into t (id) values (6); prepare transaction 'gid'; commit prepared 'gid';
"""
OPTIONS = '{"messages": true, "streaming": true, "two_phase": true}'


def crc32c_table() -> list[int]:
    table = []
    for byte in range(256):
        for _ in range(8):
            byte = byte >> 1 ^ (0x82F63B78 if byte & 1 else 0)
        table.append(byte)
    return table


CRC = crc32c_table()


def sealed(frame: bytearray) -> bytes:
    """The frame with the checksum of its bytes: docs/wire-format.md."""
    if len(frame) >= HEADER:
        crc = 0xFFFFFFFF
        for byte in (*frame[:3], *frame[HEADER:]):
            crc = crc >> 8 ^ CRC[(crc ^ byte) & 0xFF]
        frame[3:HEADER] = struct.pack("<I", crc ^ 0xFFFFFFFF)
    return bytes(frame)


def damaged(frame: bytes, chance: random.Random) -> bytes:
    bytes_ = bytearray(frame)
    for _ in range(chance.choice((1, 1, 1, 2, 4, 16))):
        at = chance.randrange(len(bytes_))
        action = chance.randrange(8)
        if action < 3:
            bytes_[at] ^= 1 << chance.randrange(8)
        elif action < 5:
            bytes_[at] = chance.choice((0, 1, 0x7F, 0x80, 0xFF))
        elif action == 5:
            size = chance.choice((2, 4, 8))
            bytes_[at:at + size] = chance.choice((b"\xff", b"\x7f", b"\0", b"\x80")) * len(bytes_[at:at + size])
        elif action == 6:
            other = chance.randrange(len(bytes_))
            size = chance.choice((1, 4, 8, 20))
            bytes_[at:at + size] = bytes_[other:other + len(bytes_[at:at + size])]
        elif chance.random() < 0.2:
            del bytes_[at:]
            break
    return sealed(bytes_) if bytes_ else b"W"


def test_a_sealed_frame_is_what_the_plugin_wrote(server: Postgres, database: str, slot_name: str) -> None:
    for frame in frames_of(server, database, slot_name):
        assert sealed(bytearray(frame)) == frame


def frames_of(server: Postgres, database: str, slot: str) -> list[bytes]:
    create_slot(server, database, slot)
    server.psql(HISTORY, database)
    rows = server.query("select data from pg_logical_slot_peek_binary_changes(%s, null, null, 'options', %s)",
                        (slot, OPTIONS), dbname=database)
    return [bytes(row[0]) for row in rows]


def fuzz(server: Postgres, database: str, slot: str, seconds: float, seed: int) -> None:
    print(f"seed {seed}")
    chance = random.Random(seed)
    frames = frames_of(server, database, slot)
    until = time.monotonic() + seconds
    counts: dict[str, int] = {}
    server.query("create extension walferry", dbname=database)
    with contextlib.closing(server.connect(database)) as connection, connection.cursor() as cursor:
        cursor.execute("set statement_timeout = '10s'; select pg_backend_pid()")
        pid = cursor.fetchone()
        while time.monotonic() < until:
            at = chance.randrange(len(frames))
            session = [*frames[:at], damaged(frames[at], chance), *frames[at + 1:at + 2]]
            function = chance.choice(("decode", "decode", "relations"))
            result = "read"
            try:
                cursor.execute(f"""select d::text from unnest(%s::bytea[]) with ordinality f(frame, n),
                    walferry.{function}(f.frame) d""", (session,))
            except psycopg2.Error as error:
                # Of class 22 are texts that are no UTF-8, and times beyond all calendars.
                result = str(error.pgcode)
                assert result[:2] in ("XX", "22", "54") and result not in ("XX000", "57014"), (error, session[at].hex())
            counts[result] = counts.get(result, 0) + 1
        cursor.execute("select pg_backend_pid()")
        assert cursor.fetchone() == pid
        cursor.execute("select sum(total_bytes) from pg_backend_memory_contexts")
        assert cursor.fetchone()[0] < 32 * 1024 * 1024
    print(counts)
    assert counts["read"] > 0 and counts["XX001"] > 0 and sum(counts.values()) > 20 * seconds


def test_damaged_frames(server: Postgres, database: str, slot_name: str) -> None:
    fuzz(server, database, slot_name, 2, seed=1)


@slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("seed", [2, 3])
def test_damaged_frames_for_long(server: Postgres, database: str, slot_name: str, seed: int) -> None:
    fuzz(server, database, slot_name, 180, seed)

"""Hostile documents in the plugin's option: each is accepted or refused with an ERROR that names the option, at once, and
the server goes on."""

import contextlib
import json
import random
import time
from collections.abc import Iterator
from typing import Any

import psycopg2
import psycopg2.errors
import psycopg2.extras
import pytest
from harness import Postgres
from harness.run import wait_until
from plugin_stream import create_slot, slow, walsender_pid

PEEK = "select count(*) from pg_logical_slot_peek_binary_changes(%s, null, null, 'options', %s)"
MB = 1024 * 1024

KEYS = ("version", "tables", "operations", "publish_via_root", "origin", "messages", "streaming", "two_phase", "two_phase_gids",
        "options", "", "Tables", "tables ", "\u00e9", "x" * 300)
# Refused as far as they are: by the server's parser of JSON, by the plugin, or because they are too deep or too large.
REFUSALS = ("22", "42", "54", "0A", "53", "34")


class Fuzzer:
    def __init__(self, seed: int) -> None:
        self._chance = random.Random(seed)

    def pattern(self) -> str:
        alphabet = ["*", "?", ".", "!", '"', "\\", "a", "public", "t", " ", "\u00e9", "\U0001f600", "\x01", "%", "[", "'"]
        return "".join(self._chance.choices(alphabet, (9, 4, 5, 1, 3, 3, 9, 5, 5, 1, 2, 2, 1, 1, 1, 1),
                                            k=self._chance.choice((1, 2, 3, 5, 9, 40, 400))))

    def value(self, depth: int = 0) -> Any:
        kind = self._chance.randrange(12 if depth < 4 else 9)
        if kind == 0:
            return None
        if kind == 1:
            return self._chance.random() < 0.5
        if kind == 2:
            return self._chance.choice((0, 1, 2, -1, 255, 2**31, 2**63, -2**63, 10**400, 1e308, 0.1, 1.5))
        if kind < 7:
            return self._chance.choice((self.pattern(), "public.*", "*.*", "insert", "any", "none", "", "\ufffd"))
        if kind < 9:
            return self._chance.choice(([], {}, ["public.*"], ["!public.*"], ["insert", "delete"], True, 1))
        if kind < 11:
            return [self.value(depth + 1) for _ in range(self._chance.randrange(5))]
        return {self._chance.choice(KEYS): self.value(depth + 1) for _ in range(self._chance.randrange(4))}

    def text(self) -> str:
        parts = [f"{json.dumps(self._chance.choice(KEYS), ensure_ascii=False)}: {json.dumps(self.value(), ensure_ascii=False)}"
                 for _ in range(self._chance.choice((0, 1, 1, 1, 2, 3, 9)))]
        text = "{" + ", ".join(parts) + "}"
        if self._chance.random() < 0.4:  # damage
            characters = list(text)
            for _ in range(self._chance.randrange(1, 4)):
                at = self._chance.randrange(len(characters) + 1)
                action = self._chance.randrange(3)
                if action == 0:
                    characters[at:at + self._chance.randrange(1, 5)] = []
                elif action == 1:
                    characters.insert(at, self._chance.choice('{}[]":,\\*0e-\x01\x7f\u2028'))
                else:
                    characters[at:at] = characters[at:at + 20]
            text = "".join(characters)
        return text.replace("\0", "")


def large() -> Iterator[tuple[str, str]]:
    """Documents of a kind each: a name and the text."""
    yield "deep arrays", '{"tables": ' + "[" * 100_000 + "]" * 100_000 + "}"
    yield "deep objects", '{"a":' * 100_000 + "1" + "}" * 100_000
    yield "no end", '{"tables": ["' + "a" * MB
    yield "stars", json.dumps({"tables": ["public." + "*a" * (MB // 2) + "b"]})
    yield "stars alone", json.dumps({"tables": ["*" * (MB // 2) + "." + "*" * (MB // 2)]})
    yield "question marks", json.dumps({"tables": ["public." + "*?" * (MB // 2)]})
    yield "quotes", json.dumps({"tables": ['"' + '""' * (MB // 2) + '"."t"']})
    yield "backslashes", json.dumps({"tables": ["\\a" * (MB // 2) + ".t"]})
    yield "patterns", json.dumps({"tables": [f"s{n}.*a*b*c*{n}" for n in range(50_000)]})
    yield "prefixes", json.dumps({"messages": [f"p{n}" for n in range(100_000)]})
    yield "keys", "{" + ", ".join('"tables": ["public.*"]' for _ in range(50_000)) + "}"
    yield "digits", '{"version": ' + "1" * 300_000 + "}"
    yield "exponent", '{"version": 1e131071}'
    yield "beyond numeric", '{"version": 1e9999999}'
    yield "escapes", '{"tables": ["' + "\\u0041" * 100_000 + '.t"]}'
    yield "zero character", '{"tables": ["public.\\u0000"]}'
    yield "half a pair", '{"tables": ["public.\\ud800"]}'
    yield "unknown key of a megabyte", json.dumps({"k" * MB: 1})


@pytest.fixture
def connection(server: Postgres, database: str, slot_name: str) -> Iterator[Any]:
    """A session with rows of a table of hard names to decode, so that patterns are matched."""
    create_slot(server, database, slot_name)
    name = "a" * 62 + "x"
    server.psql(f'create table "{name}" (id int); insert into "{name}" values (1); create schema "{name}"; '
                f'create table "{name}"."{name}" (id int); insert into "{name}"."{name}" values (1)', database)
    with contextlib.closing(server.connect(database)) as open_connection:
        yield open_connection


def peek(cursor: Any, slot: str, document: str | bytes, what: str = "") -> bool:
    """Whether the document was accepted."""
    try:
        cursor.execute(PEEK, (slot, document))
        return True
    except psycopg2.Error as error:
        assert error.pgcode is not None and error.pgcode[:2] in REFUSALS, (what or document[:2000], error)
        assert error.pgcode != "57014", (what or document[:2000], "took too long")
        assert "options" in f"{error.diag.message_primary} {error.diag.context}", (what, error)
        return False


def fuzz(connection: Any, slot: str, seconds: float, seed: int) -> None:
    print(f"seed {seed}")
    fuzzer = Fuzzer(seed)
    until = time.monotonic() + seconds
    counts = {True: 0, False: 0}
    with connection.cursor() as cursor:
        cursor.execute("set statement_timeout = '5s'; select pg_backend_pid()")
        pid = cursor.fetchone()
        while time.monotonic() < until:
            counts[peek(cursor, slot, fuzzer.text())] += 1
        cursor.execute("select pg_backend_pid()")
        assert cursor.fetchone() == pid
        cursor.execute("select sum(total_bytes) from pg_backend_memory_contexts")
        assert cursor.fetchone()[0] < 32 * MB
        assert peek(cursor, slot, "{}")
    print(counts)
    assert min(counts.values()) > 5 * seconds


def test_random_documents(connection: Any, slot_name: str) -> None:
    fuzz(connection, slot_name, 2, seed=1)


@slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("seed", [2, 3])
def test_random_documents_for_long(connection: Any, slot_name: str, seed: int) -> None:
    fuzz(connection, slot_name, 120, seed)


def test_large_documents(connection: Any, slot_name: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute("set statement_timeout = '20s'")
        accepted = {name for name, document in large() if peek(cursor, slot_name, document, name)}
        assert peek(cursor, slot_name, "{}")
    assert accepted == {"stars", "stars alone", "question marks", "quotes", "backslashes", "patterns", "prefixes", "keys",
                        "escapes"}


def test_documents_in_the_replication_command(server: Postgres, database: str, slot_name: str) -> None:
    create_slot(server, database, slot_name)
    fuzzer = Fuzzer(4)
    documents = [text for _, text in large() if len(text) < 400_000] + [fuzzer.text() for _ in range(100)]

    def connect() -> Any:
        wait_until(lambda: walsender_pid(server, slot_name) is None, "the slot to be free", 30)
        return server.connect(database, connection_factory=psycopg2.extras.LogicalReplicationConnection)

    connection = connect()
    refused = 0
    for document in documents:
        try:
            connection.cursor().start_replication(slot_name=slot_name, options={
                "options": document.encode("ascii", "replace").decode()})  # psycopg2 sends no more here
        except psycopg2.Error as error:
            assert error.pgcode is not None and error.pgcode[:2] in REFUSALS, document[:2000]
            refused += 1  # the same session goes on
        else:
            connection.close()
            connection = connect()
    connection.close()
    assert 20 < refused < len(documents)


def test_bytes_that_are_not_text_are_refused(server: Postgres, database: str, slot_name: str) -> None:
    create_slot(server, database, slot_name)
    with contextlib.closing(server.connect(database)) as connection, connection.cursor() as cursor:
        for damage in (b"\xff", b"\xc3", b"\xed\xa0\x80", b"\xf8\x88\x80\x80\x80"):
            statement = b"select * from pg_logical_slot_peek_binary_changes('" + slot_name.encode() + \
                b"', null, null, 'options', '{\"tables\": [\"public." + damage + b"\"]}')"
            with pytest.raises(psycopg2.errors.CharacterNotInRepertoire):
                cursor.execute(statement)

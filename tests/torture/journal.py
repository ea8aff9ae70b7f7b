"""What the writers know of their transactions, kept outside of the database under test."""

import json
import threading
from array import array
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

# A change's number is its transaction's, shifted, and its own in the transaction: unique for ever.
CHANGE_BITS = 20
Row = dict[str, str | None]


def change_text(schema: str, table: str, operation: str, key: Sequence[str] | None, data: Row | None,
                old: Row | None) -> str:
    """A row change in the one form in which journal and topic are compared."""
    return json.dumps([schema, table, operation, key, data, old], separators=(",", ":"))


def message_text(message: dict[str, Any]) -> str:
    """The same of a Canal JSON message."""
    data, old = message["data"], message["old"]
    return json.dumps([message["database"], message["table"], message["type"], message["pkNames"],
                       data[0] if data else data, old[0] if old else old], separators=(",", ":"))


def transaction_of(message: dict[str, Any]) -> int | None:
    """The number of the transaction that a message tells by itself: a DELETE and a TRUNCATE do not."""
    if message["type"] not in ("INSERT", "UPDATE"):
        return None
    row = message["data"][0]
    if message["table"] == "marker":
        return int(row["txn"])
    return int(row["change_id"]) >> CHANGE_BITS


class Journal:
    """The transactions that ended. Of each committed one the hash of every change in order; the texts are in a file for
    each writer, and are read back for a report. All in one process: hashes are Python's own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._lock = threading.Lock()
        self._files: dict[int, Any] = {}
        self._places: dict[int, tuple[int, int]] = {}  # transaction to writer and offset in its file
        self.expected: dict[int, array[int]] = {}
        self.rolled_back: set[int] = set()  # transactions
        self.undone: set[int] = set()  # hashes of changes that were rolled back, with their transaction or alone
        self.rows = 0
        self.unknown_outcomes = 0  # of COMMITs, that were asked for afterwards

    def committed(self, writer: int, transaction: int, xid: int, hashes: "array[int]", texts: Iterable[str],
                  undone: Iterable[int]) -> None:
        self._write(writer, transaction, xid, "committed", texts)
        with self._lock:
            self.undone.update(undone)
            self.rows += len(hashes)
            self.expected[transaction] = hashes

    def undid(self, writer: int, transaction: int, xid: int, hashes: Iterable[int], texts: Iterable[str]) -> None:
        self._write(writer, transaction, xid, "rolled back", texts)
        with self._lock:
            self.undone.update(hashes)
            self.rolled_back.add(transaction)

    def asked_for_outcome(self) -> None:
        with self._lock:
            self.unknown_outcomes += 1

    def texts(self, transaction: int) -> list[str]:
        """The changes of a transaction as its writer wrote them down; a bulk statement is one line."""
        writer, offset = self._places[transaction]
        self._files[writer].flush()
        with (self.folder / f"writer-{writer}.jsonl").open("rb") as file:
            file.seek(offset)
            changes: list[str] = json.loads(file.readline())["changes"]
            return changes

    def flush(self) -> None:
        for file in self._files.values():
            file.flush()

    def close(self) -> None:
        for file in self._files.values():
            file.close()

    def _write(self, writer: int, transaction: int, xid: int, outcome: str, texts: Iterable[str]) -> None:
        """Each writer has a file of its own, so that no two write to one."""
        if writer not in self._files:
            self._files[writer] = (self.folder / f"writer-{writer}.jsonl").open("wb")
        file = self._files[writer]
        line = json.dumps({"transaction": transaction, "xid": xid, "outcome": outcome, "changes": list(texts)})
        self._places[transaction] = writer, file.tell()
        file.write(line.encode("utf-8") + b"\n")

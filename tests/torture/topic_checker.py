"""Compares what stands in the topics with the journal. It knows nothing of Kafka or PostgreSQL: take() is given every
message, partition by partition in offset order, in as many pieces as one likes; finish() says what is wrong.

A message names its place by the header walferry.position. Those of one source transaction are put together by its commit
LSN, in the order of their ordinals, and must be the changes that its writer wrote down, in that order. A transaction that
is whole is only remembered by its number, so that memory is bounded by what is not."""

import json
from array import array
from bisect import bisect_left
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

from journal import Journal, message_text, transaction_of

KINDS = ("lost", "duplicated", "reordered", "torn", "wrong", "rolled back", "unknown")
_EXAMPLES = 8
_ORDINAL_BITS = 24
_NEAR = 1000  # transactions of one writer


@dataclass(frozen=True)
class Place:
    topic: str
    partition: int
    offset: int

    def __str__(self) -> str:
        return f"{self.topic}[{self.partition}]@{self.offset}"


@dataclass(frozen=True)
class Finding:
    kind: str
    rows: int
    text: str
    lsn: int | None = None  # of the commit; None where nothing of the transaction was seen
    transaction: int | None = None
    place: Place | None = None


@dataclass
class _Partition:
    name: tuple[str, int]
    positions: "array[int]" = field(default_factory=lambda: array("Q"))  # of the messages that came in order


@dataclass
class _Source:
    """A transaction of the source that is not known to be whole."""
    transaction: int | None = None
    rows: dict[int, tuple[int, int, int]] = field(default_factory=dict)  # ordinal to hash, partition, offset


def parse_position(header: str) -> tuple[int, int]:
    """Commit LSN and ordinal of "system:timeline:LSN:ordinal"."""
    _system, _timeline, lsn, ordinal = header.split(":")
    high, low = lsn.split("/")
    if "." in ordinal:
        raise ValueError(f"{header} is a part of a change: the workload has none")
    return (int(high, 16) << 32) + int(low, 16), int(ordinal)


class Checker:
    """One thread at a time."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        self._partitions: list[_Partition] = []
        self._numbers: dict[tuple[str, int], int] = {}
        self._open: dict[int, _Source] = {}
        self._whole: dict[int, int] = {}  # commit LSN to transaction
        self._lsn_of: dict[int, int] = {}  # and back: of every transaction that was seen
        self._counted: dict[str, tuple[int, int]] = {}  # row of `shared`: its count, and its partition
        self.messages = 0
        self.counts: Counter[str] = Counter()
        self.findings: list[Finding] = []  # the first of each kind
        self.repeated: Counter[int] = Counter()  # commit LSN of duplicates: how many
        self.places: Counter[tuple[str, int | None]] = Counter()  # rows by kind and commit LSN, or one soon after it
        self._judged: set[int] = set()  # commit LSNs
        self._missed: set[int] = set()  # transactions

    def take(self, topic: str, partition: int, offset: int, position: str, value: bytes) -> None:
        self.messages += 1
        number = self._numbers.get((topic, partition))
        if number is None:
            number = self._numbers[topic, partition] = len(self._partitions)
            self._partitions.append(_Partition((topic, partition)))
        lsn, ordinal = parse_position(position)
        message = json.loads(value)
        if message["id"] != lsn:
            self._find("wrong", 1, f"id {message['id']}, but position {position}", lsn, None, number, offset)
        repeated = self._check_order(number, lsn, ordinal, offset)
        if not repeated and message["table"] == "shared":
            self._check_count(message, number, lsn, offset)
        self._put(lsn, ordinal, message, number, offset)

    def not_whole(self, at_most: int) -> list[int]:
        """Transactions that are committed, of at most so many rows, and of which some rows are there and others not. What a
        reader of whole transactions must never see."""
        expected = self._journal.expected
        return [source.transaction for source in self._open.values()
                if source.transaction is not None and source.transaction in expected
                and len(source.rows) < len(expected[source.transaction]) <= at_most]

    def finish(self, may_be_absent: Callable[[int], bool] = lambda transaction: False) -> None:
        """Call it when everything was taken and the writers have ended or rest; again, when they have gone on since.
        Transactions that `may_be_absent` must be whole if anything of them is there."""
        for lsn, source in list(self._open.items()):
            if lsn not in self._judged and not self._settle(lsn, source):
                self._judged.add(lsn)
                self._judge(lsn, source)
        for transaction, hashes in self._journal.expected.items():
            if transaction in self._lsn_of or transaction in self._missed or may_be_absent(transaction):
                continue
            self._missed.add(transaction)
            self._find("lost", len(hashes), f"all {len(hashes)} rows of transaction {transaction}", None, transaction,
                       soon_after=self._lsn_after(transaction))

    def _lsn_after(self, transaction: int) -> int | None:
        """The commit LSN of the same writer's next transaction that was seen."""
        last = transaction + _NEAR
        return next((self._lsn_of[other] for other in range(transaction + 1, last) if other in self._lsn_of), None)

    # --- order ---

    def _check_order(self, number: int, lsn: int, ordinal: int, offset: int) -> bool:
        """Positions rise within a partition, apart from repeats. Whether this is a repeat."""
        positions = self._partitions[number].positions
        position = (lsn << _ORDINAL_BITS) | ordinal
        if not positions or positions[-1] < position:
            positions.append(position)
            return False
        at = bisect_left(positions, position)
        if at < len(positions) and positions[at] == position:
            return True
        self._find("reordered", 1, f"position {lsn:X}:{ordinal} after "
                   f"{positions[-1] >> _ORDINAL_BITS:X}:{positions[-1] & ((1 << _ORDINAL_BITS) - 1)}", lsn, None, number,
                   offset)
        return False

    def _check_count(self, message: dict[str, object], number: int, lsn: int, offset: int) -> None:
        """All writers count the rows of `shared` up, so their order is told by the values alone."""
        [row] = message["data"]  # type: ignore[misc]
        key, count = row["k"], int(row["v"])
        last, partition = self._counted.get(key, (-1, number))
        if partition != number:
            self._find("reordered", 1, f"row {key} of shared is in another partition than before", lsn, None, number, offset)
        elif count <= last:
            self._find("reordered", 1, f"row {key} of shared has {count} after {last}", lsn, None, number, offset)
        self._counted[key] = max(count, last), partition

    # --- transactions ---

    def _put(self, lsn: int, ordinal: int, message: dict[str, object], number: int, offset: int) -> None:
        text = message_text(message)
        if lsn in self._whole:
            self._repeat(lsn, ordinal, hash(text), number, offset)
            return
        source = self._open.get(lsn)
        if source is None:
            source = self._open[lsn] = _Source()
        if ordinal in source.rows:
            if source.rows[ordinal][0] == hash(text):
                self._repeated(lsn, ordinal, number, offset)
            else:
                self._find("wrong", 1, f"two different changes at {lsn:X}:{ordinal}", lsn, source.transaction, number, offset)
            return
        source.rows[ordinal] = hash(text), number, offset
        told = transaction_of(message)
        if told is not None:
            if source.transaction is None:
                source.transaction = told
            elif source.transaction != told:
                self._find("wrong", 1, f"a change of transaction {told} within transaction {source.transaction}: {text}", lsn,
                           told, number, offset)
        expected = self._journal.expected.get(source.transaction) if source.transaction is not None else None
        if expected is not None and len(source.rows) == len(expected):
            self._settle(lsn, source)

    def _settle(self, lsn: int, source: _Source) -> bool:
        """If all changes are there, each in its place, the transaction need not be kept."""
        transaction = source.transaction
        if transaction is None or self._lsn_of.get(transaction, lsn) != lsn:
            return False
        expected = self._journal.expected.get(transaction)
        if expected is None or len(source.rows) != len(expected):
            return False
        # Nothing is left out of the stream, so ordinals count all changes.
        if any(source.rows.get(ordinal, (None,))[0] != wanted for ordinal, wanted in enumerate(expected)):
            return False
        self._whole[lsn] = transaction
        self._lsn_of[transaction] = lsn
        del self._open[lsn]
        return True

    def _repeat(self, lsn: int, ordinal: int, found: int, number: int, offset: int) -> None:
        """A further message of a transaction that was whole."""
        expected = self._journal.expected[self._whole[lsn]]
        if ordinal < len(expected) and expected[ordinal] == found:
            self._repeated(lsn, ordinal, number, offset)
        elif found in self._journal.undone:
            self._find("rolled back", 1, f"a change at {lsn:X}:{ordinal} that was rolled back to a savepoint", lsn,
                       self._whole[lsn], number, offset)
        else:
            self._find("wrong", 1, f"a change at {lsn:X}:{ordinal} besides the whole transaction", lsn, self._whole[lsn],
                       number, offset)

    def _repeated(self, lsn: int, ordinal: int, number: int, offset: int) -> None:
        self.repeated[lsn] += 1
        self._find("duplicated", 1, f"position {lsn:X}:{ordinal} again", lsn, None, number, offset)

    def _judge(self, lsn: int, source: _Source) -> None:
        """What is wrong with a transaction that is not as it was written."""
        rows = [source.rows[ordinal] for ordinal in sorted(source.rows)]
        transaction = source.transaction
        _hash, number, offset = rows[0]
        journal = self._journal
        if transaction is None:  # only rows that do not say whose they are: its other rows are missed below
            self._find("unknown", len(rows), f"{len(rows)} rows of a transaction that cannot be told", lsn, None, number, offset)
            return
        if transaction in journal.rolled_back:
            self._find("rolled back", len(rows), f"{len(rows)} rows of transaction {transaction}, which was rolled back", lsn,
                       transaction, number, offset)
            return
        if transaction not in journal.expected:
            self._find("unknown", len(rows), f"{len(rows)} rows of transaction {transaction}, which nobody wrote", lsn,
                       transaction, number, offset)
            return
        if transaction in self._lsn_of:
            self.repeated[lsn] += len(rows)
            self._find("duplicated", len(rows), f"transaction {transaction} again at another position", lsn, transaction, number,
                       offset)
            return
        self._lsn_of[transaction] = lsn
        expected = journal.expected[transaction]
        found = Counter(row[0] for row in rows)
        missing = Counter(expected) - found
        extra = found - Counter(expected)
        undone = sum(count for change, count in extra.items() if change in journal.undone)
        wrong = min(missing.total(), extra.total() - undone)
        strange = extra.total() - undone - wrong
        lost = missing.total() - wrong
        strays = [row for row in rows if row[0] in extra]
        where = (strays or rows)[0]
        what = f"transaction {transaction}: {len(rows)} of {len(expected)} rows"
        if undone:
            self._find("rolled back", undone, f"{what}, {undone} that were rolled back to a savepoint", lsn, transaction,
                       *where[1:])
        if wrong:
            self._find("wrong", wrong, f"{what}, {wrong} that are not what was written", lsn, transaction, *where[1:])
        if strange:
            self._find("unknown", strange, f"{what}, {strange} that nobody wrote", lsn, transaction, *where[1:])
        if lost:
            self._find("lost", lost, f"{what}, {lost} missing", lsn, transaction, number, offset)
            self._find("torn", 1, what, lsn, transaction, number, offset)
        if not missing and not extra:
            self._find("reordered", 1, f"{what}, not in the order or not with the ordinals of writing", lsn, transaction,
                       number, offset)

    def _find(self, kind: str, rows: int, text: str, lsn: int | None = None, transaction: int | None = None,
              number: int | None = None, offset: int = 0, soon_after: int | None = None) -> None:
        first = sum(1 for finding in self.findings if finding.kind == kind) if self.counts[kind] < _EXAMPLES else _EXAMPLES
        self.counts[kind] += rows
        self.places[kind, soon_after if lsn is None else lsn] += rows
        if first < _EXAMPLES:
            place = None if number is None else Place(*self._partitions[number].name, offset)
            self.findings.append(Finding(kind, rows, text, lsn, transaction, place))

"""The checker finds each kind of fault in topics that were tampered with, and none in topics that were not. No servers."""

import json
from array import array
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from topic_checker import KINDS, Checker
from journal import CHANGE_BITS, Journal, Row, change_text

TOPIC = "t"


@dataclass(frozen=True)
class Message:
    partition: int
    lsn: int
    ordinal: int
    operation: str
    table: str
    key: list[str] | None
    data: Row | None
    old: Row | None = None

    @property
    def text(self) -> str:
        return change_text("shop", self.table, self.operation, self.key, self.data, self.old)

    @property
    def value(self) -> bytes:
        return json.dumps({
            "id": self.lsn, "database": "shop", "table": self.table, "pkNames": self.key, "type": self.operation,
            "data": None if self.data is None else [self.data], "old": None if self.old is None else [self.old],
        }).encode("utf-8")

    @property
    def position(self) -> str:
        return f"7000000000000000001:1:{self.lsn >> 32:X}/{self.lsn & 0xFFFFFFFF:X}:{self.ordinal}"


def transaction(number: int) -> list[Message]:
    """A row in marker, then one of each: insert, update, delete, counted row, truncate; over two partitions."""
    lsn = 0x1_0000_0000 + number * 1000
    change = number << CHANGE_BITS
    return [
        Message(0, lsn, 0, "INSERT", "marker", ["txn"], {"txn": str(number), "xid": "1"}),
        Message(1, lsn, 1, "INSERT", "keyed", ["id"], {"id": str(number), "change_id": str(change + 1), "note": "\u00e9\""}),
        Message(1, lsn, 2, "UPDATE", "keyed", ["id"], {"id": str(number), "change_id": str(change + 2), "note": None}, {}),
        Message(1, lsn, 3, "DELETE", "keyed", ["id"], {"id": str(number)}),
        Message(0, lsn, 4, "UPDATE", "shared", ["k"], {"k": "1", "v": str(number), "change_id": str(change + 5)}, {}),
        Message(0, lsn, 5, "TRUNCATE", "scratch_0", None, None),
    ]


TRANSACTIONS = 6
Topic = list[Message]


@pytest.fixture
def journal(tmp_path: Path) -> Journal:
    """Transactions 1 to 6 are committed, 7 is rolled back; so is a change of 3."""
    book = Journal(tmp_path)
    for number in range(1, TRANSACTIONS + 1):
        texts = [message.text for message in transaction(number)]
        undone = [hash(undone_change().text)] if number == 3 else []
        book.committed(0, number, number, array("q", map(hash, texts)), texts, undone)
    texts = [message.text for message in transaction(7)]
    book.undid(0, 7, 7, [hash(text) for text in texts], texts)
    return book


def undone_change() -> Message:
    lsn = transaction(3)[0].lsn
    return Message(1, lsn, 6, "INSERT", "keyed", ["id"], {"id": "99", "change_id": str((3 << CHANGE_BITS) + 9), "note": ""})


def good() -> Topic:
    return [message for number in range(1, TRANSACTIONS + 1) for message in transaction(number)]


def check(journal: Journal, topic: Topic, *, partition_by_partition: bool = False) -> Checker:
    checker = Checker(journal)
    offsets = [0, 0]
    if partition_by_partition:
        topic = sorted(topic, key=lambda message: message.partition)
    for message in topic:
        checker.take(TOPIC, message.partition, offsets[message.partition], message.position, message.value)
        offsets[message.partition] += 1
    checker.finish()
    return checker


def counts(checker: Checker) -> dict[str, int]:
    return {kind: count for kind, count in checker.counts.items() if count}


@pytest.mark.parametrize("partition_by_partition", [False, True])
def test_nothing_is_found_where_nothing_is_wrong(journal: Journal, partition_by_partition: bool) -> None:
    checker = check(journal, good(), partition_by_partition=partition_by_partition)
    assert counts(checker) == {} and checker.messages == 6 * TRANSACTIONS


def at(topic: Topic, number: int, ordinal: int) -> int:
    return topic.index(transaction(number)[ordinal])


def removed(topic: Topic) -> None:
    del topic[at(topic, 3, 3)]


def removed_last(topic: Topic) -> None:
    del topic[at(topic, 6, 5)]


def removed_transaction(topic: Topic) -> None:
    topic[:] = [message for message in topic if message not in transaction(4)]


def all_but_a_delete_removed(topic: Topic) -> None:
    topic[:] = [message for message in topic if message not in transaction(4) or message.operation == "DELETE"]


def repeated(topic: Topic) -> None:
    topic.append(transaction(2)[3])


def repeated_at_once(topic: Topic) -> None:
    topic.insert(at(topic, 2, 1), transaction(2)[1])


def repeated_transactions(topic: Topic) -> None:
    topic[at(topic, 6, 0):at(topic, 6, 0)] = transaction(4) + transaction(5)


def transaction_at_another_position(topic: Topic) -> None:
    topic.extend(replace(message, lsn=transaction(6)[0].lsn + 500) for message in transaction(5) if message.table != "shared")


def swapped(topic: Topic) -> None:
    first, second = at(topic, 3, 1), at(topic, 3, 2)
    topic[first], topic[second] = topic[second], topic[first]


def swapped_transactions(topic: Topic) -> None:
    first, second = at(topic, 3, 3), at(topic, 4, 3)
    topic[first], topic[second] = topic[second], topic[first]


def swapped_counts(topic: Topic) -> None:
    """Positions that rise, with each other's content."""
    first, second = at(topic, 3, 4), at(topic, 4, 4)
    topic[first], topic[second] = (replace(topic[first], data=topic[second].data), replace(topic[second], data=topic[first].data))


def wrong_value(topic: Topic) -> None:
    place = at(topic, 5, 2)
    topic[place] = replace(topic[place], data={**(topic[place].data or {}), "note": "other"})


def wrong_old(topic: Topic) -> None:
    place = at(topic, 5, 2)
    topic[place] = replace(topic[place], old={"id": "5"})


def null_as_text(topic: Topic) -> None:
    place = at(topic, 5, 2)
    topic[place] = replace(topic[place], data={**(topic[place].data or {}), "note": "null"})


def wrong_table(topic: Topic) -> None:
    place = at(topic, 2, 3)
    topic[place] = replace(topic[place], table="wide")


def rolled_back_transaction(topic: Topic) -> None:
    topic.extend(transaction(7))


def rolled_back_savepoint(topic: Topic) -> None:
    topic.insert(at(topic, 4, 0), undone_change())


def rolled_back_savepoint_amid(topic: Topic) -> None:
    for ordinal in (5, 4, 3):
        place = at(topic, 3, ordinal)
        topic[place] = replace(topic[place], ordinal=ordinal + 1)
    topic.insert(at(topic, 3, 2) + 1, replace(undone_change(), ordinal=3))


def unknown_transaction(topic: Topic) -> None:
    topic.extend(transaction(8))


@pytest.mark.parametrize("tamper, found", [
    (removed, {"lost": 1, "torn": 1}),
    (removed_last, {"lost": 1, "torn": 1}),
    (removed_transaction, {"lost": 6}),
    (all_but_a_delete_removed, {"lost": 6, "unknown": 1}),
    (repeated, {"duplicated": 1}),
    (repeated_at_once, {"duplicated": 1}),
    (repeated_transactions, {"duplicated": 12}),
    (transaction_at_another_position, {"duplicated": 5}),
    (swapped, {"reordered": 1}),
    (swapped_transactions, {"reordered": 3}),
    (swapped_counts, {"reordered": 1, "wrong": 4}),
    (wrong_value, {"wrong": 1}),
    (wrong_old, {"wrong": 1}),
    (null_as_text, {"wrong": 1}),
    (wrong_table, {"wrong": 1}),
    (rolled_back_transaction, {"rolled back": 6}),
    (rolled_back_savepoint, {"rolled back": 1}),
    (rolled_back_savepoint_amid, {"rolled back": 1}),
    (unknown_transaction, {"unknown": 6}),
])
@pytest.mark.parametrize("partition_by_partition", [False, True])
def test_what_is_wrong_is_found(journal: Journal, tamper: Callable[[Topic], None], found: dict[str, int],
                                partition_by_partition: bool) -> None:
    topic = good()
    tamper(topic)
    checker = check(journal, topic, partition_by_partition=partition_by_partition)
    assert counts(checker) == found
    assert {finding.kind for finding in checker.findings} == found.keys() <= set(KINDS)


def test_a_transaction_that_is_there_in_part_can_be_asked_for(journal: Journal) -> None:
    checker = Checker(journal)
    first, second = transaction(1)[:2]
    checker.take(TOPIC, first.partition, 0, first.position, first.value)
    checker.take(TOPIC, second.partition, 0, second.position, second.value)
    assert checker.not_whole(at_most=6) == [1] and checker.not_whole(at_most=5) == []
    for message in transaction(1)[2:]:
        checker.take(TOPIC, message.partition, message.ordinal, message.position, message.value)
    assert checker.not_whole(at_most=6) == []


def take(checker: Checker, messages: Topic, first: int = 0) -> None:
    for offset, message in enumerate(messages, first):
        checker.take(TOPIC, message.partition, offset, message.position, message.value)


def test_what_is_wrong_is_told_once_however_often_it_is_looked_for(journal: Journal) -> None:
    checker = Checker(journal)
    topic = good()
    topic = [message for message in topic if message not in transaction(3)]
    topic.remove(transaction(2)[1])
    take(checker, topic)
    for _ in range(2):
        checker.finish()
        assert counts(checker) == {"lost": 7, "torn": 1}
        # What was not seen at all is put down to the next transaction that was.
        assert checker.places == {("lost", transaction(2)[0].lsn): 1, ("torn", transaction(2)[0].lsn): 1,
                                  ("lost", transaction(4)[0].lsn): 6}
    take(checker, transaction(1), len(topic))
    checker.finish()
    assert counts(checker) == {"lost": 7, "torn": 1, "duplicated": 6}


def test_what_may_be_absent_may_not_be_there_in_part(journal: Journal) -> None:
    topic = [message for message in good() if message not in transaction(1)]
    whole, part = Checker(journal), Checker(journal)
    take(whole, topic)
    whole.finish(lambda number: number <= 1)
    assert not counts(whole)
    take(part, [*transaction(1)[:2], *topic])
    part.finish(lambda number: number <= 1)
    assert counts(part) == {"lost": 4, "torn": 1}


def test_the_journal_tells_what_was_written(journal: Journal) -> None:
    assert journal.texts(2) == [message.text for message in transaction(2)]
    assert journal.rows == 6 * TRANSACTIONS

"""The comparison itself: it finds every kind of lie."""

import copy
from collections.abc import Callable

import pytest
from changes import Change, Stage, differences

TABLE = ("s", "t")
OLD = {"id": "1", "a": "x", "b": None}
NEW = {"id": "1", "a": "y", "b": None}
STAGES = [Stage("insert", TABLE, "f", [(None, OLD)]), Stage("update", TABLE, "f", [(OLD, NEW)]),
          Stage("delete", TABLE, "d", [(NEW, None)], ("id",))]
FRAMES = [Change("insert", TABLE, 1, None, OLD), Change("update", TABLE, 2, OLD, NEW),
          Change("delete", TABLE, 3, {"id": "1"}, None)]
CANAL = [Change("insert", TABLE, 1, None, OLD), Change("update", TABLE, 2, {"a": "x"}, NEW),
         Change("delete", TABLE, 3, {"id": "1"}, None)]


def test_true_changes_have_no_difference() -> None:
    assert differences(STAGES, FRAMES, CANAL) == {}


def other_text(changes: list[Change]) -> None:
    assert changes[1].after is not None
    changes[1].after["a"] = "z"


def other_text_before(changes: list[Change]) -> None:
    assert changes[1].before is not None
    changes[1].before["a"] = "z"


def null_for_a_value(changes: list[Change]) -> None:
    assert changes[0].after is not None
    changes[0].after["a"] = None


def empty_for_null(changes: list[Change]) -> None:
    assert changes[0].after is not None
    changes[0].after["b"] = ""


def missing_column(changes: list[Change]) -> None:
    assert changes[0].after is not None
    del changes[0].after["b"]


def more_than_the_key(changes: list[Change]) -> None:
    changes[2].before = dict(NEW)


def missing_change(changes: list[Change]) -> None:
    del changes[1]


def repeated_change(changes: list[Change]) -> None:
    changes.append(copy.deepcopy(changes[-1]))


def unknown_table(changes: list[Change]) -> None:
    changes.append(Change("insert", ("s", "other"), 4, None, {"id": "1"}))


LIES = (other_text, other_text_before, null_for_a_value, empty_for_null, missing_column, more_than_the_key,
        missing_change, repeated_change,
        unknown_table)


@pytest.mark.parametrize("lie", LIES)
@pytest.mark.parametrize("place", ["frames", "Canal JSON"])
def test_a_lie_is_found(lie: Callable[[list[Change]], None], place: str) -> None:
    frames, canal = copy.deepcopy(FRAMES), copy.deepcopy(CANAL)
    lie(frames if place == "frames" else canal)
    assert len(differences(STAGES, frames, canal)) == 1


def test_a_value_may_be_left_out_only_if_it_did_not_change() -> None:
    large = {"id": "1", "a": "x" * 3000, "b": None}
    after = {**large, "b": "new"}
    stage = [Stage("update", TABLE, "d", [(large, after)], ("id",))]
    shown = {"id": "1", "b": "new"}
    assert differences(stage, [Change("update", TABLE, 1, None, shown, frozenset("a"))],
                       [Change("update", TABLE, 1, {}, shown)]) == {}
    assert TABLE in differences(stage, [Change("update", TABLE, 1, None, shown)],
                                [Change("update", TABLE, 1, {}, shown)])
    changed = [Stage("update", TABLE, "d", [({**large, "a": "y" * 3000}, after)], ("id",))]
    assert TABLE in differences(changed, [Change("update", TABLE, 1, None, shown, frozenset("a"))],
                                [Change("update", TABLE, 1, {}, shown)])

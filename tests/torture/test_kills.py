"""Every fail point is killed as often as was asked for, under each kind of delivery; no servers."""

from collections import Counter

import points
import pytest
from kills import NOT_UNDER, Outcome, plans
from torture import MODES


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("kills", [1, 3, 100])
def test_every_stage_is_in_the_plan(mode: str, kills: int) -> None:
    stages = [point.name for point in points.defined() if point.name not in NOT_UNDER[mode]]
    planned: Counter[str] = Counter()
    made = plans(mode, stages, kills)
    for plan in made:
        planned.update(plan.kills)
    assert planned == dict.fromkeys(stages, kills)
    assert len({plan.name for plan in made}) == len(made)


def test_what_one_kind_of_delivery_lacks_the_other_has() -> None:
    assert not frozenset.intersection(*NOT_UNDER.values())
    assert frozenset.union(*NOT_UNDER.values()) <= {point.name for point in points.defined()}


def outcome() -> Outcome:
    made = Outcome("at-least-once", 2, ["row_rendered", "acks_taken"])
    for stage in made.stages * 2:
        made.killed(stage, 10)
    return made


def test_a_run_without_a_finding_is_good() -> None:
    assert outcome().good


def test_too_few_kills_are_not_good() -> None:
    made = outcome()
    made.kills["acks_taken"] -= 1
    assert not made.good and "too few kills: acks_taken, 1 of 2" in made.table(1)


@pytest.mark.parametrize("kind", ["lost", "duplicated", "unknown"])
def test_a_finding_is_not_good_and_is_told(kind: str) -> None:
    made = outcome()
    made.found["acks_taken", kind] += 4711
    [line] = [line for line in made.table(1).splitlines() if "acks_taken" in line]
    assert not made.good and "4711" in line


def test_a_trouble_is_not_good() -> None:
    made = outcome()
    made.troubles.append("the shipper ended with status 5")
    assert not made.good and "status 5" in made.table(1)

"""A bounded slice of `make torture`: some of the faults, chosen by a seed that is printed. WALFERRY_TORTURE_SEED repeats
one, WALFERRY_TORTURE_SECONDS is how long each kind of delivery is tried."""

import os
import random
from collections.abc import Iterator
from pathlib import Path

import pytest
from faults import matrix
from stage import Stage
from torture import MODES, Options, Torture

from harness import Run
from harness.run import BUILD

_FEWEST = 5  # faults


@pytest.fixture(scope="module")
def stage(run: Run) -> Iterator[Stage]:
    made = Stage(run)
    yield made
    made.broker.stop()
    made.server.stop("immediate")


@pytest.mark.timeout(600)
@pytest.mark.parametrize("mode", MODES)
def test_every_row_is_accounted_for_after_some_faults(stage: Stage, mode: str, tmp_path: Path) -> None:
    if not Torture.supports(tmp_path, mode):
        pytest.skip(f"this build does not know {mode}")
    seed = int(os.environ.get("WALFERRY_TORTURE_SEED", "0")) or random.SystemRandom().randrange(1, 10**9)
    seconds = float(os.environ.get("WALFERRY_TORTURE_SECONDS", "20"))
    torture = Torture(stage, Options(mode=mode, seed=seed, seconds=seconds, at_least=_FEWEST, large_rows=(20_000, 50_000),
                                     large_every=20))
    report = torture.run(matrix())
    print(report.table())
    if not report.good:
        torture.keep_logs(BUILD / "torture" / mode)
    assert report.good, report.table()
    # The faults must have had something to hit.
    assert report.transactions > 200 and sum(tally.times for tally in report.tallies.values()) >= _FEWEST

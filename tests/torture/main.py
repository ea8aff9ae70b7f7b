#!/usr/bin/env python3
"""`make torture`: the whole matrix under both kinds of delivery; a table at the end, exit status 1 if anything is amiss.

WALFERRY_TORTURE_SECONDS  how long in all (1800)
WALFERRY_TORTURE_SEED     chooses faults, their order and moments, and the rows (random, and printed)
WALFERRY_TORTURE_MODES    at-least-once, exactly-once or both, parted by a comma
WALFERRY_TORTURE_FAULTS   a regular expression for the names of faults

With --kills-per-stage N: the shipper killed at every fail point, N times under each kind of delivery, however long it takes.
"""

import argparse
import os
import random
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
sys.path.insert(0, str(Path(__file__).resolve().parent))

from faults import matrix  # noqa: E402
from kills import torture_by_kills  # noqa: E402
from stage import Stage  # noqa: E402
from torture import MODES, Options, Report, Torture  # noqa: E402

from harness import Interrupted, Run  # noqa: E402
from harness.run import BUILD  # noqa: E402


def main() -> int:
    parser = argparse.ArgumentParser(prog="torture")
    parser.add_argument("--kills-per-stage", type=int, metavar="N", default=0,
                        help="kill the shipper N times at every fail point, under each kind of delivery, and do nothing else")
    parser.add_argument("--parallel", type=int, metavar="TASKS", default=8, help="how many tasks are killed at the same time (8)")
    arguments = parser.parse_args()
    seconds = float(os.environ.get("WALFERRY_TORTURE_SECONDS", "1800"))
    seed = int(os.environ.get("WALFERRY_TORTURE_SEED", "0")) or random.SystemRandom().randrange(1, 10**9)
    modes = [mode for mode in os.environ.get("WALFERRY_TORTURE_MODES", ",".join(MODES)).split(",") if mode]
    faults = os.environ.get("WALFERRY_TORTURE_FAULTS", "")
    if arguments.kills_per_stage > 0:
        return 0 if torture_by_kills(arguments.kills_per_stage, seed, modes, faults, arguments.parallel) else 1
    print(f"torture: seed {seed}, {seconds:.0f} s", flush=True)
    reports: list[Report] = []
    with Run() as run:
        stage = Stage(run)
        for mode in modes:
            torture = Torture(stage, Options(mode=mode, seed=seed, seconds=seconds / len(modes), faults=faults))
            reports.append(torture.run(matrix()))
            print("\n" + reports[-1].table(), flush=True)
            if not reports[-1].good:
                torture.keep_logs(BUILD / "torture" / mode)
                print(f"  logs in {BUILD / 'torture' / mode}", flush=True)
    passed_by_none = set.intersection(*(report.not_passed for report in reports))
    if passed_by_none and not faults and len(modes) == len(MODES):
        print(f"\ntorture: fail points that nothing passed: {', '.join(sorted(passed_by_none))}")
    failed = not all(report.good for report in reports)
    print(f"\ntorture: {'FAILED' if failed else 'nothing lost, nothing twice'}; "
          f"WALFERRY_TORTURE_SEED={seed} repeats the choice of faults")
    return 1 if failed or (passed_by_none and not faults and len(modes) == len(MODES)) else 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except Interrupted as interrupted:
        sys.exit(interrupted.exit_status)
    except KeyboardInterrupt:
        sys.exit(130)

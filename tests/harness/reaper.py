"""Ends what a run started, and removes its folder, when the run itself is gone: also after kill -9.

Started by harness.run as a process in a session of its own; a pipe from the run is its standard input. Lines are
"+PID SIGNAL" (this process group belongs to the run; ask it to end with SIGNAL) and "-PID" (it has ended). End of
file means that the run has ended, whatever the way.
"""

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

GRACE_SECONDS = 5.0


def group_exists(group: int) -> bool:
    """Whether a process of the group is left; zombies, which nobody may ever collect, do not count."""
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            state, _parent, process_group = stat.read_text(errors="replace").rsplit(")", 1)[1].split()[:3]
        except OSError:
            continue  # ended meanwhile
        if int(process_group) == group and state not in "ZX":
            return True
    return False


def kill_group(pid: int, first: int) -> None:
    """Asks the group to end with the signal `first`, and kills what is left of it after a while."""
    try:
        os.killpg(pid, first)
        deadline = time.monotonic() + GRACE_SECONDS
        while group_exists(pid) and time.monotonic() < deadline:
            time.sleep(0.02)
        os.killpg(pid, signal.SIGKILL)
    except ProcessLookupError:
        pass


def remove_folder(folder: Path) -> None:
    """Removes the run's folder and the System V segments that killed PostgreSQL servers in it left behind."""
    for pid_file in folder.glob("**/postmaster.pid"):
        lines = pid_file.read_text(errors="replace").splitlines()
        segment = lines[6].split() if len(lines) > 6 else []
        if len(segment) == 2:
            subprocess.run(["ipcrm", "-m", segment[1]], check=False, stdout=subprocess.DEVNULL,
                           stderr=subprocess.DEVNULL)
    shutil.rmtree(folder, ignore_errors=True)


def main() -> None:
    for ignored in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGPIPE):
        signal.signal(ignored, signal.SIG_IGN)
    folder = Path(sys.argv[1])
    groups: dict[int, int] = {}
    for line in sys.stdin:
        words = line[1:].split()
        if line.startswith("+"):
            groups[int(words[0])] = int(words[1])
        elif line.startswith("-"):
            groups.pop(int(words[0]), None)
    for pid, first in groups.items():
        kill_group(pid, first)
    remove_folder(folder)


if __name__ == "__main__":
    main()

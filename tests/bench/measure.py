"""What is read of processes and of the machine, and how a few readings become one number."""

import math
import os
import platform
import statistics
import subprocess
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

_CPU_CLOCK_OF_PROCESS = 2  # Linux: the clock id of a process' CPU time is ~PID << 3 | CPUCLOCK_SCHED


def cpu_seconds(pid: int) -> float:
    """CPU time, user and system, of all threads that the process has or had."""
    return time.clock_gettime((~pid << 3) | _CPU_CLOCK_OF_PROCESS)


def memory_mb(pid: int, field: str = "VmHWM") -> float:
    """A field of /proc/PID/status in MB; VmHWM is the peak resident size, shared pages that were touched included."""
    for line in Path(f"/proc/{pid}/status").read_text(encoding="ascii").splitlines():
        name, _, value = line.partition(":")
        if name == field:
            return int(value.split()[0]) * 1024 / 1e6
    raise KeyError(field)


def summary(values: Iterable[float]) -> dict[str, float]:
    """Median, least and greatest of repeated measurements."""
    known = list(values)
    return {"median": statistics.median(known), "min": min(known), "max": max(known)}


def summaries(runs: Sequence[dict[str, float]]) -> dict[str, dict[str, float]]:
    """The summary of each field over runs that all have the same fields."""
    return {name: summary(run[name] for run in runs) for name in runs[0]}


def percentile(ordered: Sequence[float], share: float) -> float:
    """The smallest value that at least `share` of the sorted values do not exceed."""
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)]


def _first_line(*command: str) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    lines = (done.stdout or done.stderr).strip().splitlines()
    return lines[0] if lines else "unknown"


def _cpu_model() -> str:
    for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


def _distribution() -> str:
    return platform.freedesktop_os_release().get("PRETTY_NAME", "unknown")


def environment() -> dict[str, Any]:
    """The machine's shape and the versions that a result depends on."""
    return {
        "date": time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime()),
        "cpu": _cpu_model(),
        "cores": os.cpu_count(),
        "memory_gb": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9, 1),
        "kernel": platform.release(),
        "system": _distribution(),
        "compiler": _first_line("c++", "--version"),
        "java": _first_line("java", "-version"),
        "librdkafka": _first_line("pkg-config", "--modversion", "rdkafka"),
        "load_average": round(os.getloadavg()[0], 2),
    }

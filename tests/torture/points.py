"""The fail points: what shipper/fail_point/fail_points.def names, and where the code passes them."""

import re
from dataclasses import dataclass
from pathlib import Path

from harness.run import SOURCE

_DEFINITION = re.compile(r'^WF_FAIL_POINT\((\w+), (\d+), "([^"]+)"\)$', re.MULTILINE)
_USE = re.compile(r'WALFERRY_FAIL_POINT\("(\w+)"\)')
# Passed at the end only: somebody has to ask for it.
AT_STOP = ("drain_before", "drain_after")
# Passed once in the life of a task.
AT_CREATION = ("slot_created",)


@dataclass(frozen=True)
class Point:
    name: str
    hits: int  # the fault comes at a hit of this many


def defined() -> list[Point]:
    text = (SOURCE / "shipper" / "fail_point" / "fail_points.def").read_text(encoding="utf-8")
    return [Point(name, int(hits)) for name, hits, _where in _DEFINITION.findall(text)]


def placed() -> set[str]:
    """Names of the points that the shipper's code passes."""
    names: set[str] = set()
    for file in (SOURCE / "shipper").rglob("*"):
        if file.suffix in (".cpp", ".h") and file.parent.name != "fail_point":
            names.update(_USE.findall(file.read_text(encoding="utf-8")))
    return names


class PointLog:
    """What the processes with fail points in them have written down."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def _lines(self) -> list[list[str]]:
        if not self.path.exists():
            return []
        return [line.split() for line in self.path.read_text(encoding="ascii").splitlines()]

    def passed(self) -> set[str]:
        """Points that some process has passed."""
        return {words[0] for words in self._lines() if words}

    def carried_out(self) -> int:
        """How many failures have been carried out."""
        return sum(1 for words in self._lines() if len(words) == 3)

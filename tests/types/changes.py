"""Changes in one form, whoever has decoded them, and how they are compared with what the server said when it wrote."""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field

Image = dict[str, str | None]  # the text of each column's value, None for NULL
Table = tuple[str, str]  # schema and name


@dataclass
class Change:
    """One change; an image holds the columns that it shows, None stands for no image."""

    operation: str
    table: Table
    lsn: int  # of the commit
    before: Image | None
    after: Image | None
    unchanged: frozenset[str] = frozenset()  # columns that were not logged, because they lie out of line


@dataclass
class Stage:
    """One transaction of one kind of statement on one table: whole rows before and after it."""

    operation: str
    table: Table
    identity: str  # of the table, as in pg_class.relreplident
    rows: list[tuple[Image | None, Image | None]] = field(default_factory=list)
    key: tuple[str, ...] = ()  # columns of the replica identity where it is not the whole row

    def logged_before(self, before: Image | None, after: Image | None) -> Image | None:
        """The before image as PostgreSQL logs it."""
        if before is None or self.identity == "f":
            return before
        if not self.key:
            return None
        if after is not None and all(before[name] == after[name] for name in self.key):
            return None
        return {name: before[name] for name in self.key}


def _order(pair: tuple[Image | None, Image | None]) -> str:
    before, after = pair
    return str((after or {}).get("id") or (before or {}).get("id"))


def _difference(where: str, wanted: list[tuple[Image | None, Image | None]],
                found: list[tuple[Image | None, Image | None]]) -> str | None:
    if len(wanted) != len(found):
        return f"{where}: {len(found)} changes instead of {len(wanted)}"
    wanted, found = sorted(wanted, key=_order), sorted(found, key=_order)
    for one, other in zip(wanted, found):
        for image, left, right in zip(("before", "after"), one, other):
            if left == right:
                continue
            for name in sorted({*(left or {}), *(right or {})}):
                missing = "(none)"
                a, b = (left or {}).get(name, missing), (right or {}).get(name, missing)
                if a != b:
                    return (f"{where}, {image} image, row {_order(one)}, column {name}: "
                            f"the server says {a!r:.300}, found {b!r:.300}")
            return f"{where}, row {_order(one)}: {image} image is {right!r:.300} instead of {left!r:.300}"
    return None


def _by_stage(changes: Iterable[Change]) -> dict[Table, list[list[Change]]]:
    """The changes of each table, one list for each transaction."""
    result: dict[Table, list[list[Change]]] = defaultdict(list)
    for change in changes:
        stages = result[change.table]
        if not stages or stages[-1][0].lsn != change.lsn:
            stages.append([])
        stages[-1].append(change)
    return result


def _frame_pairs(stage: Stage, found: list[Change]) -> tuple[list, list]:
    """What walferry.decode should show and shows. A value that was not logged must be one that did not change."""
    left_out = {_order((change.before, change.after)): change.unchanged for change in found if change.unchanged}
    wanted = []
    for before, after in stage.rows:
        names = left_out.get(_order((before, after)), frozenset())
        shown = after and {name: text for name, text in after.items()
                           if not (name in names and before and before[name] == text and len(text or "") > 20)}
        wanted.append((stage.logged_before(before, after), shown))
    return wanted, [(change.before, change.after) for change in found]


def _canal_pairs(stage: Stage, found: list[Change], frames: list[Change]) -> tuple[list, list]:
    """What Canal JSON should show and shows: of an update's old row the changed values only."""
    left_out = {_order((change.before, change.after)): change.unchanged for change in frames if change.unchanged}
    wanted: list[tuple[Image | None, Image | None]] = []
    for before, after in stage.rows:
        old = stage.logged_before(before, after)
        if stage.operation == "update" and after is not None:
            known = {name: text for name, text in after.items()
                     if name in (old or {}) or name not in left_out.get(_order((before, after)), ())}
            wanted.append(({name: text for name,
                            text in (old or {}).items() if name not in after or text != after[name]}, known))
        else:
            wanted.append((old or {} if stage.operation == "delete" else old, after))
    return wanted, [(change.before, change.after) for change in found]


def differences(stages: Iterable[Stage], frames: Iterable[Change], canal: Iterable[Change]) -> dict[Table, str]:
    """For each table whose changes are not as the server says: the first difference."""
    by_table: dict[Table, list[Stage]] = defaultdict(list)
    for stage in stages:
        if stage.rows:
            by_table[stage.table].append(stage)
    all_frames, all_canal = _by_stage(frames), _by_stage(canal)
    result: dict[Table, str] = {}
    for table, wanted in by_table.items():
        for what, found in (("frames", all_frames[table]), ("Canal JSON", all_canal[table])):
            if len(found) != len(wanted):
                result[table] = f"{what}: {len(found)} transactions instead of {len(wanted)}"
                break
            for number, (stage, changes) in enumerate(zip(wanted, found)):
                assert all(change.operation == stage.operation for change in changes)
                if what == "frames":
                    pairs = _frame_pairs(stage, changes)
                else:
                    pairs = _canal_pairs(stage, changes, all_frames[table][number])
                difference = _difference(f"{what}, {stage.operation} (transaction {number})", *pairs)
                if difference:
                    result.setdefault(table, difference)
    for table in all_frames.keys() | all_canal.keys():
        if table not in by_table and (all_frames[table] or all_canal[table]):
            result[table] = "changes of a table that has none"
    return result

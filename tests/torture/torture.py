"""One torture: a task under load while faults come one after the other, and at the end every row is accounted for."""

import contextlib
import datetime
import random
import re
import shutil
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import points
from topic_checker import KINDS, Checker, Finding
from journal import Journal
from slot_watch import SlotWatch
from stage import Reader, Stage, fail_point_binary
from workload import Workload

from harness import Walferry
from harness.run import wait_until
from harness.stream import peak_memory
from harness.walferry import merged, to_toml

SIGKILLED = -9
MODES = ("at-least-once", "exactly-once")


class Impossible(Exception):
    """The fault could not be brought about this time: it counts as missed."""


class Inapplicable(Exception):
    """There is no such fault under this kind of delivery."""


@dataclass
class Tally:
    """What became of one kind of fault."""
    times: int = 0
    missed: int = 0
    duplicated: int = 0  # rows repeated of transactions that were on their way then
    seconds: float = 0.0


@dataclass
class Report:
    mode: str
    seed: int
    seconds: float
    rows: int
    transactions: int
    rolled_back: int
    asked: int  # COMMITs whose outcome had to be asked for
    messages: int
    tallies: dict[str, Tally]
    counts: Counter[str]
    excused: int  # duplicates after a paused process has woken, which at-least-once does not exclude
    slot_comparisons: int
    peak_memory: int
    takeovers: list[float]
    not_passed: set[str]  # fail points in the code that nothing passed
    troubles: list[str]
    examples: list[str]

    @property
    def good(self) -> bool:
        return not self.troubles and not any(self.counts[kind] for kind in KINDS)

    def table(self) -> str:
        lines = [f"{self.mode}, seed {self.seed}, {self.seconds:.0f} s: {self.rows} rows in {self.transactions} transactions, "
                 f"{self.rolled_back} rolled back, {self.asked} commits without an answer; {self.messages} messages read",
                 f"  {'fault':<40} {'times':>6} {'missed':>6} {'repeated':>9} {'s':>6}"]
        for name, tally in sorted(self.tallies.items()):
            if tally.times == 0 and tally.missed == 0:
                continue
            lines.append(f"  {name:<40} {tally.times:>6} {tally.missed:>6} {tally.duplicated:>9} {tally.seconds:>6.0f}")
        total = sum(tally.times for tally in self.tallies.values())
        lines.append(f"  {'all':<40} {total:>6} {sum(tally.missed for tally in self.tallies.values()):>6}")
        lines.append("  " + "  ".join(f"{kind} {self.counts[kind]}" for kind in KINDS) +
                     f"  (repeated by a process that was paused: {self.excused})")
        lines.append(f"  slot against progress record: {self.slot_comparisons} comparisons; shipper at most "
                     f"{self.peak_memory >> 20} MB" +
                     (f"; takeover {min(self.takeovers):.1f} to {max(self.takeovers):.1f} s" if self.takeovers else ""))
        if self.not_passed:
            lines.append(f"  fail points not passed: {', '.join(sorted(self.not_passed))}")
        lines += [f"  trouble: {text}" for text in self.troubles]
        lines += [f"  {text}" for text in self.examples]
        return "\n".join(lines)


@dataclass
class Window:
    """From which position on a fault can have had an effect."""
    fault: str
    start: int
    excused_until: int | None = None  # up to here a paused process may have repeated

    def excuses(self, lsn: int) -> bool:
        return self.excused_until is not None and lsn <= self.excused_until


@dataclass(frozen=True)
class Fault:
    name: str
    inject: "Callable[[Torture], None]"
    weight: int = 1  # how often in each round
    cost: float = 2.0  # seconds that it takes, about: it is left out when there is less time


@dataclass
class Options:
    mode: str
    seed: int
    seconds: float
    at_least: int = 0  # faults, however long they take
    faults: str = ""  # a regular expression for names of faults; empty: all
    writers: int = 3
    pause: float = 0.02
    large_rows: tuple[int, int] = (50_000, 200_000)
    large_every: float = 120.0
    task: dict[str, object] = field(default_factory=dict)  # settings, over those of every torture
    name: str = ""  # of the task; empty: after the mode
    watch_every: float = 0.1  # seconds from one look at the slot to the next


class Torture:
    def __init__(self, stage: Stage, options: Options) -> None:
        self.stage = stage
        self.options = options
        # Drawn from anew for each fault, so that the length of one does not change what the next ones do.
        self.chance = random.Random(f"{options.seed} {options.name or options.mode}")
        self._injected = 0
        self.name = options.name or "torture_" + options.mode.replace("-", "_")
        folder = stage.run.subfolder(self.name)
        self._folder = folder
        self._point_log = points.PointLog(folder / "fail_points.log")
        self.prefix = f"{self.name}."
        self._tallies: dict[str, Tally] = {}
        self._windows: list[Window] = []
        self._troubles: list[str] = []
        self._takeovers: list[float] = []
        self._peak = 0
        self._large_due = 0.0
        stage.server.create_database(self.name)
        stage.server.query(f"alter database {self.name} set synchronous_commit = on")
        # A topic for each table, or few topics that all tables share: the seed decides.
        self.topic = self.prefix + ("{schema}.{table}" if self.chance.random() < 0.6 else "{schema}")
        task = {
            "name": self.name,
            "source": {"dsn": stage.server_proxy.dsn(stage.server, self.name), "silence_timeout": "6s",
                       "status_interval_ms": 100},
            "sink": {"brokers": stage.brokers, "format": "canal-json", "topic": self.topic, "topic_partitions": 3,
                     "delivery": options.mode},
            "spool": {"directory": str(folder / "spool")},
            "retry": {"initial_delay": "20ms", "max_delay": "500ms"},
            "shutdown": {"timeout": "30s"},
        }
        self.task = to_toml(merged(task, options.task))
        # Two processes of one task: the second is the standby of the first, and after a takeover it is the other way.
        self.main, self.standby = (Walferry(stage.run, self.task, fail_point_binary()) for _ in range(2))
        self.journal = Journal(folder)
        self.checker = Checker(self.journal)
        self.workload = Workload(stage.server, self.name, self.journal, options.seed, options.writers, options.pause)
        isolation = "read_committed" if options.mode == "exactly-once" else "read_uncommitted"
        self.reader = Reader(stage.broker, self.prefix, isolation, self.checker)
        self.watch = SlotWatch(stage.server, stage.broker, self.name, self.name, f"walferry.progress.{self.name}",
                               options.watch_every)

    @staticmethod
    def supports(folder: Path, mode: str) -> bool:
        """Whether this build of the shipper knows the mode."""
        task = folder / f"{mode}.toml"
        task.write_text(to_toml({"name": "t", "source": {"dsn": "dbname=t"},
                                 "sink": {"brokers": "127.0.0.1:9", "delivery": mode}}), encoding="utf-8")
        done = subprocess.run([str(fail_point_binary()), "run", str(task), "--check-config"], capture_output=True, text=True,
                              check=False)
        return done.returncode == 0

    # --- the whole ---

    def run(self, faults: list[Fault]) -> Report:
        begun = time.monotonic()
        chosen = [fault for fault in faults if re.search(self.options.faults, fault.name)]
        if not chosen:
            raise ValueError(f"no fault is called like {self.options.faults}")
        self._first_start()
        with self.reader.follow(), self.watch:
            self.workload.start()
            self.large_transaction(20_000)
            self._large_due = time.monotonic() + self.options.large_every / 4
            wait_until(lambda: self.workload.committed > 30, "the writers to begin", 30)
            deadline = begun + self.options.seconds
            order = random.Random(f"{self.options.seed} {self.options.mode} order")
            while self._left(deadline) > 0 and not self._hopeless():
                round_of_faults = [fault for fault in chosen for _ in range(fault.weight)]
                order.shuffle(round_of_faults)
                left_out = 0
                for fault in round_of_faults:
                    left = self._left(deadline)
                    if left <= 0 or self._hopeless():
                        break
                    if fault.cost > left:
                        left_out += 1
                        continue
                    self._inject(fault)
                if left_out == len(round_of_faults):
                    break
            self._finish()
            report = self._report(time.monotonic() - begun)
        self.journal.close()
        return report

    def _left(self, deadline: float) -> float:
        """Seconds. On a machine that has much else to do the fewest faults may take longer."""
        left = deadline - time.monotonic()
        return left if sum(tally.times for tally in self._tallies.values()) >= self.options.at_least else max(left, 10.0)

    def _hopeless(self) -> bool:
        """Beyond this nothing is learned any more."""
        return len(self._troubles) >= 10

    def _first_start(self) -> None:
        """Creates the slot; the workload's rows must come after it."""
        if "slot_created" in points.placed() and re.search(self.options.faults, "kill at slot_created"):
            tally = self._tallies.setdefault("kill at slot_created", Tally())
            self.start("slot_created=kill")
            if self.main.wait(60) == SIGKILLED:
                tally.times += 1
            else:
                tally.missed += 1
        self.start()
        self.wait_streaming()

    def _inject(self, fault: Fault) -> None:
        tally = self._tallies.setdefault(fault.name, Tally())
        self._injected += 1
        self.workload.check_writers()
        self.chance = random.Random(f"{self.options.seed} {self.options.mode} {self._injected}")
        self._maybe_large()
        self.dwell(0.0, 0.6)
        if self.chance.random() < 0.5:
            self.wait_streaming()
        if self.chance.random() < 0.25:
            self.catch_up()
        self._windows.append(Window(fault.name, self._confirmed()))
        self._note(f"{fault.name}: the slot is confirmed up to {self._windows[-1].start:X}")
        begun = time.monotonic()
        try:
            fault.inject(self)
            tally.times += 1
        except Impossible:
            tally.missed += 1
        except Inapplicable:
            pass
        except (TimeoutError, RuntimeError, subprocess.TimeoutExpired) as error:
            tally.times += 1
            self.trouble(f"{fault.name}: {error}")
        finally:
            self.stage.mend()
            tally.seconds += time.monotonic() - begun
        self.expect_running(fault.name)

    def _maybe_large(self) -> None:
        if time.monotonic() < self._large_due:
            return
        self._large_due = time.monotonic() + self.options.large_every
        self.large_transaction(self.chance.randint(*self.options.large_rows))

    def _finish(self) -> None:
        self.workload.stop()
        self.workload.check_writers()
        self.stage.mend()
        try:
            if not self.main.running():
                self.start()
            self.wait_streaming()
            self.stage.server.wait_confirmed(self.name, timeout=180)
        except (TimeoutError, RuntimeError) as error:
            self.trouble(f"at the end: {error}")
        self._note_memory()
        if self.main.running():
            try:
                status = self.main.stop(timeout=60)
                if status != 0:
                    self.trouble(f"the shipper ended with status {status} at the end: {self.last_words(self.main)}")
            except subprocess.TimeoutExpired:
                self.trouble("the shipper did not end within 60 s")
                self.main.kill()
        self.reader.read_to_end(timeout=300)
        self.checker.finish()

    def _report(self, seconds: float) -> Report:
        excused = 0
        for lsn, count in self.checker.repeated.items():
            window = self._window(lsn)
            if window is not None:
                self._tallies[window.fault].duplicated += count
                excused += count if window.excuses(lsn) else 0
        counts = Counter(self.checker.counts)
        counts["duplicated"] -= excused
        if self.watch.failure is not None:
            self.trouble(f"the slot could not be watched: {self.watch.failure!r}")
        for text in self.watch.findings:
            self.trouble(text)
        return Report(
            mode=self.options.mode, seed=self.options.seed, seconds=seconds, rows=self.journal.rows,
            transactions=len(self.journal.expected), rolled_back=len(self.journal.rolled_back),
            asked=self.journal.unknown_outcomes, messages=self.checker.messages, tallies=self._tallies,
            counts=counts, excused=excused, slot_comparisons=self.watch.comparisons, peak_memory=self._peak,
            takeovers=self._takeovers, not_passed=points.placed() - self._point_log.passed(), troubles=self._troubles,
            examples=[self._example(finding) for finding in self.checker.findings if not self._excused(finding)])

    def _example(self, finding: Finding) -> str:
        text = f"{finding.kind}: {finding.text}" + (f" ({finding.place})" if finding.place else "")
        if finding.lsn is not None:
            window = self._window(finding.lsn)
            text += f", after: {window.fault}" if window else ""
        return text

    def _excused(self, finding: Finding) -> bool:
        window = self._window(finding.lsn) if finding.kind == "duplicated" and finding.lsn is not None else None
        return window is not None and window.excuses(finding.lsn or 0)

    def _window(self, lsn: int) -> Window | None:
        """The fault that a transaction's trouble is put down to: the last one before it was confirmed."""
        return next((window for window in reversed(self._windows) if window.start <= lsn), None)

    # --- what faults use ---

    def trouble(self, text: str) -> None:
        self._note(f"trouble: {text}")
        self._troubles.append(text)

    def _note(self, text: str) -> None:
        """Into a file beside the logs of the shipper, in the form of their times."""
        now = datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="milliseconds")
        with (self._folder / "events.log").open("a", encoding="utf-8") as file:
            file.write(f"{now} {text}\n")

    def keep_logs(self, folder: Path) -> None:
        """What tells how a failure came about; the run's own folder goes with the run."""
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        for file in (self._folder / "events.log", self._point_log.path):
            if file.exists():
                shutil.copy(file, folder)
        for number, process in enumerate((self.main, self.standby)):
            shutil.copy(process.log_file, folder / f"walferry-{number}.log")
        shutil.copy(self.stage.server.log_file, folder)

    def dwell(self, shortest: float, longest: float) -> None:
        """Load goes on for a while."""
        threading.Event().wait(self.chance.uniform(shortest, longest))

    def large_transaction(self, rows: int) -> None:
        """Soon some writer inserts so many rows in one transaction, and updates and deletes some of them."""
        self.chance.choice(self.workload.writers).large_transaction(rows)

    def start(self, plan: str = "") -> None:
        """Starts the shipper; does not wait for anything. The plan is one of fail points."""
        self._start(self.main, plan)

    def _start(self, process: Walferry, plan: str = "") -> None:
        process.start(environment={"WALFERRY_FAIL_POINTS": plan, "WALFERRY_FAIL_POINT_LOG": str(self._point_log.path)})

    def kill(self) -> None:
        self._note_memory()
        if self.main.running():
            self.main.kill()

    def passed(self, point: str) -> bool:
        """Whether some process of this torture has passed the point."""
        return point in self._point_log.passed()

    def wait_streaming(self, timeout: float = 60.0) -> None:
        if not self.main.running():
            self.start()
        self.main.wait_for_log('"streaming"', timeout)

    def catch_up(self, timeout: float = 120.0) -> int:
        """Waits until everything committed by now is confirmed; the position."""
        return self.stage.server.wait_confirmed(self.name, timeout=timeout)

    def expect_running(self, after: str) -> None:
        """No fault ends the shipper for good."""
        if self.main.running():
            return
        status = self.main.process.child.returncode
        if status != SIGKILLED:  # a planned failure may have come later than it was waited for
            self.trouble(f"the shipper ended with status {status} after {after}: {self.last_words(self.main)}")
        self.start()

    def check_whole(self) -> None:
        """With the shipper dead: what a reader of whole transactions sees must be whole ones."""
        self.reader.read_to_end()
        broken = self.checker.not_whole(at_most=1_000_000)
        if broken:
            self.checker.counts["torn"] += len(broken)
            self.checker.places["torn", self._windows[-1].start] += len(broken)
            self.trouble(f"transactions that were there in part while the shipper was dead: {broken[:5]}")

    @contextlib.contextmanager
    def may_repeat(self) -> Iterator[None]:
        """A process is paused in here and wakes when another has taken over: under at-least-once it may repeat what was on
        its way. No other fault's effects are mixed with its own."""
        window = self._windows[-1]
        self.catch_up()
        window.start = self._confirmed()
        yield
        window.excused_until = self.catch_up()
        if self.options.mode == "exactly-once":
            window.excused_until = None

    def takeover(self, paused_at: float, timeout: float = 60.0) -> None:
        """The standby streams, while the main process stands still."""
        deadline = time.monotonic() + timeout
        if not self.standby.running():
            self._start(self.standby)
        while True:
            with contextlib.suppress(RuntimeError, TimeoutError):  # one that does not wait by itself is started again
                self.standby.wait_for_log('"streaming"', 5)
                self._takeovers.append(time.monotonic() - paused_at)
                return
            if time.monotonic() > deadline:
                raise TimeoutError(f"no takeover within {timeout:g} s; the standby says: {self.last_words(self.standby)}")
            if not self.standby.running():
                self._start(self.standby)

    def swap(self) -> None:
        """After a takeover."""
        self.main, self.standby = self.standby, self.main

    def _confirmed(self) -> int:
        return self.stage.server.confirmed_lsn(self.name) or 0

    def _note_memory(self) -> None:
        with contextlib.suppress(OSError, ValueError):
            self._peak = max(self._peak, peak_memory(self.main.pid))

    @staticmethod
    def last_words(process: Walferry) -> str:
        return " | ".join(process.log().splitlines()[-3:])[-900:]

"""`make torture TORTURE_ARGS="--kills-per-stage N"`: the shipper killed at every fail point, N times under each kind of
delivery.

Several tasks are tortured at the same time, each in a lane of its own: a database with its writers, a slot, topics, a journal,
a checker. A lane has a scenario, which is what makes its points passed at all: transactions that are streamed, a Kafka that is
away, a task that begins, a change of the kind of delivery. From one kill to the next it only starts the shipper again; every so
many kills the writers rest, everything has to be in Kafka, and the checker says what it has found."""

import contextlib
import functools
import json
import math
import queue
import random
import re
import shutil
import signal
import subprocess
import threading
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path

import points
from topic_checker import KINDS, Checker
from stage import Reader, Stage, fail_point_binary
from torture import SIGKILLED, Options, Torture, Window
from workload import TRANSACTIONS

from harness import Run, Walferry
from harness.postgres import lsn_from_text
from harness.proxy import Proxy
from harness.run import BUILD, wait_until
from harness.stream import last_progress
from harness.walferry import merged, to_toml

EVIDENCE = BUILD / "torture" / "kills"
# What a kind of delivery has no use for.
NOT_UNDER = {
    "at-least-once": frozenset(("fence_before", "fence_after", "kafka_begin_transaction", "kafka_flush_before",
                                "kafka_commit_before", "kafka_commit_after")),
    "exactly-once": frozenset(("progress_acknowledged",)),
}
_STREAMED = ("spool_append", "spool_drain")
_OUTAGE = ("spool_sync",)
_READ_BACK = ("read_back_before", "read_back_after")
_CHECK_EVERY = 20  # kills of a lane
_SOON = 1.2  # seconds after the start within which the hit should have come
_LATEST = 25.0
_ELSEWHERE = "not told which"
_setup = threading.Lock()  # servers, folders and databases are made by one lane at a time


class Abandoned(Exception):
    """The run is over: somebody has interrupted it."""


def _nothing() -> None:
    pass


def _brief(error: Exception) -> str:
    """Without all of a log that a message may have."""
    text = " | ".join(str(error).splitlines())
    return f"{type(error).__name__}: {text if len(text) < 900 else f'{text[:300]} ... {text[-500:]}'}"


@dataclass(frozen=True)
class Plan:
    """What one lane does."""
    mode: str
    scenario: str
    number: int
    kills: dict[str, int]  # of each stage

    @property
    def name(self) -> str:
        return f"{self.scenario}_{self.mode.split('-', maxsplit=1)[0]}_{self.number}"


def scenario_of(mode: str, stage: str) -> str:
    if stage in points.AT_CREATION:
        return "creation"
    if stage in _STREAMED:
        return "streamed"
    if stage in _OUTAGE:
        return "outage"
    # Under exactly-once nothing is read back, but after the other kind of delivery.
    return "switched" if stage in _READ_BACK and mode == "exactly-once" else "ordinary"


_LANES = {"outage": 2, "switched": 2, "creation": 2, "streamed": 2, "ordinary": 4}


def plans(mode: str, stages: Iterable[str], kills: int) -> list[Plan]:
    """The kills of every stage, dealt out to the lanes of its scenario."""
    made = []
    for scenario, lanes in _LANES.items():
        wanted = [stage for stage in stages if scenario_of(mode, stage) == scenario]
        for number in range(lanes):
            share = {stage: kills // lanes + (number < kills % lanes) for stage in wanted}
            if any(share.values()):
                made.append(Plan(mode, scenario, number, share))
    return made


@dataclass
class Outcome:
    """Of all lanes of a mode. Threads share it."""
    mode: str
    wanted: int
    stages: list[str]
    kills: Counter[str] = field(default_factory=Counter)
    missed: Counter[str] = field(default_factory=Counter)
    rows: Counter[str] = field(default_factory=Counter)
    found: Counter[tuple[str, str]] = field(default_factory=Counter)  # rows by stage and kind
    all_rows: int = 0
    transactions: int = 0
    rolled_back: int = 0
    messages: int = 0
    checks: int = 0
    comparisons: int = 0
    troubles: list[str] = field(default_factory=list)
    examples: list[str] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def killed(self, stage: str, rows: int) -> None:
        with self.lock:
            self.kills[stage] += 1
            self.rows[stage] += rows

    def violations(self) -> int:
        with self.lock:
            return sum(self.found.values())

    @property
    def too_few(self) -> list[str]:
        return [stage for stage in self.stages if self.kills[stage] < self.wanted]

    @property
    def good(self) -> bool:
        return not self.troubles and not self.too_few and self.violations() == 0

    def table(self, seed: int) -> str:
        shown = {"rolled back": "undone"}
        heads = [shown.get(kind, kind) for kind in KINDS]
        lines = [f"{self.mode}, seed {seed}: {sum(self.kills.values())} kills, {self.all_rows} rows in {self.transactions} "
                 f"transactions, {self.rolled_back} rolled back; {self.messages} messages read, {self.checks} times compared",
                 f"  {'stage':<26} {'kills':>6} {'rows':>8}" + "".join(f"{head:>11}" for head in heads)]
        others = sorted({stage for stage, _ in self.found} - set(self.stages))
        for stage in [*self.stages, *others]:
            lines.append(f"  {stage:<26} {self.kills[stage]:>6} {self.rows[stage]:>8}" +
                         "".join(f"{self.found[stage, kind]:>11}" for kind in KINDS))
        sums = {kind: sum(count for (_, found), count in self.found.items() if found == kind) for kind in KINDS}
        lines.append(f"  {'all':<26} {sum(self.kills.values()):>6} {self.all_rows:>8}" +
                     "".join(f"{sums[kind]:>11}" for kind in KINDS))
        lines.append(f"  hits that did not come in time: {sum(self.missed.values())}; slot against progress record: "
                     f"{self.comparisons} comparisons")
        lines += [f"  too few kills: {stage}, {self.kills[stage]} of {self.wanted}" for stage in self.too_few]
        lines += [f"  trouble: {text}" for text in self.troubles]
        lines += [f"  {text}" for text in self.examples]
        return "\n".join(lines)


class Lane(Torture):
    """One task, killed again and again under load."""

    def __init__(self, stage: Stage, plan: Plan, seed: int, outcome: Outcome, over: threading.Event,
                 settings: dict[str, object] | None = None) -> None:
        # No proxy, which would take more of the machine than what is tested. Little is in flight, so that a large
        # transaction is larger than that.
        task = merged({"source": {"dsn": stage.server.dsn(plan.name)},
                       "sink": {"brokers": stage.broker.brokers, "queue_bytes": "1MB"}}, settings or {})
        with _setup:
            super().__init__(stage, Options(mode=plan.mode, seed=seed, seconds=0, writers=2, pause=0.12, task=task,
                                            name=plan.name, watch_every=0.5))
        self.plan = plan
        self.outcome = outcome
        self._over = over
        self._points = {point.name: point for point in points.defined()}
        self._latest = {name: point.hits for name, point in self._points.items()}  # hit that comes soon enough
        self._kills = self._since_check = 0
        self._seen: Counter[tuple[str, int | None]] = Counter()
        self._troubles_seen = 0
        self._evidence_kept = 0

    # --- the whole ---

    def carry_out(self) -> None:
        try:
            self._carry_out()
        finally:
            self.kill()
            for writer in self.workload.writers:
                writer.stop()
                if writer.is_alive():
                    writer.join(60)
            self.journal.close()
            with self.outcome.lock:
                self.outcome.all_rows += self.journal.rows
                self.outcome.transactions += len(self.journal.expected)
                self.outcome.rolled_back += len(self.journal.rolled_back)
                self.outcome.messages += self.checker.messages
                self.outcome.comparisons += self.watch.comparisons

    def _carry_out(self) -> None:
        self.start()
        self.wait_streaming()
        with self.reader.follow(), self._watched():
            self._begin_writing()
            self._work()
            self._end()

    def _watched(self) -> contextlib.AbstractContextManager[object]:
        return self.watch

    def kill(self) -> None:
        if self.main.running():
            super().kill()

    def _begin_writing(self) -> None:
        self.workload.start()
        wait_until(lambda: self.workload.committed > 10, "the writers to begin", 60)

    def _work(self) -> None:
        todo = self._todo()
        while todo and not self._hopeless():
            stage = todo.pop()
            if not self.kill_at(stage):
                todo.insert(0, stage)
            self._maybe_check()

    def _todo(self) -> list[str]:
        todo = [stage for stage, kills in self.plan.kills.items() for _ in range(kills)]
        random.Random(f"{self.options.seed} {self.name} order").shuffle(todo)
        return todo

    def _end(self) -> None:
        self.workload.stop()
        self.workload.check_writers()
        self.checkpoint()
        if self.main.running():
            try:
                status = self.main.stop(timeout=60)
                if status != 0:
                    self.trouble(f"the shipper ended with status {status} at the end: {self.last_words(self.main)}")
            except subprocess.TimeoutExpired:
                self.trouble("the shipper did not end within 60 s")
                self.main.kill()
        if self.watch.failure is not None:
            self.trouble(f"the slot could not be watched: {self.watch.failure!r}")
        for text in self.watch.findings:
            self.trouble(text)
        self._report()
        if not self._troubles:
            self.stage.server.drop_slot(self.name)

    def _hopeless(self) -> bool:
        if self._over.is_set():
            raise Abandoned
        return len(self._troubles) >= 3 or self.checker.counts.total() > 10_000

    # --- a kill ---

    def kill_at(self, stage: str, meanwhile: Callable[[], None] = _nothing) -> bool:
        """Starts the shipper so that it is killed there, and waits for that. Whether it was."""
        point = self._points[stage]
        self.kill()
        self._kills += 1
        self.chance = random.Random(f"{self.options.seed} {self.name} {self._kills}")
        hit = max(1, min(self._latest[stage], round(math.exp(self.chance.uniform(0, math.log(self._latest[stage] + 0.5))))))
        self._windows.append(Window(stage, self._confirmed()))
        self._note(f"kill {self._kills} at {stage}@{hit}: the slot is confirmed up to {self._windows[-1].start:X}")
        rows = self.journal.rows
        self.start(f"{stage}=kill@{hit}")
        meanwhile()
        status = self._await_end(point)
        if status != SIGKILLED:
            with self.outcome.lock:
                self.outcome.missed[stage] += 1
            if status is not None and (status != 0 or stage not in points.AT_STOP):
                self.trouble(f"the shipper ended with status {status} instead of at {stage}: {self.last_words(self.main)}")
            elif self.outcome.missed[stage] > 3 + self.outcome.wanted // 5:
                self.trouble(f"{stage} is not passed often enough to be killed there")
            return False
        self._since_check += 1
        self.outcome.killed(stage, self.journal.rows - rows)
        if self.options.mode == "exactly-once" and self.chance.random() < 0.04:
            self.dwell(1.0, 1.0)  # what Kafka has committed becomes readable
            self.check_whole()
            self._report()
        return True

    def _await_end(self, point: points.Point) -> int | None:
        """The exit status; None if the process still ran, and was killed for it."""
        if point.name in points.AT_STOP:
            with contextlib.suppress(RuntimeError):  # it has ended
                self.main.wait_for_log('"streaming"', 60)
                self.dwell(0.0, 0.4)
            self.main.process.send_signal(signal.SIGTERM)
        for seconds, then in ((_SOON, functools.partial(self._hurry, point)), (_LATEST, self.kill)):
            try:
                return self.main.wait(seconds)
            except subprocess.TimeoutExpired:
                then()
        return None

    def _hurry(self, point: points.Point) -> None:
        """The hit takes long to come: it shall come earlier next time."""
        self._latest[point.name] = max(1, self._latest[point.name] * 2 // 3)

    # --- between kills ---

    def _maybe_check(self) -> None:
        if self._since_check >= _CHECK_EVERY:
            self.checkpoint()
            self.large_transaction(self.chance.randint(3000, 6000))

    def checkpoint(self) -> None:
        """Everything written so far is in Kafka, once."""
        self._since_check = 0
        self.workload.hold()
        try:
            self.wait_streaming()
            self.catch_up()
            self.reader.read_to_end()
            self.checker.finish()
        except (TimeoutError, RuntimeError) as error:
            self.trouble(f"before a check: {_brief(error)}")
        self._note(f"checked after {self._kills} kills")
        with self.outcome.lock:
            self.outcome.checks += 1
        self._report()
        self.workload.go_on()

    def _report(self) -> None:
        """Hands over what is new."""
        new = self.checker.places - self._seen
        self._seen = Counter(self.checker.places)
        troubles = self._troubles[self._troubles_seen:]
        self._troubles_seen = len(self._troubles)
        if not new and not troubles:
            return
        examples = [f"{self.name}: {self._example(finding)}" for finding in self.checker.findings]
        with self.outcome.lock:
            for (kind, lsn), rows in new.items():
                window = None if lsn is None else self._window(lsn)
                self.outcome.found[window.fault if window else _ELSEWHERE, kind] += rows
            self.outcome.troubles += [f"{self.name}: {text}" for text in troubles]
            self.outcome.examples = [text for text in self.outcome.examples if not text.startswith(f"{self.name}: ")] + examples
        for text in [*troubles, *examples]:
            print(f"  ! {self.name}, after {self._kills} kills: {text}", flush=True)
        if self._evidence_kept < 2:
            self._evidence_kept += 1
            keep_evidence(self)


def keep_evidence(lane: Lane) -> None:
    """Everything from which it can be told how a violation came about."""
    folder = EVIDENCE / lane.name
    lane.keep_logs(folder)
    lane.journal.flush()
    for file in lane.journal.folder.glob("writer-*.jsonl"):
        shutil.copy(file, folder)
    topics = [topic for topic in lane.stage.broker.topics() if topic.startswith(lane.prefix)]
    topics.append(f"walferry.progress.{lane.name}")
    for topic in topics:
        visible = {(record.partition, record.offset) for record in lane.stage.broker.consume(topic, "read_committed")}
        with (folder / f"{topic}.jsonl").open("w", encoding="utf-8") as out:
            for record in lane.stage.broker.consume(topic, "read_uncommitted"):
                out.write(json.dumps({
                    "partition": record.partition, "offset": record.offset, "time": record.timestamp_ms,
                    "committed": (record.partition, record.offset) in visible,
                    "position": record.header.get("walferry.position", b"").decode("ascii"),
                    "value": (record.value or b"").decode("utf-8", "replace")}) + "\n")
    print(f"  ! {lane.name}: evidence in {folder}", flush=True)


class Streamed(Lane):
    """Transactions that come while they are in progress."""

    def _hurry(self, point: points.Point) -> None:
        if point.name not in _STREAMED:
            super()._hurry(point)
        self.large_transaction(self.chance.randint(1500, 6000))


class Outage(Lane):
    """Kafka goes away, and the log on disk takes the changes; killed while it does, and while the log is delivered."""

    _IN_DRAIN = ("frame_received", "row_rendered", "message_produced", "acks_taken", "progress_before_produce",
                 "progress_after_produce", "progress_read")

    def __init__(self, stage: Stage, plan: Plan, seed: int, outcome: Outcome, over: threading.Event, way: Proxy) -> None:
        super().__init__(stage, plan, seed, outcome, over, {
            "sink": {"brokers": f"127.0.0.1:{way.port}"}, "spool": {"outage": True, "outage_after": "1s"}})
        self._way = way
        (self._folder / "spool").mkdir()
        self._latest["spool_sync"] = 6

    def _watched(self) -> contextlib.AbstractContextManager[object]:
        return contextlib.nullcontext()  # the slot follows the log on disk, not the progress record

    def catch_up(self, timeout: float = 120.0) -> int:
        """What is confirmed may still be in the log: the progress record says what has come to Kafka."""
        wanted = super().catch_up(timeout)

        def delivered() -> bool:
            record = last_progress(self.stage.broker, self.name)
            return min(lsn_from_text(record["position"]), lsn_from_text(record["reread"])) >= wanted

        wait_until(delivered, "everything to come out of the outage log", timeout, interval=0.2)
        return wanted

    def _away(self) -> None:
        self._way.refuse()
        self._way.cut()

    def _begin(self) -> None:
        """Kafka goes away from a task that streams."""
        with contextlib.suppress(RuntimeError):  # it has been killed
            self.main.wait_for_log('"streaming"', 60)
            self.dwell(0.0, 0.3)
        self._away()

    def _work(self) -> None:
        todo = self._todo()
        cycles = 0
        while todo and not self._hopeless():
            if self.chance.random() < 0.5:
                meanwhile = self._begin
            else:
                self.kill()
                self._away()
                meanwhile = _nothing
            for _ in range(min(len(todo), self.chance.randint(2, 5))):
                if self.kill_at(todo[-1], meanwhile):
                    todo.pop()
                meanwhile = _nothing
            self._way.refuse(False)
            for _ in range(self.chance.randint(0, 2)):
                self.kill_at(self.chance.choice(self._IN_DRAIN))
            self.kill()
            cycles += 1
            if cycles % 3 == 0:
                self.checkpoint()


class Switched(Lane):
    """At-least-once in between: what it has left behind is read by the next one, which is exactly-once."""

    _OTHERS = ("fence_before", "fence_after", "stream_started", "row_rendered", "kafka_commit_before", "kafka_commit_after",
               "progress_read")

    def __init__(self, stage: Stage, plan: Plan, seed: int, outcome: Outcome, over: threading.Event) -> None:
        super().__init__(stage, plan, seed, outcome, over)
        with _setup:
            self._other = Walferry(stage.run, self.task.replace('"exactly-once"', '"at-least-once"'), fail_point_binary())

    def check_whole(self) -> None:
        """At-least-once has left parts of transactions, which is its right: the other lanes look for those."""

    def _work(self) -> None:
        todo = self._todo()
        while todo and not self._hopeless():
            self.kill()
            self._other.start()
            self._other.wait_for_log('"streaming"', 60)
            self.dwell(0.0, 0.4)
            self._other.kill()
            for _ in range(min(len(todo), self.chance.randint(1, 4))):
                if self.kill_at(todo[-1]):
                    todo.pop()
                else:
                    break  # it was read back before: the other one has to run again
            if self.chance.random() < 0.5:
                self.kill_at(self.chance.choice(self._OTHERS))
            self._maybe_check()


class Creation(Lane):
    """A new task each time, killed when it has made its slot. Writers, database and journal stay the same: what was begun
    before the slot was there need not come, but not in part."""

    def _carry_out(self) -> None:
        self._begin_writing()
        for number in range(self.plan.kills["slot_created"]):
            if self._hopeless():
                break
            self._round(number)
        self.workload.stop()
        self.workload.check_writers()

    def _round(self, number: int) -> None:
        self._new_task(number)
        if not self.kill_at("slot_created"):
            return
        begun = [writer.transactions for writer in self.workload.writers]
        stages = ["progress_read", "stream_started", "row_rendered"]
        if self.options.mode == "at-least-once":
            stages.append("message_produced")
        for stage in self.chance.sample([*stages, *_READ_BACK], self.chance.randint(0, 2)):
            self.kill_at(stage)
        self.dwell(0.0, 0.2)
        self.workload.hold()
        written = set(self.journal.expected)

        def may_be_absent(transaction: int) -> bool:
            writer, own = divmod(transaction, TRANSACTIONS)
            return own <= begun[writer]

        try:
            self.wait_streaming()
            self.catch_up()
            self.main.stop(timeout=60)
            self.reader.read_to_end()
            self.checker.finish(may_be_absent)
            if not self.checker.messages and not all(map(may_be_absent, written)):
                self.trouble(f"{self.name}: nothing has come")
        except (TimeoutError, RuntimeError, subprocess.TimeoutExpired) as error:
            self.trouble(f"{self.name}: {_brief(error)}")
        finally:
            self.reader.close()
        with self.outcome.lock:
            self.outcome.checks += 1
            self.outcome.messages += self.checker.messages
        self._report()
        self.workload.go_on()
        self.stage.server.drop_slot(self.name)

    def _new_task(self, number: int) -> None:
        first, topic = f'name = "{self.plan.name}"', f'topic = "{self.topic}"'
        if first not in self.task or topic not in self.task:
            raise ValueError(f"no name and topic of the task to replace: {self.task}")
        self.name = f"{self.plan.name}_{number}"
        self.prefix = f"{self.name}."
        task = self.task.replace(first, f'name = "{self.name}"').replace(topic, f'topic = "{self.prefix}all"')
        with _setup:
            self.main = Walferry(self.stage.run, task, fail_point_binary())
        self.checker = Checker(self.journal)
        self._seen.clear()
        isolation = "read_committed" if self.options.mode == "exactly-once" else "read_uncommitted"
        self.reader = Reader(self.stage.broker, self.prefix, isolation, self.checker)


class Kills:
    """The whole of it."""

    def __init__(self, stage: Stage, seed: int, kills: int, modes: list[str], pattern: str, parallel: int) -> None:
        self._stage = stage
        self._seed = seed
        self._parallel = parallel
        self._over = threading.Event()
        self._ways = iter(stage.broker_proxies[1:])
        self._outcomes: dict[str, Outcome] = {}
        self._left: Counter[str] = Counter()  # lanes of each mode that are not through
        self._plans: queue.SimpleQueue[Plan] = queue.SimpleQueue()
        for mode in modes:
            stages = [point.name for point in points.defined()
                      if point.name not in NOT_UNDER[mode] and re.search(pattern, f"kill at {point.name}")]
            self._outcomes[mode] = Outcome(mode, kills, stages)
            for plan in plans(mode, stages, kills):
                self._left[mode] += 1
                self._plans.put(plan)
        if self._plans.empty():
            raise ValueError(f"no stage is called like {pattern}")

    def run(self) -> list[Outcome]:
        workers = [threading.Thread(target=self._work, name=f"lane {number}", daemon=True) for number in range(self._parallel)]
        begun = time.monotonic()
        shutil.rmtree(EVIDENCE, ignore_errors=True)
        try:
            for worker in workers:
                worker.start()
            told = begun
            while any(worker.is_alive() for worker in workers):
                for worker in workers:
                    worker.join(0.2)
                if time.monotonic() - told > 30:
                    told = time.monotonic()
                    self._tell(told - begun)
        finally:
            self._over.set()
        return list(self._outcomes.values())

    def _tell(self, seconds: float) -> None:
        told = [f"{mode} {outcome.kills.total()} kills, fewest {min((outcome.kills[stage] for stage in outcome.stages), default=0)}, "
                f"{outcome.checks} checks, {outcome.violations()} rows amiss" for mode, outcome in self._outcomes.items()]
        print(f"  {seconds:5.0f} s: {'; '.join(told)}", flush=True)

    def _work(self) -> None:
        while not self._over.is_set():
            try:
                plan = self._plans.get_nowait()
            except queue.Empty:
                return
            outcome = self._outcomes[plan.mode]
            try:
                self._lane(plan, outcome).carry_out()
            except Abandoned:
                return
            except Exception as error:  # it is told at the end, and fails the run
                with outcome.lock:
                    outcome.troubles.append(f"{plan.name}: {_brief(error)}")
                print(f"  ! {plan.name}: {_brief(error)}", flush=True)
                traceback.print_tb(error.__traceback__)
            with outcome.lock:
                self._left[plan.mode] -= 1
                last = self._left[plan.mode] == 0
            if last:
                print("\n" + outcome.table(self._seed) + "\n", flush=True)

    def _lane(self, plan: Plan, outcome: Outcome) -> Lane:
        if plan.scenario == "outage":
            with _setup:
                way = next(self._ways)
            return Outage(self._stage, plan, self._seed, outcome, self._over, way)
        kinds = {"creation": Creation, "streamed": Streamed, "switched": Switched, "ordinary": Lane}
        return kinds[plan.scenario](self._stage, plan, self._seed, outcome, self._over)


def torture_by_kills(kills: int, seed: int, modes: list[str], pattern: str, parallel: int) -> bool:
    """Whether nothing was amiss."""
    print(f"torture: seed {seed}, {kills} kills at each stage, {parallel} tasks at the same time", flush=True)
    begun = time.monotonic()
    with Run() as run:
        stage = Stage(run, broker_ways=1 + _LANES["outage"] * len(modes), fsync=False,
                      settings={"logical_decoding_work_mem": "64kB", "commit_delay": 0, "tcp_user_timeout": 0})
        outcomes = Kills(stage, seed, kills, modes, pattern, parallel).run()
    good = all(outcome.good for outcome in outcomes)
    print(f"\ntorture: {'nothing lost, nothing twice' if good else 'FAILED'}; {time.monotonic() - begun:.0f} s; "
          f"WALFERRY_TORTURE_SEED={seed} repeats the choice of kills")
    return good

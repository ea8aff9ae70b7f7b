"""The matrix: what is done to the shipper, to Kafka, to PostgreSQL and to the connections between them."""

import contextlib
import functools
import os
import re
import signal
import subprocess
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import points
from stage import Stage
from torture import SIGKILLED, Fault, Impossible, Inapplicable, Torture

from harness.proxy import Proxy
from harness.run import wait_until

# A stop while a server was away: what is missing comes with the next start.
_STOPPED_EARLY = re.compile("WF2001|WF3015")

# --- the shipper ---


def kill(torture: Torture) -> None:
    torture.kill()
    if torture.options.mode == "exactly-once" and torture.chance.random() < 0.2:
        torture.dwell(1.0, 1.0)  # what Kafka has committed becomes readable
        torture.check_whole()
    torture.start()


def _arm(torture: Torture, point: points.Point, action: str) -> None:
    """A new process that fails at some hit of the point."""
    torture.kill()
    torture.start(f"{point.name}={action}@{torture.chance.randint(1, point.hits)}")
    if point.name.startswith("spool_"):
        torture.large_transaction(20_000)


def kill_at(point: points.Point, torture: Torture) -> None:
    if not torture.passed(point.name) and point.name not in points.AT_STOP:
        raise Inapplicable
    _arm(torture, point, "kill")
    if point.name in points.AT_STOP:
        torture.wait_streaming()
        torture.dwell(0.1, 0.5)
        torture.main.process.send_signal(signal.SIGTERM)
    elif point.hits == 1:  # at the start: who streams has it behind him
        with contextlib.suppress(RuntimeError):  # it has ended
            torture.main.wait_for_log('"streaming"', 60)
    try:
        status = torture.main.wait(40 if point.name in points.AT_STOP else 2 if point.hits == 1 else 10)
    except subprocess.TimeoutExpired:
        torture.kill()
        torture.start()
        raise Impossible from None
    torture.start()
    if status != SIGKILLED:
        if status != 0 or point.name not in points.AT_STOP:
            raise RuntimeError(f"the shipper ended with status {status}")
        raise Impossible


def fail_at_some_point(action: str, torture: Torture) -> None:
    """An error or a pause, of which the process has to recover by itself."""
    candidates = [point for point in points.defined()
                  if torture.passed(point.name) and point.name not in points.AT_STOP + points.AT_CREATION]
    if not candidates:
        raise Impossible
    _arm(torture, torture.chance.choice(candidates), action)
    torture.dwell(1.0, 3.0)
    torture.catch_up()


def terminate(torture: Torture) -> None:
    torture.wait_streaming()
    status = torture.main.stop(timeout=60)
    words = torture.last_words(torture.main)
    torture.start()
    if status != 0 and not _STOPPED_EARLY.search(words):
        raise RuntimeError(f"SIGTERM ended the shipper with status {status}: {words}")


def hang(torture: Torture) -> None:
    """For less or more than the server waits; nobody takes over."""
    torture.main.process.send_signal(signal.SIGSTOP)
    torture.dwell(0.3, 5.0)
    torture.main.process.send_signal(signal.SIGCONT)


def _stopped(pid: int) -> bool:
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rsplit(")", 1)[1].split()[0] == "T"
    return False


def zombie(at_point: bool, torture: Torture) -> None:
    """The process stands still for so long that the standby takes over, and wakes then."""
    torture.wait_streaming()
    with torture.may_repeat():
        if at_point:
            candidates = [point for point in points.defined()
                          if torture.passed(point.name) and point.name not in points.AT_STOP + points.AT_CREATION]
            if not candidates:
                raise Impossible
            _arm(torture, torture.chance.choice(candidates), "stop")
            with contextlib.suppress(TimeoutError):
                wait_until(lambda: _stopped(torture.main.pid) or not torture.main.running(), "the process to stop", 8)
        if not _stopped(torture.main.pid):
            if not torture.main.running():
                torture.start()
            torture.dwell(0.0, 0.5)
            os.kill(torture.main.pid, signal.SIGSTOP)
        paused_at = time.monotonic()
        try:
            torture.takeover(paused_at)
            torture.catch_up()
        except (TimeoutError, RuntimeError):
            torture.main.process.send_signal(signal.SIGCONT)
            if torture.standby.running():
                torture.standby.kill()
            raise
        torture.main.process.send_signal(signal.SIGCONT)
        torture.dwell(0.5, 4.0)
        if not torture.main.running() or torture.chance.random() < 0.5:
            torture.kill()
        else:
            try:
                torture.main.stop(timeout=40)
            except subprocess.TimeoutExpired:
                torture.kill()
                raise RuntimeError("a process that was woken does not end at SIGTERM") from None
        torture.swap()
        torture.expect_running("a takeover")


# --- the connections to either of them ---


@dataclass(frozen=True)
class Side:
    """A server as the shipper sees it, and how much of what is done to its connection."""
    proxy: Callable[[Stage], Proxy]
    rates: Sequence[int]  # bytes a second
    latency: float  # seconds at most
    slow_for: tuple[float, float]
    away_for: tuple[float, float]


_KAFKA = Side(lambda stage: stage.broker_proxy, (100_000, 400_000, 2_000_000), 0.05, (2.0, 6.0), (1.0, 4.0))
_POSTGRES = Side(lambda stage: stage.server_proxy, (50_000, 400_000), 0.01, (1.0, 4.0), (0.5, 3.0))


def cut(side: Side, torture: Torture) -> None:
    for _ in range(torture.chance.randint(1, 4)):
        side.proxy(torture.stage).cut()
        torture.dwell(0.0, 0.5)


def stall(side: Side, torture: Torture) -> None:
    side.proxy(torture.stage).stall()
    torture.dwell(1.0, 8.0)
    side.proxy(torture.stage).flow()


def slow(side: Side, torture: Torture) -> None:
    side.proxy(torture.stage).slow(torture.chance.choice(side.rates), latency=torture.chance.uniform(0, side.latency))
    torture.dwell(*side.slow_for)
    side.proxy(torture.stage).fast()


def away(side: Side, torture: Torture) -> None:
    side.proxy(torture.stage).refuse()
    side.proxy(torture.stage).cut()
    torture.dwell(*side.away_for)
    side.proxy(torture.stage).refuse(False)


# --- Kafka ---


def broker_kill(torture: Torture) -> None:
    torture.stage.broker.kill()
    torture.dwell(0.0, 2.0)
    torture.stage.broker.start()


def broker_restart(torture: Torture) -> None:
    torture.stage.broker.restart()


def broker_hang(torture: Torture) -> None:
    longest = 20.0 if torture.options.seconds > 120 else 6.0
    with torture.stage.broker.hung():
        torture.dwell(longest / 4, longest)


def kill_while_broker_is_away(torture: Torture) -> None:
    torture.stage.broker.kill()
    torture.dwell(0.0, 1.0)
    torture.kill()
    torture.start()
    torture.dwell(0.0, 1.0)
    torture.stage.broker.start()


def kill_while_kafka_is_slow(torture: Torture) -> None:
    torture.stage.broker_proxy.slow(400_000, latency=0.02)
    torture.dwell(0.5, 2.0)
    torture.kill()
    torture.stage.broker_proxy.fast()
    torture.start()


def kill_while_broker_hangs(torture: Torture) -> None:
    """Its last requests are with the broker, which takes them when it goes on."""
    with torture.stage.broker.hung():
        torture.dwell(0.2, 1.0)
        torture.kill()
        torture.start()
        torture.dwell(0.0, 2.0)


def broker_kill_and_kill_at_start(torture: Torture) -> None:
    """The next process finds a broker that has just come back."""
    torture.kill()
    torture.stage.broker.kill()
    torture.stage.broker.start()
    torture.start()


# --- PostgreSQL ---


def postgres_crash(torture: Torture) -> None:
    torture.stage.server.restart("immediate")


def postgres_kill(torture: Torture) -> None:
    torture.stage.server.kill9()
    torture.dwell(0.0, 1.0)
    torture.stage.server.start()


def postgres_restart(torture: Torture) -> None:
    torture.stage.server.restart("fast")


def walsender_terminated(torture: Torture) -> None:
    torture.stage.server.query("select pg_terminate_backend(active_pid) from pg_replication_slots where slot_name = %s "
                               "and active_pid is not null", (torture.name,))


def crash_and_kill(torture: Torture) -> None:
    torture.stage.server.stop("immediate")
    torture.kill()
    torture.stage.server.start()
    torture.start()


def matrix() -> list[Fault]:
    placed = points.placed()
    at_points = [Fault(f"kill at {point.name}", functools.partial(kill_at, point), weight=2)
                 for point in points.defined() if point.name in placed and point.name not in points.AT_CREATION]
    return [
        Fault("shipper: kill -9", kill, weight=4, cost=1),
        *at_points,
        Fault("shipper: error of the source at a point", functools.partial(fail_at_some_point, "error:source"), weight=3, cost=4),
        Fault("shipper: error of the sink at a point", functools.partial(fail_at_some_point, "error:sink"), weight=3, cost=4),
        Fault("shipper: pause at a point", functools.partial(fail_at_some_point, "pause:1500ms"), cost=4),
        Fault("shipper: SIGTERM", terminate, weight=2),
        Fault("shipper: SIGSTOP, SIGCONT", hang, cost=5),
        Fault("zombie: paused, takeover, woken", functools.partial(zombie, False), cost=10),
        Fault("zombie at a point: paused, takeover, woken", functools.partial(zombie, True), weight=2, cost=12),
        Fault("kafka: kill -9, restart", broker_kill, cost=6),
        Fault("kafka: clean restart", broker_restart, cost=6),
        Fault("kafka: SIGSTOP, SIGCONT", broker_hang, cost=6),
        Fault("kafka: connections cut", functools.partial(cut, _KAFKA), weight=2),
        Fault("kafka: connections stalled", functools.partial(stall, _KAFKA), cost=5),
        Fault("kafka: connections slow", functools.partial(slow, _KAFKA), cost=5),
        Fault("kafka: connections refused", functools.partial(away, _KAFKA), cost=4),
        Fault("kafka: away, and shipper killed", kill_while_broker_is_away, cost=6),
        Fault("kafka: slow, and shipper killed", kill_while_kafka_is_slow, cost=3),
        Fault("kafka: hung, and shipper killed", kill_while_broker_hangs, cost=4),
        Fault("kafka: both killed", broker_kill_and_kill_at_start, cost=6),
        Fault("postgres: crash restart", postgres_crash, cost=3),
        Fault("postgres: kill -9, restart", postgres_kill, cost=4),
        Fault("postgres: fast restart", postgres_restart, cost=3),
        Fault("postgres: walsender terminated", walsender_terminated, weight=2, cost=1),
        Fault("postgres: connections cut", functools.partial(cut, _POSTGRES), weight=2),
        Fault("postgres: connections stalled", functools.partial(stall, _POSTGRES), cost=5),
        Fault("postgres: connections slow", functools.partial(slow, _POSTGRES), cost=4),
        Fault("postgres: connections refused", functools.partial(away, _POSTGRES), cost=3),
        Fault("postgres: crash, and shipper killed", crash_and_kill, cost=3),
    ]

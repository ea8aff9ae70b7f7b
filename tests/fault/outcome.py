"""How a shipper under test was started, what it told, and how it ended."""

import os
import re
from collections.abc import Callable
from typing import Any

import pytest

from harness import Walferry
from harness.postgres import Postgres
from harness.run import wait_until
from harness.stream import log_lines
from harness.walferry import merged

slow = pytest.mark.skipif(os.environ.get("WALFERRY_SLOW", "") in ("", "0"), reason="slow; WALFERRY_SLOW=1 runs it")
# A few thousand rows a second, so that a test can come in the middle of a transaction.
SLOW_SINK = {"queue_bytes": "1MB", "kafka": {"linger.ms": 100}}
STREAMING = '"streaming"'


def started(task: Callable[..., Walferry], **changes: Any) -> Walferry:
    """A shipper that is streaming, and that comes back soon after a fault."""
    walferry = task(**merged({"retry": {"initial_delay": "50ms", "max_delay": "300ms"}}, changes)).start()
    walferry.wait_for_log(STREAMING)
    return walferry


def again(walferry: Walferry) -> Walferry:
    """The next start of the same task, once it is streaming."""
    walferry.start()
    walferry.wait_for_log(STREAMING, timeout=60)
    return walferry


def codes(walferry: Walferry) -> list[str]:
    """The codes that were logged since the last start, in order."""
    return [line["fields"]["code"] for line in log_lines(walferry.log()) if "code" in line.get("fields", {})]


def producer_replaced(walferry: Walferry) -> bool:
    """Whether the log tells that a producer was given up, after which records may come again."""
    return bool({"WF3002", "WF3007", "WF3011", "WF3012"} & set(codes(walferry)))


def ended(walferry: Walferry, timeout: float = 60.0) -> tuple[int, str, dict[str, Any]]:
    """Exit status of a shipper that ends by itself, the code and the whole of its last line, which says what to do."""
    status = walferry.wait(timeout)
    last = log_lines(walferry.log())[-1]
    assert last["level"] == "error" and last["fields"]["remedy"], last
    return status, last["fields"]["code"], last


def stopped_well(walferry: Walferry, timeout: float = 30.0) -> bool:
    """SIGTERM: everything was acknowledged and confirmed, and the log says so."""
    status = walferry.stop(timeout)
    messages = [line["msg"] for line in log_lines(walferry.log())]
    return status == 0 and messages[-2:] == ["everything is acknowledged and confirmed", "stopped"]


def retries(walferry: Walferry) -> list[tuple[int, int]]:
    """(attempt, delay in ms) of each retry that was announced."""
    return [(line["fields"]["attempt"], line["fields"]["in_ms"]) for line in log_lines(walferry.log())
            if line["msg"] == "trying again"]


def times_streaming(walferry: Walferry) -> int:
    return len(re.findall(STREAMING, walferry.log()))


def wait_streaming_again(walferry: Walferry, before: int, timeout: float = 30.0) -> None:
    """Waits until it streams once more than `before` times."""
    wait_until(lambda: times_streaming(walferry) > before, "the stream to go on", timeout)


def received(server: Postgres, slot: str, lsn: int) -> bool:
    """Whether the shipper has told the server that it has read up to `lsn`."""
    rows = server.query("select write_lsn >= %s::pg_lsn from pg_stat_replication join pg_replication_slots "
                        "on active_pid = pid where slot_name = %s", (f"{lsn >> 32:X}/{lsn & 0xFFFFFFFF:X}", slot))
    return rows == [(True,)]

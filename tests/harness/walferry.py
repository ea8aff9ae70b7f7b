"""The command `walferry` under test, with a task file made from a dict."""

import os
import re
import signal
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from harness.run import BUILD, Process, Run, wait_until


def binary() -> Path:
    """The command: $WALFERRY_BIN, or the one that `make shipper` builds."""
    path = Path(os.environ.get("WALFERRY_BIN") or BUILD / "shipper" / "walferry")
    if not path.is_file():
        raise RuntimeError(f"{path} is not there; run: make shipper")
    return path


def run_once(*arguments: str, timeout: float = 30.0, **options: Any) -> "subprocess.CompletedProcess[str]":
    """Runs `walferry ARGUMENTS` to its end; output and status in the result."""
    return subprocess.run([str(binary()), *arguments], capture_output=True, text=True, stdin=subprocess.DEVNULL,
                          timeout=timeout, check=False, **options)


def _toml_value(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (int, float)):
        return repr(value)
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(_toml_value(item) for item in value) + "]"
    text = str(value).replace("\\", "\\\\").replace('"', '\\"')
    return '"' + re.sub(r"[\x00-\x1f\x7f]", lambda match: f"\\u{ord(match.group()):04X}", text) + '"'


def _toml_key(key: str) -> str:
    return key if re.fullmatch(r"[A-Za-z0-9_-]+", key) else _toml_value(key)


def to_toml(table: Mapping[str, Any], path: str = "") -> str:
    """TOML text of nested dicts; a list of dicts becomes an array of tables, None is left out."""
    lines, sections = [], []
    for key, value in table.items():
        name = path + _toml_key(key)
        if isinstance(value, Mapping):
            sections.append(f"\n[{name}]\n" + to_toml(value, name + "."))
        elif isinstance(value, (list, tuple)) and value and all(isinstance(item, Mapping) for item in value):
            sections += [f"\n[[{name}]]\n" + to_toml(item, name + ".") for item in value]
        elif value is not None:
            lines.append(f"{_toml_key(key)} = {_toml_value(value)}\n")
    return "".join(lines + sections)


def merged(base: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """`base` with `changes` on top, dicts within dicts merged too."""
    result = dict(base)
    for key, value in changes.items():
        old = result.get(key)
        result[key] = merged(old, value) if isinstance(old, Mapping) and isinstance(value, Mapping) else value
    return result


class Walferry:
    """One `walferry run`; `task` is a dict or the text of a task file, `command` the executable if not that of binary().
    Created stopped; start() it."""

    def __init__(self, run: Run, task: Mapping[str, Any] | str, command: Path | None = None) -> None:
        self._run = run
        self._command = command
        folder = run.subfolder("walferry")
        self.task_file = folder / "task.toml"
        self.task_file.write_text(task if isinstance(task, str) else to_toml(task), encoding="utf-8")
        self.log_file = folder / "walferry.log"
        self.log_file.touch()
        self._process: Process | None = None
        self._log_start = 0

    def start(self, arguments: Sequence[str] = (), environment: Mapping[str, str] | None = None) -> "Walferry":
        """Starts the command; `wrapper`s such as valgrind go into $WALFERRY_BIN."""
        self._log_start = self.log_file.stat().st_size
        with self.log_file.open("ab") as log:
            self._process = self._run.start([self._command or binary(), "run", self.task_file, *arguments], stdout=log, stderr=log,
                                            end_signal=signal.SIGKILL, cwd=self.task_file.parent,
                                            env={**os.environ, **(environment or {})})
        return self

    @property
    def process(self) -> Process:
        if self._process is None:
            raise RuntimeError("walferry has not been started")
        return self._process

    @property
    def pid(self) -> int:
        return self.process.pid

    def running(self) -> bool:
        return self._process is not None and self._process.running()

    def log(self) -> str:
        """What the command wrote since the last start()."""
        with self.log_file.open("rb") as log:
            log.seek(self._log_start)
            return log.read().decode("utf-8", errors="replace")

    def wait_for_log(self, pattern: str, timeout: float = 30.0) -> "re.Match[str]":
        """Waits for a match of the regular expression in the log; fails at once if the command ends without it."""
        found: list[re.Match[str]] = []

        def logged() -> bool:
            ended = not self.running()
            match = re.search(pattern, self.log())
            if match:
                found.append(match)
            elif ended:
                raise RuntimeError(f"walferry ended before it logged /{pattern}/:\n{self.log()[-4000:]}")
            return bool(found)

        try:
            wait_until(logged, f"/{pattern}/ in walferry's log", timeout)
        except TimeoutError as error:
            raise TimeoutError(f"{error}; it has:\n{self.log()[-4000:]}") from None
        return found[0]

    def wait(self, timeout: float = 30.0) -> int:
        """Waits for the command to end by itself; its exit status."""
        return self.process.wait(timeout)

    def stop(self, timeout: float = 30.0) -> int:
        """SIGTERM, which drains and confirms; the exit status (0 when all went well)."""
        return self.process.stop(signal.SIGTERM, timeout)

    def kill(self) -> None:
        """kill -9."""
        self.process.kill()

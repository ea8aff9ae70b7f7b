"""One run: a folder, the processes in it, and the promise that both are gone when the run ends."""

import contextlib
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from types import FrameType
from typing import IO, Any

from harness import reaper

SOURCE = Path(__file__).resolve().parents[2]
BUILD = SOURCE / "build"


class Interrupted(KeyboardInterrupt):
    """SIGTERM or SIGHUP, raised where the main thread is, so that everything is undone on the way out."""

    def __init__(self, number: int) -> None:
        super().__init__(f"interrupted by {signal.Signals(number).name}")
        self.exit_status = 128 + number


def _interrupt(number: int, _frame: FrameType | None) -> None:
    raise Interrupted(number)


def wait_until(reached: Callable[[], bool], what: str, timeout: float, interval: float = 0.02) -> None:
    """Polls until reached() is true; TimeoutError names `what` after `timeout` seconds."""
    deadline = time.monotonic() + timeout
    while not reached():
        if time.monotonic() > deadline:
            raise TimeoutError(f"waited {timeout:g} s in vain for {what}")
        time.sleep(interval)


def free_port() -> int:
    """A free TCP port below the ephemeral range, so that no outgoing connection takes it while a server restarts."""
    with open("/proc/sys/net/ipv4/ip_local_port_range", encoding="ascii") as range_file:
        ephemeral = int(range_file.read().split()[0])
    low, high = (10000, ephemeral) if ephemeral > 12000 else (10000, 60000)
    for _ in range(200):
        port = random.randrange(low, high)
        with socket.socket() as probe:
            with contextlib.suppress(OSError):
                probe.bind(("127.0.0.1", port))
                return port
    raise RuntimeError("no free TCP port found on 127.0.0.1")


class Process:
    """A child in a process group of its own; the run's reaper ends it if nobody else does."""

    def __init__(self, run: "Run", child: subprocess.Popen[bytes]) -> None:
        self._run = run
        self.child = child

    @property
    def pid(self) -> int:
        return self.child.pid

    def running(self) -> bool:
        return self.child.poll() is None

    def send_signal(self, number: int) -> None:
        if self.running():
            self.child.send_signal(number)

    def wait(self, timeout: float) -> int:
        """The exit status (negative: the signal that ended it); subprocess.TimeoutExpired if it still runs."""
        status = self.child.wait(timeout)
        self._run.forget(self)
        return status

    def stop(self, number: int = signal.SIGTERM, timeout: float = 30.0) -> int:
        self.send_signal(number)
        return self.wait(timeout)

    def kill(self) -> int:
        """kill -9 of the whole group."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)
        return self.wait(10.0)


class Run:
    """Use as a context manager. Not for use by several threads at once, except start() and forget()."""

    def __init__(self) -> None:
        base = os.environ.get("TMPDIR", "/tmp")
        self.folder = Path(tempfile.mkdtemp(prefix="walferry.", dir=base))
        self.folder.chmod(0o711)  # the server runs as another user and must reach its own folder in here
        self._lock = threading.Lock()
        self._processes: dict[int, tuple[Process, int]] = {}
        self._closers: list[Callable[[], None]] = []
        self._reaper = subprocess.Popen([sys.executable, "-I", reaper.__file__, str(self.folder)], stdin=subprocess.PIPE,
                                        text=True, bufsize=1, start_new_session=True, cwd="/")
        self._handlers: dict[int, Any] = {}
        if threading.current_thread() is threading.main_thread():
            # A shell starts background jobs with SIGINT ignored, but who sends it to a run means it; nohup's
            # ignoring of SIGHUP is respected.
            self._handlers[signal.SIGINT] = signal.signal(signal.SIGINT, signal.default_int_handler)
            self._handlers[signal.SIGTERM] = signal.signal(signal.SIGTERM, _interrupt)
            if signal.getsignal(signal.SIGHUP) != signal.SIG_IGN:
                self._handlers[signal.SIGHUP] = signal.signal(signal.SIGHUP, _interrupt)

    def __enter__(self) -> "Run":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def at_close(self, closer: Callable[[], None]) -> None:
        """Called when the run ends, last come first served, before processes are killed."""
        self._closers.append(closer)

    def subfolder(self, name: str) -> Path:
        """A new folder of the run; a number is added when the name is taken."""
        path, number = self.folder / name, 1
        while path.exists():
            number += 1
            path = self.folder / f"{name}{number}"
        path.mkdir()
        path.chmod(0o755)
        return path

    def start(self, command: Sequence[str | Path], *, stdout: IO[Any] | int | None, stderr: IO[Any] | int | None = None,
              end_signal: int = signal.SIGTERM, **options: Any) -> Process:
        """Starts a child that ends with the run; `end_signal` is what the reaper asks it to end with."""
        child = subprocess.Popen([str(word) for word in command], stdin=subprocess.DEVNULL, stdout=stdout,
                                 stderr=stderr, start_new_session=True, **options)
        process = Process(self, child)
        with self._lock:
            self._processes[child.pid] = (process, end_signal)
            self._tell_reaper(f"+{child.pid} {int(end_signal)}")
        return process

    def forget(self, process: Process) -> None:
        with self._lock:
            if self._processes.pop(process.pid, None) is not None:
                self._tell_reaper(f"-{process.pid}")

    def close(self) -> None:
        """Ends all processes and removes the folder; may be called twice."""
        if self._reaper.stdin is None or self._reaper.stdin.closed:
            return
        try:
            while self._closers:
                with contextlib.suppress(Exception):
                    self._closers.pop()()
            with self._lock:
                left = list(self._processes.values())
            for process, end_signal in left:
                process.send_signal(end_signal)
            for process, _ in left:
                with contextlib.suppress(subprocess.TimeoutExpired):
                    process.wait(reaper.GRACE_SECONDS)
        finally:  # also when a second Ctrl-C comes: the reaper finishes the work
            self._reaper.stdin.close()
            self._reaper.wait()
            for number, handler in self._handlers.items():
                signal.signal(number, handler)

    def _tell_reaper(self, line: str) -> None:
        if self._reaper.stdin is not None:
            self._reaper.stdin.write(line + "\n")


def copy_tree_as_links(source: Path, target: Path, leave_out: Callable[[Path], bool]) -> None:
    """A folder tree like `source` whose files are symbolic links to the originals."""
    target.mkdir(parents=True, exist_ok=True)
    for entry in source.iterdir():
        if leave_out(entry):
            continue
        if entry.is_dir():
            copy_tree_as_links(entry, target / entry.name, leave_out)
        elif not (target / entry.name).exists():
            (target / entry.name).symlink_to(entry)


def copy_files(source: Path, target: Path) -> None:
    target.mkdir(parents=True, exist_ok=True)
    for entry in source.iterdir():
        if entry.is_file():
            shutil.copy2(entry, target / entry.name)

"""A private PostgreSQL server: its own copy of the installation, its own cluster, nothing of the system changed.

PostgreSQL finds its libraries and share files relative to its own executable, so a copy of the executables, with
links to the rest, laid out under a folder as it is under /, is an installation into which a plugin can be installed
by DESTDIR alone.
"""

import contextlib
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import psycopg2
import psycopg2.errors

from harness.run import SOURCE, Process, Run, copy_files, copy_tree_as_links, free_port, wait_until
from harness.server_root import ServerRoot, clean_environment

# Of these nothing is needed by a running server, or it comes from the build under test.
_LEFT_OUT = ("bitcode", "pgxs", "man", "walferry.so", "walferry_null.so")

STOP_SIGNALS = {"fast": signal.SIGINT, "immediate": signal.SIGQUIT, "smart": signal.SIGTERM}


def lsn_from_text(text: str) -> int:
    """A position in the log as a number of bytes, from PostgreSQL's "16/B374D848"."""
    high, low = text.split("/")
    return (int(high, 16) << 32) + int(low, 16)


def _leave_out(path: Path) -> bool:
    return path.name in _LEFT_OUT or (path.parent.name == "extension" and path.name.startswith("walferry"))


class Postgres:
    """Created stopped, with an initialised cluster, or a copy of a running primary to be its standby; start() it.
    Superuser `postgres`, trusted from 127.0.0.1."""

    def __init__(self, run: Run, settings: Mapping[str, Any] | None = None, *, fsync: bool = False,
                 pg_config: str | None = None, standby_of: "Postgres | None" = None) -> None:
        self._run = run
        self._system = ServerRoot(pg_config)
        self.pg_config = self._system.pg_config
        self.port = free_port()
        self.user = "postgres"
        folder = run.subfolder("postgres")
        self.root = folder / "installation"
        self.data = folder / "data"
        self.socket_folder = folder / "socket"
        self.log_file = folder / "server.log"
        self._conf_file = self.data / "walferry.conf"
        self._process: Process | None = None
        self._account: tuple[int, int] | None = None
        if os.geteuid() == 0:  # the server refuses to run as root
            self._account = self._system.account("postgres")

        self._copy_installation()
        for owned in (self.data, self.socket_folder):
            owned.mkdir(mode=0o700)
            self._own(owned)
        self.socket_folder.chmod(0o755)
        self.log_file.touch()
        self._own(self.log_file)
        if standby_of is None:
            self._initdb()
        else:
            self._copy_of(standby_of)
        self._settings: dict[str, Any] = {
            "listen_addresses": "127.0.0.1", "port": self.port, "unix_socket_directories": str(self.socket_folder),
            "wal_level": "logical", "max_replication_slots": 64, "max_wal_senders": 64, "max_connections": 200,
            "max_prepared_transactions": 16,
            "fsync": "on" if fsync else "off", "dynamic_shared_memory_type": "mmap",  # files that go with the folder
            "log_line_prefix": "%m [%p] %q%a ", "timezone": "UTC", "log_timezone": "UTC",
        }
        if self.knows_setting("output_plugin_libraries"):
            self._settings["output_plugin_libraries"] = "pgoutput, test_decoding, walferry, walferry_null"
        if standby_of is not None:
            self._settings["primary_conninfo"] = standby_of.dsn()
        self._settings.update(settings or {})
        self._write_settings()
        if standby_of is None:  # the copy of a primary has the line
            with (self.data / "postgresql.conf").open("a", encoding="utf-8") as conf:
                conf.write(f"\ninclude '{self._conf_file.name}'\n")

    # --- installation ---

    @property
    def major(self) -> int:
        return self._system.major

    def _in_copy(self, path: str) -> Path:
        return self.root / Path(path).relative_to("/")

    def _copy_installation(self) -> None:
        bin_folder = Path(self._system.config("bindir"))
        real = self._system.outside(bin_folder)
        if not (real / "postgres").exists():
            raise RuntimeError(f"{self.pg_config} --bindir says {bin_folder}, where there is no server; "
                               "set PG_CONFIG to the pg_config of a server installation, or run: make deps")
        self._programs = self._in_copy(str(bin_folder))
        copy_files(real, self._programs)
        for what in ("pkglibdir", "sharedir"):
            folder = self._system.config(what)
            copy_tree_as_links(self._system.outside(Path(folder)), self._in_copy(folder), _leave_out)
        self.library_folder = self._in_copy(self._system.config("pkglibdir"))
        self.bin = self._programs if not self._system.foreign else self._callable_programs()

    def _callable_programs(self) -> Path:
        """Scripts by which the programs of another system can be called as if they were of this one."""
        folder = self.root.with_name("bin")
        folder.mkdir()
        for program in self._programs.iterdir():
            words = " ".join(f"'{word}'" for word in self._system.command([program]))
            script = folder / program.name
            script.write_text(f'#!/bin/sh\nexec {words} "$@"\n', encoding="utf-8")
            script.chmod(0o755)
        return folder

    def install(self, makefile_folder: Path | str) -> None:
        """`make install` of a PGXS folder into the copy; relative paths are below the source tree."""
        self._system.make(SOURCE / makefile_folder, "install", f"DESTDIR={self.root}")

    def install_walferry(self) -> None:
        """The plugin and the extension of this source tree."""
        parts = self._system.parts()
        self.install(parts / "plugin")
        self.install(parts / "sql")

    def install_library(self, library: Path | str) -> None:
        """A shared library alone, into the folder where the server looks for plugins."""
        target = self.library_folder / Path(library).name
        target.unlink(missing_ok=True)
        shutil.copyfile(library, target)
        target.chmod(0o755)

    # --- the cluster ---

    def _own(self, path: Path) -> None:
        if self._account:
            os.chown(path, *self._account)

    def _server_command(self, program: str, *arguments: str | Path) -> tuple[list[str], dict[str, Any]]:
        """A program of the installation as the server's user: the command, and the options to start it with."""
        words = [self._programs / program, *arguments]
        if self._account is None or self._system.foreign:
            return self._system.command(words, self._account), {}
        user, group = self._account
        return self._system.command(words), {"user": user, "group": group, "extra_groups": []}

    def _as_server(self, program: str, *arguments: str | Path) -> str:
        command, options = self._server_command(program, *arguments)
        done = subprocess.run(command, capture_output=True, text=True, cwd=self.socket_folder, env=clean_environment(),
                              check=False, **options)
        if done.returncode != 0:
            raise RuntimeError(f"{program} failed:\n{done.stdout}{done.stderr}")
        return done.stdout

    def _initdb(self) -> None:
        self._as_server("initdb", "--pgdata", self.data, "--no-sync", "--auth=trust", "--locale=C",
                        "--encoding=UTF8", f"--username={self.user}")
        self._hba = (self.data / "pg_hba.conf").read_text(encoding="utf-8")

    def _copy_of(self, primary: "Postgres") -> None:
        self._as_server("pg_basebackup", "--pgdata", self.data, "--no-sync", "--checkpoint=fast", "--dbname",
                        primary.dsn())
        (self.data / "standby.signal").touch()
        self._own(self.data / "standby.signal")
        self._hba = (self.data / "pg_hba.conf").read_text(encoding="utf-8")

    def knows_setting(self, name: str) -> bool:
        lines = self._as_server("postgres", "--describe-config").splitlines()
        return any(line.split("\t", 1)[0] == name for line in lines)

    def _write_settings(self) -> None:
        def quoted(value: Any) -> str:
            return "'" + str(value).replace("'", "''") + "'"

        lines = [f"{name} = {quoted(value)}\n" for name, value in self._settings.items()]
        self._conf_file.write_text("".join(lines), encoding="utf-8")
        self._conf_file.chmod(0o644)

    def conf(self, **settings: Any) -> None:
        """Sets settings (None: back to the default) and reloads; some need a restart() to take effect."""
        for name, value in settings.items():
            if value is None:
                self._settings.pop(name, None)
            else:
                self._settings[name] = value
        self._write_settings()
        self.reload()

    def hba(self, *lines: str) -> None:
        """Puts lines in front of pg_hba.conf's own (none: only its own are left) and reloads."""
        text = "".join(line + "\n" for line in lines) + self._hba
        (self.data / "pg_hba.conf").write_text(text, encoding="utf-8")
        self.reload()

    def reload(self) -> None:
        if not self.running():
            return
        before = self.psql("select pg_conf_load_time()")
        self._running_process().send_signal(signal.SIGHUP)
        wait_until(lambda: self.psql("select pg_conf_load_time()") != before, "the server to read its settings", 10)

    # --- starting and stopping ---

    def running(self) -> bool:
        return self._process is not None and self._process.running()

    def _running_process(self) -> Process:
        if self._process is None:
            raise RuntimeError("the server is not running")
        return self._process

    @property
    def pid(self) -> int:
        return self._running_process().pid

    def start(self, timeout: float = 60.0) -> "Postgres":
        command, options = self._server_command("postgres", "-D", self.data)
        with self.log_file.open("ab") as log:
            self._process = self._run.start(command, stdout=log, stderr=log, end_signal=signal.SIGQUIT, cwd=self.data,
                                            env=clean_environment(), **options)
        wait_until(self._ready, "PostgreSQL to start", timeout)
        return self

    def _ready(self) -> bool:
        process = self._running_process()
        if not process.running():
            self._run.forget(process)
            raise RuntimeError(f"PostgreSQL did not start:\n{self.log()[-4000:]}")
        with contextlib.suppress(OSError):
            lines = (self.data / "postmaster.pid").read_text(encoding="utf-8").splitlines()
            return len(lines) >= 8 and lines[0].strip() == str(process.pid) and lines[7].strip() == "ready"
        return False

    def stop(self, mode: str = "fast", timeout: float = 60.0) -> None:
        if self._process is not None:
            self._process.stop(STOP_SIGNALS[mode], timeout)
            self._process = None

    def restart(self, mode: str = "fast") -> None:
        self.stop(mode)
        self.start()

    def kill9(self) -> None:
        """kill -9 of the postmaster and of all its children, as in a crash of the machine."""
        process = self._running_process()
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text(encoding="ascii").split()
        process.kill()
        for child in children:
            with contextlib.suppress(ProcessLookupError):
                os.kill(int(child), signal.SIGKILL)
        wait_until(lambda: not any(Path(f"/proc/{child}/stat").exists() for child in children),
                   "the server's processes to end", 10)
        self._process = None

    def log(self) -> str:
        return self.log_file.read_text(encoding="utf-8", errors="replace")

    def promote(self) -> None:
        """Makes a primary of a standby, and waits until it is one."""
        if not self.query("select pg_promote(true, 60)")[0][0]:
            raise RuntimeError(f"the standby was not promoted:\n{self.log()[-4000:]}")

    # --- talking to it ---

    def dsn(self, dbname: str = "postgres", user: str | None = None, **more: Any) -> str:
        parts = {"host": "127.0.0.1", "port": self.port, "user": user or self.user, "dbname": dbname, **more}
        return " ".join(f"{name}={value}" for name, value in parts.items())

    def tool(self, name: str, *arguments: str, dbname: str = "postgres", stdin: str | None = None) -> str:
        """Runs a client program of the installation (pgbench, pg_recvlogical, …) on this server; its output."""
        connection = {"PGHOST": "127.0.0.1", "PGPORT": str(self.port), "PGUSER": self.user, "PGDATABASE": dbname}
        done = subprocess.run([str(self.bin / name), *arguments], input=stdin, capture_output=True, text=True,
                              env=clean_environment(**connection), check=False)
        if done.returncode != 0:
            raise RuntimeError(f"{name} {' '.join(arguments)} failed:\n{done.stdout}{done.stderr}")
        return done.stdout

    def regress_command(self, dbname: str, *arguments: str | Path, program: str = "regress/pg_regress") -> list[str]:
        """One of the server's own test drivers (the other: isolation/pg_isolation_regress) on the existing database."""
        driver = Path(self._system.config("pgxs")).parents[1] / "test" / program
        return self._system.command([driver, f"--bindir={self._programs}", "--use-existing", f"--dbname={dbname}",
                                     "--host=127.0.0.1", f"--port={self.port}", f"--user={self.user}", *arguments])

    def psql(self, sql: str, dbname: str = "postgres") -> str:
        """Runs a script (backslash commands too) and returns the bare output: | between columns, a line per row."""
        return self.tool("psql", "-XqAt", "-v", "ON_ERROR_STOP=1", "-f", "-", dbname=dbname, stdin=sql).strip()

    def connect(self, dbname: str = "postgres", *, autocommit: bool = True, **more: Any) -> Any:
        """A psycopg2 connection; for a replication connection give psycopg2's connection_factory."""
        connection = psycopg2.connect(self.dsn(dbname), **more)
        if "connection_factory" not in more:
            connection.autocommit = autocommit
        return connection

    def query(self, sql: str, parameters: tuple[Any, ...] | None = None, dbname: str = "postgres") -> list[Any]:
        """The rows of one statement, in a connection and a transaction of its own."""
        with contextlib.closing(self.connect(dbname)) as connection, connection.cursor() as cursor:
            cursor.execute(sql, parameters)
            return list(cursor.fetchall()) if cursor.description else []

    def create_database(self, name: str, template: str = "template0") -> None:
        self.query(f'create database "{name}" template "{template}"')

    def drop_database(self, name: str) -> None:
        """Drops it with its slots and in spite of its connections."""
        for (slot,) in self.query("select slot_name from pg_replication_slots where database = %s", (name,)):
            self.drop_slot(slot)
        self.query(f'drop database if exists "{name}" with (force)')

    def drop_slot(self, name: str, timeout: float = 20.0) -> None:
        """Drops the slot if it is there, after ending the connection that uses it."""
        deadline = time.monotonic() + timeout
        while True:
            try:
                self.query("select pg_drop_replication_slot(slot_name) from pg_replication_slots "
                           "where slot_name = %s", (name,))
                return
            except psycopg2.errors.ObjectInUse:
                if time.monotonic() > deadline:
                    raise
                self.query("select pg_terminate_backend(active_pid, 1000) from pg_replication_slots "
                           "where slot_name = %s and active_pid is not null", (name,))

    def current_lsn(self) -> int:
        """The flushed end of the log: everything committed so far is before it. A commit in database `postgres`,
        which slots elsewhere do not see, ends the log with a whole, flushed record that a walsender can reach."""
        with contextlib.closing(self.connect()) as connection, connection.cursor() as cursor:
            cursor.execute("select pg_logical_emit_message(true, 'walferry.harness', '')")
            cursor.execute("select pg_current_wal_flush_lsn()")
            return lsn_from_text(cursor.fetchone()[0])

    def confirmed_lsn(self, slot: str) -> int | None:
        """What the slot's consumer has confirmed; None while there is no such slot."""
        rows = self.query("select confirmed_flush_lsn from pg_replication_slots where slot_name = %s", (slot,))
        return lsn_from_text(rows[0][0]) if rows and rows[0][0] else None

    def walsender_pid(self, slot: str) -> int | None:
        """The process that serves the slot's reader, if it has one."""
        rows = self.query("select active_pid from pg_replication_slots where slot_name = %s", (slot,))
        return rows[0][0] if rows else None

    def wait_walsender_blocked(self, slot: str, timeout: float = 20.0) -> None:
        """Waits until the slot's reader reads no more, so that the server cannot write."""
        wait_until(lambda: self.query("select wait_event = 'WalSenderWriteData' from pg_stat_activity where pid = %s",
                                      (self.walsender_pid(slot),)) == [(True,)], f"the reader of {slot} to stop reading", timeout)

    def wait_confirmed(self, slot: str, lsn: int | None = None, timeout: float = 60.0) -> int:
        """Waits until the slot's consumer has confirmed `lsn` (default: the log's end now); returns `lsn`."""
        wanted = self.current_lsn() if lsn is None else lsn
        with contextlib.closing(self.connect()) as connection, connection.cursor() as cursor:
            def passed() -> bool:
                cursor.execute("select confirmed_flush_lsn >= %s::pg_lsn from pg_replication_slots "
                               "where slot_name = %s", (f"{wanted >> 32:X}/{wanted & 0xFFFFFFFF:X}", slot))
                row = cursor.fetchone()
                return bool(row and row[0])

            wait_until(passed, f"slot {slot} to be confirmed up to {wanted >> 32:X}/{wanted & 0xFFFFFFFF:X}", timeout)
        return wanted

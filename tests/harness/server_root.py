"""The system that the server comes from: this one, or another Debian system in a folder, made by tools/server-root.

$PG_ROOT names the folder; "/" is this system, with the plugin built in a folder of its own as for all others, so that
servers of several versions can be tested from one source tree. Without PG_ROOT the plugin is the source tree's own.
"""

import filecmp
import os
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

from harness.run import BUILD, SOURCE

_PARTS = ("plugin", "sql", "common")
_SUFFIXES = (".h", ".cpp", ".fbs", ".sql", ".control")


def clean_environment(**more: str) -> dict[str, str]:
    """The environment without what would steer libpq or a child make."""
    kept = {name: value for name, value in os.environ.items()
            if not name.startswith("PG") and name not in ("MAKEFLAGS", "MAKELEVEL", "MFLAGS", "DESTDIR")}
    return {**kept, "LC_ALL": "C", **more}


class ServerRoot:
    """Paths are those seen inside; only the installation's own files, below /usr, differ from those outside."""

    def __init__(self, pg_config: str | None = None) -> None:
        named = os.environ.get("PG_ROOT")
        self.folder = Path(named).resolve() if named else Path("/")
        self.foreign = self.folder != Path("/")
        self.pg_config = pg_config or os.environ.get("PG_CONFIG") or "pg_config"
        self._own_build = bool(named)

    def command(self, words: Sequence[str | Path], account: tuple[int, int] | None = None) -> list[str]:
        """What to execute here to have the words executed inside, as that user and group if given."""
        plain = [str(word) for word in words]
        if not self.foreign:
            return plain
        as_user = ["-u", f"{account[0]}:{account[1]}"] if account else []
        return [str(SOURCE / "tools" / "in-root"), *as_user, str(self.folder), *plain]

    def outside(self, path: Path) -> Path:
        """Where a file of the installation is, seen from here."""
        return self.folder / path.relative_to("/") if self.foreign else path

    def account(self, name: str) -> tuple[int, int]:
        """The ids of a user and its group."""
        for line in (self.folder / "etc" / "passwd").read_text(encoding="utf-8").splitlines():
            fields = line.split(":")
            if fields[0] == name:
                return int(fields[2]), int(fields[3])
        raise RuntimeError(f"{self.folder}/etc/passwd has no user {name}; the PostgreSQL server package makes it")

    def config(self, what: str) -> str:
        """What pg_config says, such as "bindir"."""
        output = subprocess.run(self.command([self.pg_config, f"--{what}"]), check=True, capture_output=True, text=True)
        return output.stdout.strip()

    @property
    def major(self) -> int:
        """The server's major version; 18 for "PostgreSQL 18.6 (Debian 18.6-3)"."""
        return int("".join(letter if letter.isdigit() else " " for letter in self.config("version")).split()[0])

    def parts(self) -> Path:
        """The folder with plugin/ and sql/ to install from, built for this server where it is not the source tree."""
        if not self._own_build:
            return SOURCE
        tree = BUILD / "versions" / str(self.major)
        for part in _PARTS:
            for source in sorted((SOURCE / part).rglob("*")):
                if (source.suffix in _SUFFIXES or source.name == "Makefile") and "generated" not in source.parts:
                    _copy_changed(source, tree / source.relative_to(SOURCE))
        _copy_changed(SOURCE / "CMakeLists.txt", tree / "CMakeLists.txt")  # has the version
        for part in ("plugin", "sql"):
            self.make(tree / part)
        return tree

    def make(self, folder: Path, *words: str) -> None:
        """make in a PGXS folder; RuntimeError has the output."""
        command = self.command(["make", "--no-print-directory", "-C", folder, f"PG_CONFIG={self.pg_config}",
                                "with_llvm=no", *words])
        done = subprocess.run(command, capture_output=True, text=True, env=clean_environment(), check=False, umask=0o022)
        if done.returncode != 0:
            raise RuntimeError(f"{' '.join(command)} failed:\n{done.stdout}{done.stderr}")


def _copy_changed(source: Path, target: Path) -> None:
    """With the time of the copying, so that make builds again whatever the two files' times were."""
    if target.exists() and filecmp.cmp(source, target, shallow=False):
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(source, target)

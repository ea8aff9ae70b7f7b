"""The readers of other projects (java/), compiled and run: what they make of the messages that walferry writes."""

import hashlib
import json
import shutil
import subprocess
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from harness.run import BUILD, Run

_SOURCES = sorted((Path(__file__).parent / "java").glob("*.java"))
_LIBS = BUILD / "readers" / "libs"


def _classes(run: Run) -> Path:
    """The folder of the compiled program: made once for each state of its sources."""
    digest = hashlib.sha256(b"".join(path.read_bytes() for path in _SOURCES)).hexdigest()[:16]
    classes = BUILD / "readers" / f"classes-{digest}"
    if not classes.is_dir():
        (compiler,) = _LIBS.glob("ecj-*.jar")
        fresh = run.subfolder("readers-classes")
        libraries = ":".join(str(path) for path in sorted(_LIBS.glob("*.jar")))
        subprocess.run(
            [
                "java",
                "-jar",
                str(compiler),
                "-17",
                "-nowarn",
                "-encoding",
                "UTF-8",
                "-cp",
                libraries,
                "-d",
                str(fresh),
                *map(str, _SOURCES),
            ],
            check=True,
        )
        for old in (BUILD / "readers").glob("classes-*"):
            shutil.rmtree(old, ignore_errors=True)
        shutil.copytree(fresh, classes, dirs_exist_ok=True)
    return classes


def read(run: Run, messages: Iterable[bytes], flink_schemas: Mapping[str, Sequence[tuple[str, str]]]) -> list[Any]:
    """What each reader makes of each message: {"canal": …, "flink": …}, described in java/Readers.java.
    `flink_schemas`: for "schema.table" its columns, each a name and a type of Flink's SQL."""
    schemas = run.subfolder("readers") / "schemas.json"
    schemas.write_text(json.dumps(flink_schemas), encoding="utf-8")
    done = subprocess.run(
        [
            "java",
            "-XX:TieredStopAtLevel=1",
            "-Xshare:auto",
            "-Xmx256m",
            "-cp",
            f"{_classes(run)}:{_LIBS}/*",
            "Readers",
            str(schemas),
        ],
        input=b"".join(message + b"\n" for message in messages),
        capture_output=True,
        check=False,
    )
    if done.returncode != 0:
        raise RuntimeError(f"the readers failed:\n{done.stderr.decode(errors='replace')[-4000:]}")
    return [json.loads(line) for line in done.stdout.splitlines()]

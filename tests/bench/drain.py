"""Stage "drain": what an output plugin costs the server, without any Kafka.

All plugins drain the same changes: one slot is made before the load and copied for each run, with another plugin.
They take turns, so that whatever else the machine does meets all of them alike, and ratios are taken within a turn.
"""

import json
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bench.measure import summaries, summary
from bench.workloads import Workload
from harness import Postgres

FLOOR, NEIGHBOUR, OWN = "null", "pgoutput", "walferry"


@dataclass(frozen=True)
class Drained:
    """A plugin as it is asked for; {publication} in an option is the workload's."""

    name: str
    library: str
    options: dict[str, str] = field(default_factory=dict)

    def arguments(self, workload: Workload) -> list[str]:
        return [f"{name}={value.format(publication=workload.name)}" for name, value in self.options.items()]


_PGOUTPUT = {"proto_version": "1", "publication_names": "{publication}"}

PLUGINS = {plugin.name: plugin for plugin in (
    Drained(FLOOR, "walferry_null"),
    Drained(OWN, "walferry"),
    Drained(NEIGHBOUR, "pgoutput", _PGOUTPUT),
    Drained("pgoutput-binary", "pgoutput", {**_PGOUTPUT, "binary": "true"}),
    Drained("test_decoding", "test_decoding"),
)}

_SLOT, _COPY = "bench_base", "bench_run"


def load_behind_slot(postgres: Postgres, workload: Workload, rows: int, slot: str, plugin: str) -> str:
    """Makes the table, then the slot, then the changes; returns the position that lies after all of them."""
    connection = postgres.connect(workload.name)
    try:
        workload.prepare(connection, rows)
        with connection.cursor() as cursor:
            cursor.execute("select pg_create_logical_replication_slot(%s, %s)", (slot, plugin))
            workload.load(connection, rows)
            # A commit that waits for the disk flushes all before it; the one after that moves the decoder past the end.
            cursor.execute("create table load_ends ()")
            cursor.execute("select pg_current_wal_flush_lsn()")
            end = str(cursor.fetchone()[0])
            cursor.execute("drop table load_ends")
            return end
    finally:
        connection.close()


def copy_slot(postgres: Postgres, dbname: str, source: str, copy: str, plugin: str) -> None:
    """A slot at the same position, of another plugin; `dbname` is the database of the source."""
    postgres.query("select pg_copy_logical_replication_slot(%s, %s, false, %s)", (source, copy, plugin), dbname)


def _drain_once(postgres: Postgres, receiver: Path, workload: Workload, plugin: Drained, end: str) -> dict[str, float]:
    copy_slot(postgres, workload.name, _SLOT, _COPY, plugin.library)
    try:
        done = subprocess.run([str(receiver), postgres.dsn(workload.name, replication="database"), _COPY, end,
                               *plugin.arguments(workload)], capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise RuntimeError(f"draining with {plugin.name} failed:\n{done.stderr}\n{postgres.log()[-2000:]}")
        return dict(json.loads(done.stdout))
    finally:
        postgres.drop_slot(_COPY)


def _result(plugin: Drained, rows: int, runs: Sequence[dict[str, float]],
            turns: dict[str, list[dict[str, float]]]) -> dict[str, Any]:
    def ratio(to: str, quantity: str) -> dict[str, float] | None:
        if to not in turns or not all(other[quantity] for other in turns[to]):
            return None
        return summary(own[quantity] / other[quantity] for own, other in zip(runs, turns[to]))

    found: dict[str, Any] = summaries(runs)
    found["rows_per_s"] = summary(rows / run["wall_s"] for run in runs)
    found["bytes_per_row"] = runs[0]["bytes"] / rows
    found["ratios"] = {f"{quantity}/{to}": ratio(to, quantity)
                       for to in (FLOOR, NEIGHBOUR) for quantity in ("walsender_cpu_s", "wall_s", "bytes")
                       if (to, quantity) != (FLOOR, "bytes")}
    found["library"] = plugin.library
    return found


def measure(postgres: Postgres, receiver: Path, workload: Workload, plugins: Sequence[Drained], scale: float,
            repetitions: int, say: Any) -> dict[str, Any]:
    """Loads once and drains by each plugin `repetitions` times, in an order that turns."""
    rows = workload.scaled(scale)
    postgres.create_database(workload.name)
    try:
        say(f"drain {workload.name}: loading {rows} rows ({workload.title})")
        end = load_behind_slot(postgres, workload, rows, _SLOT, "test_decoding")
        turns: dict[str, list[dict[str, float]]] = {plugin.name: [] for plugin in plugins}
        for turn in range(repetitions):
            for place in range(len(plugins)):
                plugin = plugins[(place + turn) % len(plugins)]
                run = _drain_once(postgres, receiver, workload, plugin, end)
                turns[plugin.name].append(run)
                say(f"drain {workload.name}: {plugin.name:16} {run['walsender_cpu_s']:6.2f} CPU s "
                    f"{run['wall_s']:6.2f} s {run['bytes'] / rows:7.0f} B/row")
    finally:
        postgres.drop_database(workload.name)
    return {"title": workload.title, "rows": rows,
            "plugins": {plugin.name: _result(plugin, rows, turns[plugin.name], turns) for plugin in plugins}}

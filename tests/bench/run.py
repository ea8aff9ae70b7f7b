"""`make bench`: what walferry costs and gives, measured beside its neighbours in one run.

Stages: drain (output plugins alone), kafka (a backlog into a real broker), latency (commit to consumer), debezium (the
same backlog through Debezium), large (one transaction of 10 M rows, followed while it runs), delivery (at least once and
exactly once: rates, latency, restarts, takeovers). Results go to the terminal and to build/bench/results.json; --markdown
puts them into docs/benchmarks.md.
"""

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from bench import debezium, delivery, drain, into_kafka, large, latency, report  # noqa: E402
from bench.measure import environment  # noqa: E402
from bench.workloads import WORKLOADS  # noqa: E402
from harness import Interrupted, Kafka, Postgres, Run  # noqa: E402
from harness.run import BUILD, SOURCE  # noqa: E402

FOLDER = BUILD / "bench"
STAGES = ("drain", "kafka", "latency", "debezium", "large", "delivery")

# Of a server that does its own things as rarely as it may; the rest is the default.
SERVER_SETTINGS = {"shared_buffers": "512MB", "max_wal_size": "20GB", "checkpoint_timeout": "1h", "autovacuum": "off"}

_BUSY = 0.5  # load average per core from which a run is not worth keeping

_started = time.monotonic()


def say(text: str) -> None:
    print(f"{time.monotonic() - _started:7.1f} s  {text}", file=sys.stderr, flush=True)


def build_null_plugin(pg_config: str) -> Path:
    folder = FOLDER / "null_plugin"
    folder.mkdir(parents=True, exist_ok=True)
    makefile = SOURCE / "tests" / "bench" / "null_plugin" / "Makefile"
    # Made anew each time (-B), because the folder may hold the plugin for another server version.
    own = {name: value for name, value in os.environ.items() if name not in ("MAKEFLAGS", "MAKELEVEL", "MFLAGS")}
    subprocess.run(["make", "-s", "-B", "-C", str(folder), "-f", str(makefile), f"PG_CONFIG={pg_config}"], check=True,
                   env=own)
    return folder / "walferry_null.so"


def build_receiver() -> Path:
    source = SOURCE / "tests" / "bench" / "receiver" / "receiver.c"
    target = FOLDER / "receiver" / "receiver"
    if target.exists() and target.stat().st_mtime > source.stat().st_mtime:
        return target
    target.parent.mkdir(parents=True, exist_ok=True)
    flags = subprocess.run(["pkg-config", "--cflags", "--libs", "libpq"], check=True, capture_output=True, text=True)
    subprocess.run(["cc", "-std=gnu11", "-O2", "-Wall", "-Wextra", "-Werror", str(source), "-o", str(target),
                    *flags.stdout.split()], check=True)
    return target


def names(known: Sequence[str]) -> Callable[[str], list[str]]:
    """An argument that is a list of known names with commas between."""
    def parse(text: str) -> list[str]:
        given = [name.strip() for name in text.split(",") if name.strip()]
        for name in given:
            if name not in known:
                raise argparse.ArgumentTypeError(f"'{name}' is none of: {', '.join(known)}")
        return given
    return parse


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    default_loads = [workload.name for workload in WORKLOADS.values() if workload.by_default]
    parser.add_argument("--stages", type=names(STAGES), default=list(STAGES[:3]), metavar="NAME,...",
                        help="default: drain,kafka,latency")
    parser.add_argument("--debezium", action="store_true", help="the stage debezium as well")
    parser.add_argument("--workloads", type=names(list(WORKLOADS)), default=default_loads, metavar="NAME,...",
                        help=f"of {', '.join(WORKLOADS)}; default: all but bulk")
    parser.add_argument("--plugins", type=names(list(drain.PLUGINS)), default=list(drain.PLUGINS), metavar="NAME,...",
                        help=f"of {', '.join(drain.PLUGINS)}; default: all")
    parser.add_argument("--scale", type=float, default=1.0, help="multiplies the row counts (0.05: a quick try)")
    parser.add_argument("--repetitions", type=int, default=3, help="of each drain and each way into Kafka")
    parser.add_argument("--seconds", type=float, default=20.0, help="length of each latency measurement")
    parser.add_argument("--results", type=Path, default=FOLDER / "results.json", help="where the results go")
    parser.add_argument("--markdown", action="store_true", help="put the results into docs/benchmarks.md as well")
    parser.add_argument("--section", choices=report.SECTIONS, default="results", help="of that page; default: results")
    parser.add_argument("--only-report", action="store_true", help="measure nothing, report the results that are there")
    arguments = parser.parse_args()
    if arguments.scale <= 0 or arguments.repetitions < 1:
        parser.error("--scale and --repetitions must be positive")
    if arguments.debezium and "debezium" not in arguments.stages:
        arguments.stages.append("debezium")
    return arguments


def measure(arguments: argparse.Namespace) -> dict[str, Any]:
    results: dict[str, Any] = {
        "environment": environment(), "scale": arguments.scale, "repetitions": arguments.repetitions,
        "command": " ".join(["tests/bench/run.py", *sys.argv[1:]]),
        "server_settings": SERVER_SETTINGS | {"fsync": "off"}}
    if os.getloadavg()[0] > _BUSY * (os.cpu_count() or 1):
        say(f"warning: the machine is busy (load average {os.getloadavg()[0]:.1f}); rates and latencies will be worse "
            "than they are")
    loads = [WORKLOADS[name] for name in arguments.workloads]
    plugins = [drain.PLUGINS[name] for name in arguments.plugins]
    receiver = build_receiver()
    with Run() as run:
        postgres = Postgres(run, SERVER_SETTINGS)
        postgres.install_library(build_null_plugin(postgres.pg_config))
        own_drained = "drain" in arguments.stages and drain.OWN in arguments.plugins
        if own_drained or set(arguments.stages) & {"kafka", "latency", "large", "delivery"}:
            postgres.install_walferry()
        postgres.start()
        results["environment"]["postgresql"] = postgres.psql("show server_version")
        if "drain" in arguments.stages:
            results["drain"] = {load.name: drain.measure(postgres, receiver, load, plugins, arguments.scale,
                                                         arguments.repetitions, say) for load in loads}
        if set(arguments.stages) & {"kafka", "latency", "debezium", "large", "delivery"}:
            kafka = Kafka(run, into_kafka.BROKER_SETTINGS, heap="1g").start()
            results["environment"]["kafka"] = into_kafka.broker_version()
            results["broker_settings"] = into_kafka.BROKER_SETTINGS
            bench = into_kafka.Bench(run, postgres, kafka, arguments.scale, arguments.repetitions, say)
            bench.warm_up()
            if "kafka" in arguments.stages:
                results["kafka"] = {load.name: bench.measure(load) for load in loads}
            if "debezium" in arguments.stages:
                results["debezium"] = debezium.measure(bench, WORKLOADS["ten"])
            if "large" in arguments.stages:
                results["large"] = large.measure(bench)
            if "delivery" in arguments.stages:
                results["delivery"] = delivery.measure(bench, arguments.seconds)
            if "latency" in arguments.stages:
                rate = results.get("kafka", {}).get("ten", {}).get("rows_per_s", {}).get("median")
                results["latency"] = latency.measure(bench, rate, arguments.seconds)
    return results


def main() -> int:
    arguments = parse_arguments()
    if arguments.only_report:
        results = json.loads(arguments.results.read_text(encoding="utf-8"))
    else:
        results = measure(arguments)
        results["budgets"] = report.budgets(results)
        arguments.results.parent.mkdir(parents=True, exist_ok=True)
        arguments.results.write_text(json.dumps(results, indent=2) + "\n", encoding="utf-8")
    print(report.text(results))
    if arguments.markdown:
        report.write_markdown(results, SOURCE / "docs" / "benchmarks.md", arguments.section)
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except Interrupted as interrupted:
        sys.exit(interrupted.exit_status)
    except KeyboardInterrupt:
        sys.exit(130)

"""Stage "debezium": the same backlog through Debezium, in a standalone Kafka Connect worker, into the same broker.

Settings are those under which it was found fastest here: JSON without schemas, large batches, lz4, pgoutput, one table.
"""

import re
import shutil
import subprocess
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bench.into_kafka import Bench, line, result
from bench.measure import cpu_seconds, memory_mb, summaries
from bench.workloads import Workload
from harness.run import BUILD, SOURCE, free_port, wait_until

_POM = SOURCE / "tests" / "bench" / "debezium" / "pom.xml"
_LIBRARIES = BUILD / "bench" / "debezium" / "libs"
_TIMEOUT_S = 1800.0
_PREFIX = "debezium"

WORKER_SETTINGS = {
    "key.converter": "org.apache.kafka.connect.json.JsonConverter", "key.converter.schemas.enable": "false",
    "value.converter": "org.apache.kafka.connect.json.JsonConverter", "value.converter.schemas.enable": "false",
    "offset.flush.interval.ms": 1000, "producer.compression.type": "lz4", "producer.linger.ms": 5,
    "producer.batch.size": 262144}

CONNECTOR_SETTINGS = {
    "connector.class": "io.debezium.connector.postgresql.PostgresConnector", "tasks.max": 1,
    "plugin.name": "pgoutput", "publication.autocreate.mode": "disabled", "snapshot.mode": "no_data",
    "max.batch.size": 20480, "max.queue.size": 81920, "poll.interval.ms": 5}

_HEAP = "2g"


def version() -> str:
    found = re.search(r"<debezium\.version>([^<]+)<", _POM.read_text(encoding="utf-8"))
    return found.group(1) if found else "unknown"


def fetch() -> None:
    """The worker's jars, by Maven, unless they are there."""
    stamp = _LIBRARIES / "pom.xml"
    if stamp.exists() and stamp.read_bytes() == _POM.read_bytes():
        return
    shutil.rmtree(_LIBRARIES, ignore_errors=True)
    command = ["mvn", "--batch-mode", "--quiet", "--file", str(_POM), "dependency:copy-dependencies",
               "-DincludeScope=runtime", f"-DoutputDirectory={_LIBRARIES}"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise RuntimeError(f"Maven could not fetch Debezium:\n{done.stdout}{done.stderr}")
    stamp.write_bytes(_POM.read_bytes())


def _properties(path: Path, settings: Mapping[str, Any]) -> Path:
    path.write_text("".join(f"{name}={value}\n" for name, value in settings.items()), encoding="utf-8")
    return path


def _once(bench: Bench, workload: Workload, rows: int) -> dict[str, float]:
    postgres, kafka = bench.postgres, bench.kafka
    folder = bench.run.subfolder("debezium")
    with bench.slot_and_topic(workload, "pgoutput") as (slot, _):
        topic = f"{_PREFIX}.public.{workload.name}"
        kafka.create_topic(topic, 1, {"message.timestamp.type": "LogAppendTime"})
        worker = _properties(folder / "worker.properties", {
            "bootstrap.servers": kafka.brokers, "offset.storage.file.filename": folder / "offsets",
            "listeners": f"http://127.0.0.1:{free_port()}", **WORKER_SETTINGS})
        connector = _properties(folder / "connector.properties", {
            "name": "bench", "topic.prefix": _PREFIX, "database.hostname": "127.0.0.1", "database.port": postgres.port,
            "database.user": postgres.user, "database.password": "none", "database.dbname": workload.name,
            "slot.name": slot, "publication.name": workload.name, "table.include.list": f"public.{workload.name}",
            **CONNECTOR_SETTINGS})
        log_file = folder / "connect.log"
        command = ["java", f"-Xmx{_HEAP}", f"-Djava.io.tmpdir={folder}", "-cp",
                   f"{_LIBRARIES}/*", "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn",
                   "org.apache.kafka.connect.cli.ConnectStandalone", worker, connector]
        broker_before, started = cpu_seconds(kafka.pid), time.time()
        with log_file.open("wb") as log:
            process = bench.run.start(command, stdout=log, stderr=log, cwd=folder)
        try:
            walsender = bench.wait_walsender(slot, process.running)
            wait_until(lambda: not process.running() or sum(kafka.end_offsets(topic).values()) >= rows,
                       f"{rows} records in {topic}", _TIMEOUT_S, interval=0.25)
            if not process.running():
                raise RuntimeError(f"Debezium ended:\n{log_file.read_text(errors='replace')[-4000:]}")
            cpu = {"shipper": cpu_seconds(process.pid), "walsender": cpu_seconds(walsender),
                   "broker": cpu_seconds(kafka.pid) - broker_before}
            peak = memory_mb(process.pid)
        finally:
            if process.running():
                process.kill()
        arrival = bench.arrival(topic)
        kafka.delete_topic(topic)
    if arrival.records != rows:
        raise RuntimeError(f"Debezium: {rows} rows were changed and {arrival.records} records arrived")
    found = result(rows, arrival, started, cpu) | {"shipper_peak_rss_mb": peak}
    bench.say(f"debezium {workload.name}: {line(found)}")
    return found


def measure(bench: Bench, workload: Workload) -> dict[str, Any]:
    fetch()
    with bench.backlog(workload, "pgoutput") as (rows, _):
        runs = [_once(bench, workload, rows) for _ in range(bench.repetitions)]
    return {"title": workload.title, "rows": rows, "version": version(), "heap": _HEAP,
            "worker": WORKER_SETTINGS, "connector": CONNECTOR_SETTINGS, **summaries(runs)}

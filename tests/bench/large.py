"""Stage "large": one transaction of ten million rows while `walferry run` follows the server: once sent in blocks while it
is in progress, into the spool, and once after its commit from the server's own disk."""

import json
from typing import Any

from bench.into_kafka import Bench, task
from bench.measure import cpu_seconds, memory_mb
from bench.workloads import WORKLOADS
from harness import Walferry
from harness.walferry import merged

_WORKLOAD = WORKLOADS["bulk"]
_TIMEOUT_S = 1800.0


def measure(bench: Bench) -> dict[str, Any]:
    return {"blocks": _once(bench, True), "whole": _once(bench, False)}


def _once(bench: Bench, streaming: bool) -> dict[str, Any]:
    server, rows = bench.postgres, _WORKLOAD.scaled(bench.scale)
    name = "large_blocks" if streaming else "large_whole"
    topic = f"public.{_WORKLOAD.name}"
    server.create_database(name)
    bench.kafka.create_topic(topic, 1, {"message.timestamp.type": "LogAppendTime"})
    spool = bench.run.subfolder("spool")
    try:
        connection = server.connect(name)
        _WORKLOAD.prepare(connection, rows)
        settings = {"source": {"streaming": streaming, "create_slot": True}, "spool": {"directory": str(spool), "size": "64GB"}}
        walferry = Walferry(bench.run, merged(task(server, bench.kafka, name, name, topic), settings)).start()
        walferry.wait_for_log('"streaming"', 60)
        walsender = bench.wait_walsender(name, walferry.running)
        bench.say(f"large: {rows} rows in one transaction, {'in blocks' if streaming else 'after the commit'}")
        _WORKLOAD.load(connection, rows)
        connection.close()
        server.wait_confirmed(name, timeout=_TIMEOUT_S)
        found = {"shipper_cpu_us_per_row": cpu_seconds(walferry.pid) * 1e6 / rows,
                 "walsender_cpu_us_per_row": cpu_seconds(walsender) * 1e6 / rows,
                 "shipper_peak_rss_mb": memory_mb(walferry.pid), "walsender_peak_rss_mb": memory_mb(walsender)}
        if walferry.stop() != 0:
            raise RuntimeError(f"walferry failed:\n{walferry.log()[-4000:]}")
        if "WF4" in walferry.log():
            raise RuntimeError(f"the spool was given up:\n{walferry.log()[-4000:]}")
        arrival = bench.arrival(topic)
        if arrival.records != rows:
            raise RuntimeError(f"{rows} rows were changed and {arrival.records} records arrived")
        first = bench.first_value(topic)
        found |= {"rows": rows, "title": "in blocks, through the spool" if streaming else "after its commit",
                  "commit_to_first_s": (arrival.first_ms - json.loads(first)["es"]) / 1000,
                  "commit_to_last_s": (arrival.first_ms - json.loads(first)["es"]) / 1000 + arrival.seconds,
                  "rows_per_s": arrival.rows_per_s}
        bench.say(f"large: first record {found['commit_to_first_s']:.2f} s after the commit, "
                  f"{found['rows_per_s']:.0f} rows/s, shipper {found['shipper_peak_rss_mb']:.0f} MB")
        return found
    finally:
        bench.kafka.delete_topic(topic)
        server.drop_database(name)

"""Results as tables for the terminal and for docs/benchmarks.md, and the budgets they are held against."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.drain import FLOOR, NEIGHBOUR, OWN

SECTIONS = ("results", "types", "large", "delivery")  # of docs/benchmarks.md, each between two marks

Results = dict[str, Any]


def dig(results: Results, *path: str) -> Any:
    """The value at the path, None where a part of it is missing."""
    found: Any = results
    for key in path:
        if not isinstance(found, dict) or key not in found:
            return None
        found = found[key]
    return found


def _ratio(load: str, quantity: str, to: str) -> Callable[[Results], float | None]:
    return lambda results: dig(results, "drain", load, "plugins", OWN, "ratios", f"{quantity}/{to}", "median")


def _median(*path: str) -> Callable[[Results], float | None]:
    return lambda results: dig(results, *path, "median")


def _value(*path: str) -> Callable[[Results], float | None]:
    return lambda results: dig(results, *path)


def _speed_up(results: Results) -> float | None:
    wall = _ratio("ten", "wall_s", NEIGHBOUR)(results)
    return 1 / wall if wall else None


def _over_debezium(results: Results) -> float | None:
    own, other = dig(results, "kafka", "ten", "rows_per_s", "median"), dig(results, "debezium", "rows_per_s", "median")
    return own / other if own and other else None


def _highest_steady_memory(results: Results) -> float | None:
    loads = dig(results, "kafka") or {}
    known = [dig(load, "shipper_peak_rss_mb", "max") for name, load in loads.items() if name != "bulk"]
    known += [load["shipper_peak_rss_mb"] for load in (dig(results, "latency") or {}).values()]
    return max(known, default=None)


def _highest_start(results: Results) -> float | None:
    loads = dig(results, "kafka") or {}
    return max((load["start_to_first_s"]["median"] for name, load in loads.items() if name != "bulk"), default=None)


def _slowest(results: Results, *path: str, field: str, **having: str) -> float | None:
    """The greatest value of a field over those of a list that are as asked for."""
    return max((found[field]["max"] if isinstance(found[field], dict) else found[field]
                for found in dig(results, *path) or [] if all(found[key] == value for key, value in having.items())),
               default=None)


def _million_of_tail(results: Results) -> float | None:
    """From the longest tail."""
    tails = [found for found in dig(results, "delivery", "restart") or [] if found["tail_records"]]
    longest = max(tails, key=lambda found: found["tail_records"], default=None)
    return longest["tail_s"] * 1e6 / longest["tail_records"] if longest else None


def _exactly_once_latency(field: str) -> Callable[[Results], float | None]:
    def slowest(results: Results) -> float | None:
        loads = dig(results, "delivery", "latency") or {}
        return max((found[field] for name, found in loads.items() if name.startswith("exactly-once")), default=None)
    return slowest


@dataclass(frozen=True)
class Budget:
    """A bound of the design, on a value taken from the results."""

    title: str
    bound: float
    at_most: bool
    unit: str
    measured: Callable[[Results], float | None]


BUDGETS = (
    Budget("drain, batched rows: walsender CPU / null", 1.2, True, "×", _ratio("ten", "walsender_cpu_s", FLOOR)),
    Budget("drain, batched rows: walsender CPU / pgoutput", 1 / 3, True, "×",
           _ratio("ten", "walsender_cpu_s", NEIGHBOUR)),
    Budget("drain, batched rows: rows/s / pgoutput", 3.3, False, "×", _speed_up),
    Budget("drain, batched rows: bytes per row / pgoutput", 0.6, True, "×", _ratio("ten", "bytes", NEIGHBOUR)),
    Budget("drain, one-row transactions: walsender CPU / null", 1.3, True, "×",
           _ratio("single", "walsender_cpu_s", FLOOR)),
    Budget("drain, one-row transactions: walsender CPU / pgoutput", 1 / 1.5, True, "×",
           _ratio("single", "walsender_cpu_s", NEIGHBOUR)),
    Budget("into Kafka, backlog: rows/s / Debezium", 10, False, "×", _over_debezium),
    Budget("shipper CPU per row, canal-json", 2, True, "µs", _median("kafka", "ten", "shipper_cpu_us_per_row")),
    Budget("commit to consumer at half load, p50", 3, True, "ms", _value("latency", "half_load", "p50_ms")),
    Budget("commit to consumer at half load, p99", 10, True, "ms", _value("latency", "half_load", "p99_ms")),
    Budget("shipper peak memory, steady", 100, True, "MB", _highest_steady_memory),
    Budget("shipper peak memory, one 10 M-row transaction", 256, True, "MB",
           lambda results: dig(results, "large", "blocks", "shipper_peak_rss_mb")
           if dig(results, "large", "blocks", "rows") == 10_000_000 else None),
    Budget("one 10 M-row transaction: commit to first record", 1, True, "s",
           lambda results: dig(results, "large", "blocks", "commit_to_first_s")
           if dig(results, "large", "blocks", "rows") == 10_000_000 else None),
    Budget("start to first record", 1, True, "s", _highest_start),
    Budget("exactly-once, backlog: rows/s / at-least-once", 0.85, False, "×", _median("delivery", "backlog", "ratio")),
    Budget("exactly-once: commit to a reader of committed records, p50", 60, True, "ms", _exactly_once_latency("p50_ms")),
    Budget("exactly-once: commit to a reader of committed records, p99", 150, True, "ms", _exactly_once_latency("p99_ms")),
    Budget("at-least-once: kill -9 in a backlog, start to first new record", 1, True, "s",
           lambda results: _slowest(results, "delivery", "restart", field="start_to_first_s", mode="at-least-once",
                                    load="backlog")),
    Budget("at-least-once: kill -9 in one large transaction, start to first new record", 1, True, "s",
           lambda results: _slowest(results, "delivery", "restart", field="start_to_first_s", mode="at-least-once",
                                    load="large")),
    Budget("reading the tail, 1 M records", 1, True, "s", _million_of_tail),
    Budget("takeover by a standby", 5, True, "s",
           lambda results: _slowest(results, "delivery", "takeover", field="seconds")),
)


def budgets(results: Results) -> list[dict[str, Any]]:
    """Each budget with what was measured (None: not in this run) and a verdict."""
    judged = []
    for budget in BUDGETS:
        value = budget.measured(results)
        if value is None:
            verdict = "not measured"
        elif value <= budget.bound if budget.at_most else value >= budget.bound:
            verdict = "ok"
        else:
            verdict = f"missed by {abs(value / budget.bound - 1) * 100:.0f} %"
        judged.append({"budget": budget.title, "at_most": budget.at_most, "bound": budget.bound, "unit": budget.unit,
                       "measured": value, "verdict": verdict})
    return judged


# --- tables ---

Table = tuple[str, Sequence[str], list[list[str]]]  # heading, column titles, rows


def _number(value: float | None, digits: int = 2) -> str:
    return "–" if value is None else f"{value:,.{digits}f}".replace(",", " ")


def _spread(found: dict[str, float] | None, digits: int = 2) -> str:
    """Median and, in brackets, the least and greatest."""
    if found is None:
        return "–"
    text = _number(found["median"], digits)
    if found["min"] == found["max"]:
        return text
    return f"{text} ({_number(found['min'], digits)}–{_number(found['max'], digits)})"


def _drain_tables(results: Results) -> list[Table]:
    titles = ("plugin", "walsender CPU s", "× null", "× pgoutput", "wall s", "rows/s", "bytes/row", "peak MB")
    tables = []
    for load in (dig(results, "drain") or {}).values():
        rows = []
        for name, found in load["plugins"].items():
            ratios = found["ratios"]
            rows.append([name, _spread(found["walsender_cpu_s"]),
                         _number(dig(ratios, f"walsender_cpu_s/{FLOOR}", "median")),
                         _number(dig(ratios, f"walsender_cpu_s/{NEIGHBOUR}", "median")), _spread(found["wall_s"]),
                         _number(found["rows_per_s"]["median"], 0), _number(found["bytes_per_row"], 0),
                         _number(found["walsender_peak_rss_kb"]["max"] * 1024 / 1e6, 0)])
        tables.append((f"Drain: {_number(load['rows'], 0)} {load['title']}", titles, rows))
    return tables


def _way(name: str, found: dict[str, Any]) -> list[str]:
    return [name, _number(found["rows"], 0), _spread(found["rows_per_s"], 0),
            _number(found["second_half_rows_per_s"]["median"], 0), _spread(found["shipper_cpu_us_per_row"]),
            _spread(found["walsender_cpu_us_per_row"]), _spread(found["broker_cpu_us_per_row"]),
            _number(found["record_bytes"]["median"], 0), _number(found["stored_bytes"]["median"], 0),
            _number(found["shipper_peak_rss_mb"]["max"], 0), _spread(found["start_to_first_s"])]


def _kafka_tables(results: Results) -> list[Table]:
    rows = [_way(load["title"], load) for load in (dig(results, "kafka") or {}).values()]
    other = dig(results, "debezium")
    if other:
        rows.append(_way(f"Debezium {other['version']}: {other['title']}", other))
    titles = ("load", "rows", "rows/s", "2nd half", "shipper CPU µs/row", "walsender CPU µs/row", "broker CPU µs/row",
              "record bytes", "stored bytes", "shipper peak MB", "start to first s")
    return [("Into Kafka: backlog, canal-json, lz4", titles, rows)] if rows else []


def _latency_tables(results: Results) -> list[Table]:
    rows = [[found["title"], _number(found["samples"], 0), _number(found["probes_per_s"], 0),
             _number(found["load_rows_per_s"], 0), _number(found["p50_ms"]), _number(found["p99_ms"]),
             _number(found["max_ms"]), _number(found["shipper_cpu_share"] * 100, 0)]
            for found in (dig(results, "latency") or {}).values()]
    titles = ("load", "samples", "measured rows/s", "load rows/s reached", "p50 ms", "p99 ms", "max ms",
              "shipper CPU %")
    return [("Commit to consumer", titles, rows)] if rows else []


def _large_tables(results: Results) -> list[Table]:
    rows = [[found["title"], _number(found["rows"], 0), _number(found["commit_to_first_s"]),
             _number(found["commit_to_last_s"], 1), _number(found["rows_per_s"], 0), _number(found["shipper_cpu_us_per_row"]),
             _number(found["walsender_cpu_us_per_row"]), _number(found["shipper_peak_rss_mb"], 0),
             _number(found["walsender_peak_rss_mb"], 0)] for found in (dig(results, "large") or {}).values()]
    titles = ("sent", "rows", "commit to first s", "commit to last s", "rows/s", "shipper CPU µs/row", "walsender CPU µs/row",
              "shipper peak MB", "walsender peak MB")
    return [("One large transaction, followed while it runs", titles, rows)] if rows else []


def _delivery_tables(results: Results) -> list[Table]:
    found = dig(results, "delivery")
    if not found:
        return []
    modes = ("at-least-once", "exactly-once")
    backlog = [[mode, _spread(way["rows_per_s"], 0), _number(way["second_half_rows_per_s"]["median"], 0),
                _spread(way["shipper_cpu_us_per_row"]), _spread(way["walsender_cpu_us_per_row"]),
                _spread(way["broker_cpu_us_per_row"]), _number(way["shipper_peak_rss_mb"]["max"], 0),
                _spread(way["start_to_first_s"])] for mode, way in ((mode, found["backlog"][mode]) for mode in modes)]
    backlog.append(["exactly-once / at-least-once", _spread(found["backlog"]["ratio"])] + [""] * 6)
    waits = [[name.partition(",")[0], way["title"], _number(way["samples"], 0), _number(way["load_rows_per_s"], 0),
              _number(way["p50_ms"]), _number(way["p99_ms"]), _number(way["max_ms"]),
              _number(way["shipper_cpu_share"] * 100, 0)] for name, way in found["latency"].items()]
    restarts = [[way["mode"], way["title"], _number(way["there"], 0), _number(way["start_to_streaming_s"]),
                 _number(way["start_to_first_s"]), _number(way["tail_records"], 0), _number(way["tail_s"]),
                 _number(way["tail_records"] / way["tail_s"], 0) if way["tail_s"] else "–"] for way in found["restart"]]
    takeovers = [[way["mode"], way["how"], _spread(way["seconds"])] for way in found["takeover"]]
    return [
        (f"Delivery: backlog, {_number(found['backlog'][modes[0]]['rows'], 0)} {found['backlog'][modes[0]]['title']}",
         ("mode", "rows/s", "2nd half", "shipper CPU µs/row", "walsender CPU µs/row", "broker CPU µs/row",
          "shipper peak MB", "start to first s"), backlog),
        ("Delivery: commit to reader", ("mode", "load", "samples", "load rows/s reached", "p50 ms", "p99 ms", "max ms",
                                        "shipper CPU %"), waits),
        ("Delivery: start after kill -9", ("mode", "load", "records there", "start to streaming s",
                                           "start to first new record s", "tail records", "tail s", "records/s"),
         restarts),
        ("Delivery: takeover by a standby", ("mode", "end of the first", "s to the other one's first record"), takeovers)]


def _budget_table(results: Results) -> Table:
    rows = []
    for judged in results["budgets"]:
        sign = "≤" if judged["at_most"] else "≥"
        rows.append([judged["budget"], f"{sign} {_number(judged['bound'])} {judged['unit']}",
                     "–" if judged["measured"] is None else f"{_number(judged['measured'])} {judged['unit']}",
                     judged["verdict"]])
    return "Budgets", ("what", "budget", "measured", "verdict"), rows


def _environment_table(results: Results) -> Table:
    rows = [[name.replace("_", " "), str(value)] for name, value in results["environment"].items()]
    for name in ("server_settings", "broker_settings"):
        if name in results:
            rows.append([name.replace("_", " "), ", ".join(f"{key} = {value}" for key, value in results[name].items())])
    rows += [["command", results["command"]], ["scale", str(results["scale"])],
             ["repetitions", str(results["repetitions"])]]
    return "Machine and settings", ("", ""), rows


def _tables(results: Results) -> list[Table]:
    return [*_drain_tables(results), *_kafka_tables(results), *_latency_tables(results), *_large_tables(results),
            *_delivery_tables(results), _budget_table(results), _environment_table(results)]


def text(results: Results) -> str:
    """All tables with aligned columns."""
    lines = []
    for heading, titles, rows in _tables(results):
        widths = [max(len(row[column]) for row in [list(titles), *rows]) for column in range(len(titles))]
        lines += ["", heading]
        for row in [list(titles), *rows]:
            cells = [row[0].ljust(widths[0])] + [cell.rjust(width) for cell, width in zip(row[1:], widths[1:])]
            if len(row) == 2:
                cells = [row[0].ljust(widths[0]), row[1]]
            lines.append("  " + "  ".join(cells).rstrip())
    return "\n".join(lines)


def markdown(results: Results) -> str:
    lines = []
    for heading, titles, rows in _tables(results):
        alignment = ["---"] + (["---:"] if len(titles) > 2 else ["---"]) * (len(titles) - 1)
        lines += [f"### {heading}", ""]
        lines += [f"| {' | '.join(cells)} |" for cells in (titles, alignment, *rows)]
        lines.append("")
    return "\n".join(lines)


def write_markdown(results: Results, path: Path, section: str) -> None:
    """Replaces what stands between the section's two marks on the page."""
    marks = f"<!-- {section}: begin -->", f"<!-- {section}: end -->"
    page = path.read_text(encoding="utf-8")
    before, begin, rest = page.partition(marks[0])
    _, end, after = rest.partition(marks[1])
    if not begin or not end:
        raise RuntimeError(f"{path} lacks the lines {marks[0]} and {marks[1]}")
    path.write_text(f"{before}{begin}\n\n{markdown(results)}\n{end}{after}", encoding="utf-8")

"""Compares what was decoded with the journal of a storm."""

from collections import Counter
from collections.abc import Iterable
from typing import Any

from storm import Entry, Schema


def announced(columns: Iterable[dict[str, Any]]) -> set[Schema]:
    """The schemas that frames of one or of several sessions announce, from relations(): a row for each column."""
    schemas: set[Schema] = set()
    head: tuple[Any, ...] = ()
    parts: list[tuple[str, ...]] = []

    def close() -> None:
        if parts:
            schemas.add(Schema(head[1], head[2], tuple(parts)))

    for column in columns:
        this = tuple(column[name] for name in ("id", "relation", "replica_identity", "fingerprint"))
        if this != head or column["column_name"] in {part[0] for part in parts}:
            close()
            head, parts = this, []
        flags = (str(column[name]).lower() for name in ("identity", "not_null", "generated"))
        parts.append((column["column_name"], column["type"], str(column["type_modifier"]), str(column["key_position"]),
                      *flags))
    close()
    return schemas


def fault(entry: Entry, change: dict[str, Any]) -> str | None:
    """What is wrong with a change; None if it is what was written."""
    schema = entry.schema
    if change["relation"] != schema.relation:
        return f"relation {change['relation']}"
    if change["operation"] != entry.operation:
        return f"operation {change['operation']}"
    before, after = change["before"], change["after"]
    unchanged = set(change["unchanged"] or ())
    identity = schema.identity()
    if entry.before is None:
        wanted_before = [None]
    elif schema.replica_identity == "f":
        wanted_before = [entry.before]
    else:
        key = {name: entry.before[name] for name in identity}
        moved = entry.after is None or any(entry.after[name] != value for name, value in key.items())
        wanted_before = [key] if key and moved else [None, key]
        if not key:
            wanted_before = [None]
    if before not in wanted_before:
        return f"before image {before}, wanted {wanted_before}"
    if entry.after is None:
        return None if after is None else f"after image {after}"
    if unchanged and (entry.before is None or any(entry.before[name] != entry.after[name] for name in unchanged)):
        return f"unchanged columns {unchanged}"
    wanted = {name: value for name, value in entry.after.items() if name not in unchanged}
    if after != wanted:
        return f"after image {after}, wanted {wanted}"
    return None


def committed(changes: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Puts the blocks of transactions in progress together: what is left of them when they are committed."""
    whole: list[dict[str, Any]] = []
    open_ones: dict[str, list[dict[str, Any]]] = {}
    for change in changes:
        kind, xid = change["kind"], change["xid"]
        if kind == "stream":
            open_ones.setdefault(xid, []).append(change)
        elif kind == "stream_abort":
            rest = [c for c in open_ones.pop(xid, []) if c["subxid"] != change["subxid"]]
            if change["subxid"] != xid:
                open_ones[xid] = rest
        elif kind == "stream_commit":
            whole.extend(open_ones.pop(xid, []))
        else:
            whole.append(change)
    return whole


def check(reader: str, journal: list[Entry], truncated: set[Schema],
          changes: list[dict[str, Any]], columns: list[dict[str, Any]]) -> None:
    """Every committed row is there once, as it was written, and the schemas are those of the rows, no others but those of
    rows that were sent before they were rolled back."""
    streamed = any(change["kind"] == "stream" for change in changes)
    rows = [change for change in committed(changes) if change["operation"] not in ("truncate", "message")]
    by_number = {(entry.operation, entry.after["op"]): entry for entry in journal if entry.after}
    faults = []
    written = set()
    for change in rows:
        if change["after"] is None:
            continue
        key = (change["operation"], change["after"].get("op"))
        entry = by_number.get(key)
        if entry is None:
            faults.append(f"not in the journal: {change}")
            continue
        if key in written:
            faults.append(f"twice: {change}")
        written.add(key)
        if why := fault(entry, change):
            faults.append(f"{why}: {change} {entry}")
    faults.extend(f"missing: {by_number[key]}" for key in by_number.keys() - written)

    # A delete shows what the identity of its moment allows: sometimes nothing.
    def shown(entry: Entry) -> tuple[str, str]:
        assert entry.before is not None
        names = set(entry.before) if entry.schema.replica_identity == "f" else entry.schema.identity()
        image = {name: value for name, value in sorted(entry.before.items()) if name in names}
        return entry.schema.relation, str(image or None)

    wanted_deletes = Counter(shown(entry) for entry in journal if entry.after is None)
    seen_deletes = Counter((change["relation"], str(dict(sorted(change["before"].items())) if change["before"] else None))
                           for change in rows if change["operation"] == "delete")
    faults.extend(f"deletes missing or different: {key} {count}" for key, count in (wanted_deletes - seen_deletes).items())
    faults.extend(f"deletes too many: {key} {count}" for key, count in (seen_deletes - wanted_deletes).items())

    schemas = announced(columns)
    needed = {entry.schema for entry in journal}
    faults.extend(f"schema never announced: {schema}" for schema in needed - schemas)
    if not streamed:
        faults.extend(f"schema that no row had: {schema}" for schema in schemas - needed - truncated)
    assert not faults, f"{reader}: {len(faults)} faults, the first:\n" + "\n".join(text[:800] for text in faults[:5])

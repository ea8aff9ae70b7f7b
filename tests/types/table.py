#!/usr/bin/env python3
"""Makes the tables of docs/types.md from the corpus: sends it through a server and a broker of its own and shows how
each type appears. --markdown prints them, --write puts them into the page."""

import argparse
import sys
from pathlib import Path

SOURCE = Path(__file__).resolve().parents[2]
sys.path.insert(1, str(SOURCE / "tests"))

from corpus import BASE, CASES, INFORMATION_SCHEMA, RANGES, USER_MADE  # noqa: E402
from harness import Kafka, Postgres, Run  # noqa: E402
from journey import Seen, travel  # noqa: E402
from workbench import Workbench  # noqa: E402

PAGE = SOURCE / "docs" / "types.md"
BEGIN, END = "<!-- made by tests/types/table.py: begin -->\n", "<!-- made by tests/types/table.py: end -->\n"
LONGEST = 48  # characters of an example

# Arrays are alike; these show it.
ARRAYS = ("bool", "bytea", "int4", "char", "point", "inet", "mood", "pair", "flag", "words")

GROUPS = (("Base types", BASE), ("Ranges and multiranges", RANGES),
          ("Domains of the information schema", INFORMATION_SCHEMA),
          ("Types that users make", USER_MADE))


def _code(text: str) -> str:
    shown = text if len(text) <= LONGEST else text[:LONGEST - 1] + "…"
    return "`" + shown.replace("|", "\\|") + "`" if shown else "(empty)"


def _example(seen: Seen) -> tuple[str, str]:
    """One whose text differs between server and message if there is one, else the most varied that is whole."""
    readable = [pair for pair in seen.texts
                if pair[0].isprintable() and pair[0] and pair[0][0] != " " and "`" not in pair[0]]
    candidates = [pair for pair in readable if pair[0] != pair[1]] or readable or seen.texts
    fitting = [pair for pair in candidates if len(pair[0]) <= LONGEST]
    return max(fitting, key=lambda pair: (len(set(pair[0])), pair)) if fitting else candidates[0]


def _row(type_: str, seen: Seen) -> str:
    text, canal = _example(seen)
    same = "the same" if text == canal else _code(canal)
    return f"| `{type_}` | {seen.wire_class} | `{seen.mysql_type}` | {seen.sql_type} | {_code(text)} | {same} |"


def markdown(seen: dict[tuple[str, str], Seen]) -> str:
    """The tables, from the corpus as travel() has seen it."""
    lines: list[str] = []
    every_version = [case for case in CASES if not case.since and case.until == 99]

    def table(title: str, rows: list[str]) -> None:
        lines.extend([f"### {title}", "",
                      "| Type | Wire class | `mysqlType` | `sqlType` | The server's text | In Canal JSON |",
                      "|---|---|---|---|---|---|", *rows, ""])

    for title, cases in GROUPS:
        table(title, [_row(case.type, seen[case.name, "v"]) for case in cases if case in every_version])
    table("Arrays",
          [_row(case.type + "[]", seen[case.name, "a"]) for case in (*BASE, *USER_MADE) if case.name in ARRAYS])
    return "\n".join(lines)


def part_of_page(page: str) -> str:
    """What stands between the marks."""
    return page[page.index(BEGIN) + len(BEGIN):page.index(END)]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    chosen = parser.add_mutually_exclusive_group(required=True)
    chosen.add_argument("--markdown", action="store_true", help="print the tables")
    chosen.add_argument("--write", action="store_true", help="put them into docs/types.md")
    arguments = parser.parse_args()
    with Run() as run:
        server = Postgres(run)
        server.install_walferry()
        server.start()
        travelled = travel(Workbench(run, server, Kafka(run).start(), "types"))
    made = markdown(travelled.seen)
    if arguments.markdown:
        print(made)
        return 0
    page = PAGE.read_text(encoding="utf-8")
    start, end = page.index(BEGIN) + len(BEGIN), page.index(END)
    PAGE.write_text(page[:start] + made + page[end:], encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())

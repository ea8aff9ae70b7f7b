#!/usr/bin/env python3
"""walferry at work: a real PostgreSQL, a real Kafka broker, and a proof that every committed change arrived.

On a terminal the servers stay up to play with until Ctrl-C; otherwise the demo ends by itself. The exit status is 0
only if all counts agree.
"""

import hashlib
import json
import signal
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from harness import Interrupted, Kafka, Postgres, Run, Walferry  # noqa: E402
from harness.kafka import Record  # noqa: E402

DATABASE = "shop"
LARGEST_MESSAGE = 4_000_000  # bytes; Kafka's default of 1 MB is too little for a value of 1 MB and its surroundings
Message = tuple[Record, Any]  # the record and its value, parsed
OPERATIONS = {"INSERT": "n_tup_ins", "UPDATE": "n_tup_upd", "DELETE": "n_tup_del"}

TASK = """\
name = "shop"                                   # names the slot, the Kafka client and the progress record

[source]
dsn = "host=127.0.0.1 port={postgres_port} dbname=shop user=walferry"

[sink]
brokers = "{brokers}"
format  = "canal-json"                          # topics are named {{schema}}.{{table}}

[sink.kafka]                                    # any librdkafka property
"compression.type"  = "lz4"
"message.max.bytes" = "{largest_message}"                 # the demo sends a value of 1 MB
"""

TABLES = """
create table orders (
    id       bigint generated always as identity primary key,
    customer text not null,
    amount   numeric(12,2),
    paid     boolean not null default false,
    placed   timestamptz not null default now(),
    tags     text[],
    note     text
);
alter table orders replica identity full;  -- so that updates and deletes carry the whole row as it was before
create table carts (id int primary key, customer text, items jsonb);
"""

CHANGES = """
insert into orders (customer, amount, tags, note) values
    ('Ada', 19.90, '{gift,express}', null), ('Grace', 250.00, null, 'rings twice'), ('Łukasz', 7.35, '{}', '"ça va"');
insert into orders (customer, amount)
    select 'customer ' || n, (n * 37 % 10000) / 100.0 from generate_series(1, 5000) n;
update orders set amount = 17.50, paid = true where customer = 'Ada';
update orders set paid = true where id % 3 = 0;
delete from orders where id % 10 = 4;
insert into carts select n, 'customer ' || n, jsonb_build_object('sku', n, 'count', 2) from generate_series(1, 200) n;
truncate carts;
insert into carts values (1, 'Ada', '{"sku": 7, "count": 1}');
insert into orders (customer, note)
    select 'Tolstoy', left(string_agg(md5(n::text), ''), 1024 * 1024) from generate_series(1, 32768) n;
update orders set paid = true where customer = 'Tolstoy';
"""

# What pg_stat_user_tables does not count: pgbench empties its tables before it fills them, and CHANGES one table.
TRUNCATES = {"carts": 1, "pgbench_accounts": 1, "pgbench_branches": 1, "pgbench_history": 1, "pgbench_tellers": 1}


class Screen:
    """Steps with their times; colours on a terminal only."""

    def __init__(self) -> None:
        self.interactive = sys.stdin.isatty() and sys.stdout.isatty()
        self._start = time.monotonic()

    def style(self, code: str, text: str) -> str:
        return f"\033[{code}m{text}\033[0m" if sys.stdout.isatty() else text

    def title(self, text: str) -> None:
        print("\n" + self.style("1", text), flush=True)

    def step(self, text: str) -> None:
        print(self.style("2", f"{time.monotonic() - self._start:6.1f} s  ") + text, flush=True)

    def code(self, text: str) -> None:
        print("\n".join(f"    {line}".rstrip() for line in text.rstrip().splitlines()), flush=True)


def number(value: int) -> str:
    return f"{value:,}".replace(",", " ")


def shortened(value: Any) -> Any:
    """The same with long strings cut, for showing."""
    if isinstance(value, dict):
        return {key: shortened(item) for key, item in value.items()}
    if isinstance(value, list):
        return [shortened(item) for item in value]
    if isinstance(value, str) and len(value) > 60:
        return f"{value[:24]}… ({number(len(value))} characters)"
    return value


def start_servers(run: Run, screen: Screen) -> tuple[Postgres, Kafka]:
    broker = Kafka(run, {"message.max.bytes": LARGEST_MESSAGE})
    broker.launch()
    server = Postgres(run)
    server.install_walferry()
    server.start()
    version = server.psql("show server_version").split()[0]
    screen.step(f"PostgreSQL {version} with the plugin on 127.0.0.1:{server.port}")
    broker.wait_ready()
    screen.step(f"Apache Kafka broker on {broker.brokers}")
    server.psql("create role walferry login replication")
    server.create_database(DATABASE)
    return server, broker


def start_shipper(run: Run, server: Postgres, broker: Kafka, screen: Screen) -> Walferry:
    task = TASK.format(postgres_port=server.port, brokers=broker.brokers, largest_message=LARGEST_MESSAGE)
    screen.title("The task file")
    screen.code(task)
    walferry = Walferry(run, task).start()
    deadline = time.monotonic() + 30
    while server.confirmed_lsn("shop") is None:
        if not walferry.running() or time.monotonic() > deadline:
            raise RuntimeError(f"walferry run did not get its slot:\n{walferry.log()[-4000:]}")
        time.sleep(0.02)
    screen.title("The load")
    screen.step("walferry run shop.toml: streaming from slot shop")
    return walferry


def make_changes(server: Postgres, screen: Screen) -> None:
    server.tool("pgbench", "--initialize", "--scale=1", "--quiet", dbname=DATABASE)
    screen.step("pgbench's tables made and filled while walferry runs: 100 000 accounts by one COPY")
    server.tool("pgbench", "--no-vacuum", "--client=4", "--jobs=2", "--transactions=1000", dbname=DATABASE)
    screen.step("4 000 TPC-B transactions (pgbench_history has no key)")
    server.psql(TABLES + CHANGES, dbname=DATABASE)
    screen.step("orders and carts: inserts, updates, deletes, a TRUNCATE, a value of 1 MB")


def committed(server: Postgres) -> Counter[tuple[str, str]]:
    """Changes by table and operation, by the server's own statistics: each session reports when it ends."""
    columns = ", ".join(OPERATIONS.values())
    counts: Counter[tuple[str, str]] = Counter()
    for table, *numbers in server.query(f"select relname, {columns} from pg_stat_user_tables order by relname",
                                        dbname=DATABASE):
        for operation, count in zip(OPERATIONS, numbers):
            if count:
                counts[table, operation] = count
    for table, count in TRUNCATES.items():
        counts[table, "TRUNCATE"] = count
    return counts


def arrived(messages: list[Message]) -> Counter[tuple[str, str]]:
    """Rows by table and type; a TRUNCATE counts as one."""
    counts: Counter[tuple[str, str]] = Counter()
    for _, message in messages:
        counts[message["table"], message["type"]] += len(message["data"] or [None])
    return counts


def show_samples(messages: list[Message], screen: Screen) -> None:
    wanted = {("orders", "INSERT"), ("orders", "UPDATE"), ("orders", "DELETE"), ("carts", "TRUNCATE"),
              ("pgbench_history", "INSERT")}
    first = True
    for record, message in messages:
        which = (message["table"], message["type"])
        if which in wanted:
            wanted.remove(which)
            key = record.key.decode() if record.key is not None else "none"
            headers = ", ".join(f"{name}={value.decode(errors='replace')}" for name, value in record.headers)
            print(screen.style("36", f"    {record.topic}[{record.partition}]@{record.offset}") +
                  f"  key {key}" + (f"  headers {headers}" if headers else ""))
            shown = shortened(message)
            if not first:
                shown.update({types: "…" for types in ("sqlType", "mysqlType") if message[types]})
            first = False
            screen.code(json.dumps(shown, ensure_ascii=False))


def check_large_value(server: Postgres, messages: list[Message]) -> bool:
    """Whether the value of 1 MB came through byte for byte."""
    wanted = server.query("select md5(note) from orders where customer = 'Tolstoy'", dbname=DATABASE)[0][0]
    for _, message in messages:
        if message["table"] == "orders" and message["type"] == "INSERT":
            row = message["data"][0]
            if row["customer"] == "Tolstoy":
                return hashlib.md5(row["note"].encode()).hexdigest() == wanted
    return False


def show_counts(expected: Counter[tuple[str, str]], got: Counter[tuple[str, str]], screen: Screen) -> bool:
    equal = True
    print(screen.style("1", f"    {'table':<18} {'operation':<10} {'PostgreSQL':>12} {'Kafka':>12}"))
    for table, operation in sorted(expected.keys() | got.keys()):
        pair = expected[table, operation], got[table, operation]
        same = pair[0] == pair[1]
        equal = equal and same
        verdict = screen.style("32", "equal") if same else screen.style("31", "DIFFERENT")
        print(f"    {table:<18} {operation:<10} {number(pair[0]):>12} {number(pair[1]):>12}   {verdict}")
    print(f"    {'all':<18} {'':<10} {number(expected.total()):>12} {number(got.total()):>12}", flush=True)
    return equal


def play(server: Postgres, broker: Kafka, walferry: Walferry, screen: Screen) -> None:
    screen.title("Play on")
    screen.code(f"psql -h 127.0.0.1 -p {server.port} -U postgres {DATABASE}\n"
                f"kcat -b {broker.brokers} -C -u -t public.orders -o end\n"
                f"pgbench -h 127.0.0.1 -p {server.port} -U postgres -n -c 4 -T 10 {DATABASE}\n"
                f"tail -f {walferry.log_file}")
    print("\nCtrl-C stops the servers and removes everything.", flush=True)
    try:
        signal.pause()
    except Interrupted:
        raise
    except KeyboardInterrupt:
        print()


def demo(run: Run, screen: Screen) -> bool:
    screen.title("walferry: PostgreSQL into Apache Kafka")
    server, broker = start_servers(run, screen)
    walferry = start_shipper(run, server, broker, screen)
    make_changes(server, screen)
    try:
        server.wait_confirmed("shop", timeout=120)
    except TimeoutError as error:
        raise RuntimeError(f"{error}; walferry says:\n{walferry.log()[-4000:]}") from None
    screen.step("walferry has confirmed everything: Kafka has it")

    # One topic more holds how far the task has come.
    topics = [topic for topic in broker.topics() if not topic.startswith("walferry.progress.")]
    messages = [(record, record.json) for topic in topics for record in broker.consume(topic)]
    size = sum(len(record.value or b"") for record, _ in messages)
    screen.step(f"{number(len(messages))} messages read back, {size / 1e6:.1f} MB")
    screen.title("Some of the messages")
    show_samples(messages, screen)
    screen.title("Committed in PostgreSQL, read from Kafka")
    equal = show_counts(committed(server), arrived(messages), screen)
    whole = check_large_value(server, messages)
    print(f"    the value of 1 MB: {'the same on both sides' if whole else 'MISSING OR DIFFERENT'}", flush=True)
    if screen.interactive:
        play(server, broker, walferry, screen)
    status = walferry.stop()
    screen.step(f"walferry stopped by SIGTERM, exit status {status}")
    good = equal and whole and status == 0
    print("\n" + (screen.style("32", "All changes arrived.") if good else screen.style("31", "The demo FAILED.")))
    if status != 0:
        screen.code(walferry.log()[-4000:])
    return good


def main() -> int:
    screen = Screen()
    try:
        with Run() as run:
            return 0 if demo(run, screen) else 1
    except Interrupted as interruption:
        return interruption.exit_status
    except KeyboardInterrupt:
        return 130
    except (RuntimeError, TimeoutError) as error:
        print(f"\ndemo: error: {error}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())

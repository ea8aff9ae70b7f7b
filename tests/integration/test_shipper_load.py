"""A million rows and a running application: exact counts, in bounded memory."""

from collections import Counter

import pytest
from confluent_kafka import TopicPartition

from harness.stream import peak_memory


@pytest.mark.timeout(300)
def test_a_million_pgbench_rows_and_its_transactions(server, broker, database, slot_name, topic_prefix, task):
    walferry = task(sink={"kafka": {"compression.type": "lz4"}}).start()
    walferry.wait_for_log('"streaming"')
    server.tool("pgbench", "--initialize", "--scale=10", "--quiet", dbname=database)
    server.tool("pgbench", "--client=4", "--transactions=500", "--no-vacuum", dbname=database)
    server.wait_confirmed(slot_name, timeout=240)

    tables = [f"pgbench_{table}" for table in ("accounts", "branches", "tellers", "history")]
    counts = Counter()
    for table in tables:
        count_types(broker, topic_prefix + "public." + table, table, counts)
    history = server.query("select count(*) from pgbench_history", dbname=database)[0][0]
    assert history == 2000
    assert counts == {
        ("pgbench_accounts", "INSERT"): 1_000_000, ("pgbench_branches", "INSERT"): 10,
        ("pgbench_tellers", "INSERT"): 100, ("pgbench_history", "INSERT"): history,
        **{(table, "UPDATE"): history for table in tables[:3]}, **{(table, "TRUNCATE"): 1 for table in tables}}
    peak = peak_memory(walferry.pid)
    print(f"peak memory: {peak / 1e6:.0f} MB")
    assert peak <= 100 * 1024 * 1024
    assert walferry.stop() == 0


def count_types(broker, topic, table, counts):
    """Counts the messages by type and keeps none of them."""
    wanted = sum(broker.end_offsets(topic).values())
    consumer = broker.consumer(fetch_wait_max_ms=50)
    consumer.assign([TopicPartition(topic, 0, 0)])
    read = 0
    while read < wanted:
        for message in consumer.consume(10000, timeout=0.2):
            value = message.value()
            start = value.index(b'"type":"') + 8
            counts[table, value[start:value.index(b'"', start)].decode()] += 1
            read += 1
    consumer.close()

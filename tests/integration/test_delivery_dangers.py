"""Starts after something unusual: a table left out, many topics."""

from harness.run import wait_until

from test_delivery import both, ids, make, start, start_again, ISOLATION


@both
def test_a_table_left_out_after_its_row_has_stopped_the_task(mode, server, broker, database, slot_name, topic_prefix,
                                                             task):
    """The error says to leave the table out until the row is passed."""
    server.psql("create table t (id int primary key); create table big (id int primary key, flags bool[])", database)
    walferry = start(task, mode)
    server.psql("insert into t values (1)", database)
    server.wait_confirmed(slot_name)
    server.psql("insert into big values (1, array_fill(true, array[6000000]))", database)
    assert walferry.wait(60) == 5
    again = make(task, mode, source={"tables": ["public.*", "!public.big"]})
    start_again(again)
    server.psql("insert into t values (2)", database)
    wait_until(lambda: not again.running() or len(broker.consume(topic_prefix + "public.t", ISOLATION[mode])) == 2, "row 2", 20)
    server.wait_confirmed(slot_name, timeout=20)
    assert ids(broker.consume(topic_prefix + "public.t", ISOLATION[mode])) == [1, 2]
    assert again.stop() == 0


def test_a_start_with_many_topics_keeps_its_connection(server, broker, database, slot_name, topic_prefix, task):
    """The tails of all topics of the record are looked at while the slot is held."""
    server.psql("select format('create table t%s (id int primary key)', n) from generate_series(1, 500) n \\gexec", database)
    walferry = start(task, "at-least-once", source={"takeover_timeout": "2s"})
    server.psql("select format('insert into t%s values (1)', n) from generate_series(1, 500) n \\gexec", database)
    server.wait_confirmed(slot_name, timeout=100)
    server.psql("insert into t1 values (2)", database)
    server.wait_confirmed(slot_name)
    server.psql("insert into t1 values (3)", database)
    server.wait_confirmed(slot_name)
    walferry.kill()
    walferry.start()
    try:
        walferry.wait_for_log('"streaming"', 30)
    finally:
        assert "trying again" not in walferry.log()

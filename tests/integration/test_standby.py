"""Standbys: decoding on one (16+), and a failover slot that lives on where it was copied to (17+)."""

import pytest

from harness import Postgres
from harness.postgres import lsn_from_text
from harness.run import wait_until
from harness.stream import log_lines, without_repeats


PHYSICAL_SLOT = "standby"


def needs(server, major, what):
    if server.major < major:
        pytest.skip(f"{what} came with PostgreSQL {major}; this server is {server.major}")


def ids(records):
    return [int(record.json["data"][0]["id"]) for record in records]


def error_codes(walferry):
    return [line["fields"]["code"] for line in log_lines(walferry.log()) if "code" in line.get("fields", {})]


@pytest.fixture
def pair(run):
    """A primary with the table t, and its streaming standby; both have the plugin."""
    primary = Postgres(run)
    primary.install_walferry()
    primary.start()
    primary.psql(f"create table t (id int primary key); select pg_create_physical_replication_slot('{PHYSICAL_SLOT}', true)")
    settings = {"primary_slot_name": PHYSICAL_SLOT, "hot_standby_feedback": "on", "wal_receiver_status_interval": "1s"}
    if primary.major >= 17:
        settings |= {"sync_replication_slots": "on", "primary_conninfo": primary.dsn() + " dbname=postgres"}
    standby = Postgres(run, settings, standby_of=primary)
    standby.install_walferry()
    standby.start()
    yield primary, standby
    for server in (standby, primary):
        if server.running():
            server.stop("immediate")


def replayed(standby, lsn):
    """Waits until the standby shows what the primary had committed at `lsn`."""
    wait_until(lambda: lsn_from_text(standby.query("select pg_last_wal_replay_lsn()")[0][0]) >= lsn,
               "the standby to replay", 30)


def slot_on(server, slot_name, columns):
    rows = server.query(f"select {columns} from pg_replication_slots where slot_name = %s", (slot_name,))
    return rows[0] if rows else None


def log_running_transactions(primary):
    """What a new slot of a standby waits for. A checkpoint of the primary would bring it too, minutes later."""
    primary.query("select pg_log_standby_snapshot()")
    return True


def start_on_standby(primary, walferry, slot_name, standby):
    """Starts a shipper whose slot has to be made on the standby."""
    walferry.start()
    wait_until(lambda: slot_on(standby, slot_name, "restart_lsn") is not None and log_running_transactions(primary) and
               '"streaming"' in walferry.log(), "the slot to be made", 60, interval=0.2)


def promoted_amid_the_stream(pair, broker, slot_name, topic, task):
    """A shipper that has read rows 1 to 100 from the standby, and 101 to 200 after its promotion; the primary is gone."""
    primary, standby = pair
    needs(primary, 16, "decoding on a standby")
    walferry = task(source={"dsn": standby.dsn()}, retry={"max_delay": "500ms"})
    start_on_standby(primary, walferry, slot_name, standby)
    primary.psql("insert into t select generate_series(1, 100)")
    broker.wait_records(topic, 100)
    primary.stop("immediate")
    standby.promote()
    standby.psql("insert into t select generate_series(101, 200)")
    broker.wait_records(topic, 200)
    return walferry, standby


def test_a_standby_is_decoded(pair, broker, slot_name, topic_prefix, task):
    primary, standby = pair
    needs(primary, 16, "decoding on a standby")
    walferry = task(source={"dsn": standby.dsn()})
    start_on_standby(primary, walferry, slot_name, standby)
    primary.psql("insert into t select generate_series(1, 100)")
    broker.wait_records(topic_prefix + "public.t", 100)
    # Nothing that only a primary can do was asked for, and the primary has no slot of it.
    assert "pg_log_standby_snapshot" in walferry.log()
    assert [code for code in error_codes(walferry) if code.startswith("WF")] == []
    assert slot_on(primary, slot_name, "1") is None
    # The confirmed position is kept on the standby: a new start repeats nothing.
    assert walferry.stop() == 0
    walferry.start()
    walferry.wait_for_log('"streaming"')
    primary.psql("insert into t values (101)")
    broker.wait_records(topic_prefix + "public.t", 101)
    assert ids(broker.consume(topic_prefix + "public.t")) == list(range(1, 102))
    assert walferry.stop() == 0


def test_a_standby_is_promoted_while_it_is_decoded(pair, broker, slot_name, topic_prefix, task):
    """Its slots live on, and everything that was read is part of the new timeline."""
    walferry, standby = promoted_amid_the_stream(pair, broker, slot_name, topic_prefix + "public.t", task)
    assert ids(broker.consume(topic_prefix + "public.t")) == list(range(1, 201))
    assert walferry.stop() == 0


@pytest.mark.parametrize("noticed", [True, False])
def test_a_promotion_amid_the_stream_is_no_other_history(pair, broker, slot_name, topic_prefix, task, noticed):
    """The stream goes on through it, and what comes then has positions after the end of the timeline before."""
    walferry, standby = promoted_amid_the_stream(pair, broker, slot_name, topic_prefix + "public.t", task)
    if noticed:
        walferry.wait_for_log("the server was promoted")
        standby.psql("insert into t select generate_series(201, 300)")
        standby.wait_confirmed(slot_name)
        standby.restart()  # nothing but the number of the timeline is left of its history
    else:
        assert "the server was promoted" not in walferry.log()
        standby.query(f"select pg_terminate_backend({standby.walsender_pid(slot_name)})")
        standby.psql("insert into t select generate_series(201, 300)")
        standby.wait_confirmed(slot_name)
    assert walferry.running() and "WF2035" not in error_codes(walferry)
    broker.wait_records(topic_prefix + "public.t", 300)
    walferry.kill()
    walferry.start()
    standby.psql("insert into t select generate_series(301, 400)")
    standby.wait_confirmed(slot_name)
    assert ids(broker.consume(topic_prefix + "public.t")) == list(range(1, 401))
    assert walferry.stop() == 0


def test_a_shipper_killed_before_it_noticed_the_promotion(pair, broker, slot_name, topic_prefix, task):
    walferry, standby = promoted_amid_the_stream(pair, broker, slot_name, topic_prefix + "public.t", task)
    walferry.kill()
    assert "the server was promoted" not in walferry.log()
    walferry.start()
    standby.psql("insert into t select generate_series(201, 300)")
    standby.wait_confirmed(slot_name)
    assert ids(broker.consume(topic_prefix + "public.t")) == list(range(1, 301))
    assert walferry.stop() == 0


def test_a_standby_that_cannot_decode_is_told(pair, slot_name, task):
    primary, standby = pair
    if primary.major >= 16:
        pytest.skip("this server's standbys can decode")
    walferry = task(source={"dsn": standby.dsn()}, retry={"connection_window": "1s", "max_delay": "500ms"}).start()
    assert walferry.wait() == 3
    last = log_lines(walferry.log())[-1]["fields"]
    assert last["code"] == "WF2016" and "before version 16" in walferry.log() and "primary" in last["remedy"]


def test_a_failover_slot_is_refused_where_there_is_none(server, database, task):
    if server.major >= 17:
        pytest.skip("this server has failover slots")
    walferry = task(source={"failover": True}).start()
    assert walferry.wait() == 3
    last = log_lines(walferry.log())[-1]["fields"]
    assert last["code"] == "WF2038" and "source.failover = false" in last["remedy"]


def synced(primary, standby, slot_name):
    """Waits until the standby keeps a copy of the slot that a promotion would leave usable."""
    def copied():
        log_running_transactions(primary)  # the primary's slot moves on with these
        row = slot_on(standby, slot_name, "synced and not temporary")
        return row is not None and row[0]

    wait_until(copied, "the slot to be copied to the standby", 60, interval=0.2)


def both(primary, standby):
    """A DSN that leads to whichever of the two can be written to."""
    return (f"host=127.0.0.1,127.0.0.1 port={primary.port},{standby.port} user=postgres dbname=postgres "
            "target_session_attrs=read-write")


def test_a_failover_slot_lives_on_after_a_promotion(pair, broker, slot_name, topic_prefix, task):
    """The primary is lost under the running shipper; it goes on at the standby with nothing lost and nothing twice."""
    primary, standby = pair
    needs(primary, 17, "failover slots")
    primary.conf(synchronized_standby_slots=PHYSICAL_SLOT)
    walferry = task(source={"dsn": both(primary, standby), "failover": True}, retry={"max_delay": "500ms"}).start()
    walferry.wait_for_log('"streaming"')
    assert slot_on(primary, slot_name, "failover") == (True,)
    primary.psql("insert into t select generate_series(1, 100)")
    primary.wait_confirmed(slot_name)
    synced(primary, standby, slot_name)
    primary.psql("insert into t select generate_series(101, 200)")  # the copy of the slot stands before these
    broker.wait_records(topic_prefix + "public.t", 200)
    primary.kill9()
    standby.promote()
    standby.psql("insert into t select generate_series(201, 300)")
    broker.wait_records(topic_prefix + "public.t", 300)
    standby.wait_confirmed(slot_name)
    assert ids(broker.consume(topic_prefix + "public.t")) == list(range(1, 301))
    assert "WF2035" not in error_codes(walferry) and "new timeline" in walferry.log()
    assert walferry.stop() == 0


def test_a_shipper_started_after_the_promotion_loses_nothing(pair, broker, slot_name, topic_prefix, task):
    primary, standby = pair
    needs(primary, 17, "failover slots")
    walferry = task(source={"dsn": both(primary, standby), "failover": True}).start()
    walferry.wait_for_log('"streaming"')
    primary.psql("insert into t select generate_series(1, 100)")
    primary.wait_confirmed(slot_name)
    synced(primary, standby, slot_name)
    assert walferry.stop() == 0
    primary.psql("insert into t select generate_series(101, 200)")
    replayed(standby, primary.current_lsn())
    primary.kill9()
    standby.promote()
    standby.psql("insert into t select generate_series(201, 300)")
    walferry.start()
    walferry.wait_for_log('"streaming"')
    standby.wait_confirmed(slot_name)
    records, _ = without_repeats(broker.consume(topic_prefix + "public.t"))
    assert sorted(set(ids(records))) == list(range(1, 301))
    assert walferry.stop() == 0


def test_a_promotion_that_lost_what_was_read_is_told(pair, broker, slot_name, topic_prefix, task):
    """Without synchronized_standby_slots Kafka may be ahead of the standby: that is not passed over in silence."""
    primary, standby = pair
    needs(primary, 17, "failover slots")
    walferry = task(source={"dsn": both(primary, standby), "failover": True}, retry={"max_delay": "500ms"}).start()
    walferry.wait_for_log('"streaming"')
    assert "synchronized_standby_slots is empty" in walferry.log()
    primary.psql("insert into t values (1)")
    primary.wait_confirmed(slot_name)
    synced(primary, standby, slot_name)
    standby.stop("fast")  # it misses what comes now
    primary.psql("insert into t values (2)")
    broker.wait_records(topic_prefix + "public.t", 2)
    primary.kill9()
    standby.start()
    standby.promote()
    assert walferry.wait() == 3
    assert log_lines(walferry.log())[-1]["fields"]["code"] == "WF2035"


def test_an_existing_slot_is_made_a_failover_slot(pair, broker, slot_name, topic_prefix, task):
    primary, standby = pair
    needs(primary, 17, "failover slots")
    primary.query("select pg_create_logical_replication_slot(%s, 'walferry')", (slot_name,))
    primary.psql("insert into t values (1)")
    walferry = task(source={"dsn": primary.dsn(), "failover": True, "create_slot": False}).start()
    broker.wait_records(topic_prefix + "public.t", 1)
    assert slot_on(primary, slot_name, "failover") == (True,)
    assert walferry.stop() == 0
    # And stays one.
    walferry.start()
    walferry.wait_for_log('"streaming"')
    assert "made replication slot" not in walferry.log() and walferry.stop() == 0


def test_a_copied_slot_is_not_read_before_the_promotion(pair, slot_name, task):
    primary, standby = pair
    needs(primary, 17, "failover slots")
    walferry = task(source={"dsn": primary.dsn(), "failover": True}).start()
    walferry.wait_for_log('"streaming"')
    synced(primary, standby, slot_name)
    assert walferry.stop() == 0
    early = task(source={"dsn": standby.dsn()}, retry={"connection_window": "1s", "max_delay": "500ms"}).start()
    assert early.wait() == 3
    last = log_lines(early.log())[-1]["fields"]
    assert last["code"] == "WF2016" and "promoted" in early.log()


def test_no_failover_slot_is_made_on_a_standby(pair, task):
    primary, standby = pair
    needs(primary, 17, "failover slots")
    walferry = task(source={"dsn": standby.dsn(), "failover": True}).start()
    assert walferry.wait() == 3
    assert log_lines(walferry.log())[-1]["fields"]["code"] == "WF2038"

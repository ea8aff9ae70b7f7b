"""A value whose type's output function raises an ERROR: the DBA is told which, nothing is lost, and the slot passes it once
the table is left out."""

import contextlib

import psycopg2
import pytest
from harness import Postgres
from harness.stream import log_lines
from plugin_stream import create_slot

# The output function takes the value for the OID of an enum's label, which none of them is.
BROKEN_TYPE = """
create type "Broken";
create function broken_in(cstring) returns "Broken" language internal immutable strict as 'int4in';
create function broken_out("Broken") returns cstring language internal stable strict as 'enum_out';
create type "Broken" (input = broken_in, output = broken_out, internallength = 4, passedbyvalue);
create domain stacked as "Broken";
create table "T 1" (id int primary key, "c.1" stacked);
create table other (id int primary key);
"""

PEEK = "select data from pg_logical_slot_peek_binary_changes(%s, null, null, 'options', %s)"


@pytest.fixture
def broken(server: Postgres, database: str) -> None:
    server.psql(BROKEN_TYPE, database)


@pytest.mark.usefixtures("broken")
def test_the_context_names_table_and_column(server: Postgres, database: str, slot_name: str) -> None:
    create_slot(server, database, slot_name)
    server.psql("""insert into other values (1); insert into "T 1" values (1, null), (2, '7'); insert into other values (2)""",
                database)
    with contextlib.closing(server.connect(database)) as connection, connection.cursor() as cursor:
        for _ in range(3):  # the session goes on
            with pytest.raises(psycopg2.errors.InvalidBinaryRepresentation) as raised:
                cursor.execute(PEEK, (slot_name, "{}"))
            context = raised.value.diag.context
            assert 'walferry: column "c.1" of table public."T 1"' in context and 'output plugin "walferry"' in context
            cursor.execute("create extension if not exists walferry")
            cursor.execute(f"""select count(*), count(after ->> 'id') from ({PEEK}) c, walferry.decode(c.data)""",
                           (slot_name, '{"tables": ["!public.T 1"]}'.replace("T 1", '\\"T 1\\"')))
            assert cursor.fetchone() == (2, 2)


@pytest.mark.usefixtures("broken")
def test_a_function_that_cannot_be_loaded_is_named_the_same_way(server: Postgres, database: str, slot_name: str) -> None:
    create_slot(server, database, slot_name)
    # As after an upgrade that forgot the extension's library.
    server.psql("""update pg_proc set probin = 'nowhere', prolang = (select oid from pg_language where lanname = 'c')
        where proname = 'broken_out'; insert into "T 1" values (1, null)""", database)
    with contextlib.closing(server.connect(database)) as connection, connection.cursor() as cursor:
        with pytest.raises(psycopg2.errors.UndefinedFile) as raised:
            cursor.execute(PEEK, (slot_name, "{}"))
        assert 'walferry: column "c.1" of table public."T 1"' in raised.value.diag.context


@pytest.mark.usefixtures("broken")
def test_the_shipper_stops_with_a_code_of_its_own_and_goes_on_without_the_table(server, broker, database, slot_name,
                                                                              topic_prefix, task):
    create_slot(server, database, slot_name)
    walferry = task(source={"create_slot": False}).start()
    walferry.wait_for_log('"streaming"')
    server.psql("""insert into other values (1); insert into "T 1" values (2, '7'); insert into other values (2)""", database)
    assert walferry.wait() == 3
    error = next(line for line in log_lines(walferry.log()) if line["level"] == "error")
    assert error["fields"]["code"] == "WF2037" and 'column "c.1" of table public."T 1"' in str(error)
    without = task(source={"create_slot": False, "tables": ['!public."T 1"']}).start()
    broker.wait_records(topic_prefix + "public.other", 2)
    server.wait_confirmed(slot_name)
    # What came before the row is in Kafka already, and is found there.
    sent = broker.consume(topic_prefix + "public.other")
    assert [record.json["data"][0]["id"] for record in sent] == ["1", "2"]
    assert without.stop() == 0

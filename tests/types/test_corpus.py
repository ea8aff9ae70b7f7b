"""Every type's hard values, from the statement to the frames and to Kafka."""

import psycopg2.errors
import pytest
from corpus import CASES, Case, cases_of
from journey import Travelled, travel
from table import PAGE, markdown, part_of_page
from workbench import Workbench

# Much more than it takes, even on a machine that is busy with other things.
pytestmark = pytest.mark.timeout(600)


@pytest.fixture(scope="module")
def travelled(workbench: Workbench) -> Travelled:
    """The corpus, sent once and compared."""
    return travel(workbench)


@pytest.mark.parametrize("case", CASES, ids=[case.name for case in CASES])
def test_values_arrive_as_the_server_prints_them(workbench: Workbench, travelled: Travelled, case: Case) -> None:
    if case not in cases_of(workbench.server_version):
        pytest.skip("values of other versions of the server")
    assert travelled.differences.get(case.name) is None


def test_rows_of_the_catalogs_arrive_as_the_server_prints_them(travelled: Travelled) -> None:
    assert len(travelled.composites) > 150
    assert {name: travelled.differences[name] for name in travelled.composites if name in travelled.differences} == {}


def test_no_other_change_arrives(travelled: Travelled) -> None:
    assert travelled.differences.keys() <= {case.name for case in CASES} | set(travelled.composites)


def test_the_corpus_has_every_type_that_a_column_can_have(workbench: Workbench, travelled: Travelled) -> None:
    """A type that a newer server brings fails here, until the corpus has it."""
    cursor = workbench.cursor
    cursor.execute("""
        select oid::oid, oid::regtype::text from pg_type where oid < 16384 and typisdefined
        and typtype in ('b', 'd', 'e', 'r', 'm', 'c') and typnamespace <> 'pg_toast'::regnamespace""")
    missing = []
    for oid, name in cursor.fetchall():
        if oid in travelled.covered:
            continue
        try:
            cursor.execute(f"create temp table can_be_a_column (v {name})")
            missing.append(name)
            cursor.execute("drop table pg_temp.can_be_a_column")
        except psycopg2.errors.InvalidTableDefinition:
            pass  # a pseudo-type is inside
    assert missing == []


def test_the_documented_tables_are_those_of_the_corpus(travelled: Travelled) -> None:
    """tests/types/table.py --write makes them."""
    assert part_of_page(PAGE.read_text(encoding="utf-8")) == markdown(travelled.seen)

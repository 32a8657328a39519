"""index => 'none' with an index of the user's own, of another method."""

from __future__ import annotations

import pytest

from sidecar.operations.checkup import check_database
from sidecar.operations.findings import Limits
from tests.integration.sql.session import Connection, run, value

_DIMENSIONS = 8
_RANDOM = f"array(select random() - 0.5 from generate_series(1, {_DIMENSIONS}) where n > 0)::vector"
SEARCHES = {
    "sidecar.search": "select count(*) from sidecar.search('items', %s, k => 5)",
    "sidecar.search_exposed": "select count(*) from sidecar.search_exposed('items', %s::vector::real[], k => 5)",
}


@pytest.fixture
def indexed(db: Connection) -> Connection:
    """A watch without an index of ours, with vectors in the row, and an IVFFlat index of its owner."""
    run(db, "create table items (id int primary key, body text)")
    run(db, f"select sidecar.watch('items', 'body', target => 'e', dimensions => {_DIMENSIONS}, index => 'none')")
    run(db, "insert into items select n, 'text ' || n from generate_series(1, 500) n")
    run(db, f"set sidecar.writer = 'on'; update items set e = {_RANDOM} from generate_series(1, 500) n where n = id")
    run(db, "create index own on items using ivfflat (e vector_cosine_ops) with (lists = 10); analyze items")
    run(db, "reset sidecar.writer; set enable_seqscan = off")
    return db


def _scans(db: Connection) -> int:
    run(db, "select pg_stat_force_next_flush(); select pg_stat_clear_snapshot()")
    return int(value(db, "select idx_scan from pg_stat_all_indexes where indexrelname = 'own'"))


@pytest.mark.parametrize("search", SEARCHES)
def test_searches_use_it(indexed: Connection, search: str) -> None:
    before = _scans(indexed)
    vector = value(indexed, "select e::text from items where id = 7")
    assert value(indexed, SEARCHES[search], vector) == 5
    assert _scans(indexed) == before + 1


def test_the_query_of_the_status_uses_it(indexed: Connection) -> None:
    run(indexed, f"prepare nearest as {value(indexed, 'select query from sidecar.status')}")
    vector = value(indexed, "select e::text from items where id = 7")
    plan = "\n".join(row[0] for row in run(indexed, f"explain execute nearest('{vector}')"))
    assert "Index Scan using own on items" in plan


def test_no_statement_of_ours_touches_it(indexed: Connection) -> None:
    assert run(indexed, "select index, index_statement from sidecar.status") == [("none", None)]
    indexes = {"index", "former_index", "maintenance_work_mem", "index_recall"}
    assert not indexes & {finding.check for finding in check_database(indexed, Limits()).findings}

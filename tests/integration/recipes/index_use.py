"""Checks that searches use the index that the sidecar built."""

from __future__ import annotations

import psycopg

from tests.integration.recipes.page import Page
from tests.waiting import wait_until

# Forbidden, because for a few rows they are cheaper than the index.
OTHER_PLANS = ("enable_seqscan", "enable_sort", "enable_bitmapscan")
_WITHOUT_INDEX = """
    select count(*) from sidecar.status s where not exists (
        select from pg_class c join pg_namespace n on n.oid = c.relnamespace
        where n.nspname || '.' || c.relname = s.index)
"""


def check_index_is_used(page: Page, programs: list[str]) -> None:
    """Runs the programs again with other plans forbidden, and fails if one does not scan the index."""
    with psycopg.connect(page.database_url, autocommit=True) as connection:
        await_index(connection)
        for setting in OTHER_PLANS:
            connection.execute(f"alter database {connection.info.dbname} set {setting} = off".encode())
        for program in programs:
            scans = _index_scans(connection)
            page.run(f"python {program}")
            _await_index_scan(connection, scans, program)


def await_index(connection: psycopg.Connection) -> None:
    wait_until(lambda: _index_is_built(connection), "the index to be built", timeout_s=20)


def _index_is_built(connection: psycopg.Connection) -> bool:
    return connection.execute(_WITHOUT_INDEX).fetchone() == (0,)


def _await_index_scan(connection: psycopg.Connection, before: int, program: str) -> None:
    wait_until(lambda: _index_scans(connection) > before, f"{program} to use the index")


def _index_scans(connection: psycopg.Connection) -> int:
    query = "select coalesce(sum(idx_scan), 0) from pg_stat_user_indexes where indexrelname like '%hnsw%'"
    row = connection.execute(query).fetchone()
    assert row is not None
    return int(row[0])

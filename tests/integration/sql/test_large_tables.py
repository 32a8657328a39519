"""What a sidecar, an operator and monitoring ask for reads no more of a large table than of a small one."""

from __future__ import annotations

import re

import pytest

from sidecar.operations.checkup import check_database
from sidecar.operations.findings import Checkup, Limits
from tests.integration.sql.session import Connection, run, value

ROWS = 120_000
EVENTS = 160_000  # over 16 MB, from where on they are not counted one by one
MAX_PAGES = 700  # of the thousands that the tables below have


def pages_read(db: Connection, query: str) -> int:
    """Pages of 8 kB that a query reads, from memory or not, once the catalogs are cached and dead rows are marked."""
    run(db, query)
    plan = "\n".join(line for (line,) in run(db, f"explain (analyze, buffers, timing off, summary off) {query}"))
    found = re.search(r"Buffers: shared(?: hit=(\d+))?(?: read=(\d+))?", plan)
    assert found, plan
    return int(found[1] or 0) + int(found[2] or 0)


@pytest.fixture
def db(committed: Connection) -> Connection:
    run(committed, "create table items (id bigint primary key, title text)")
    run(
        committed,
        "select sidecar.watch('items', source => 'title', dimensions => 3, index => 'none', companion => 'vectors')",
    )
    run(committed, "update sidecar_internal.scans set finished_at = now()")
    return committed


def fill_ledger(db: Connection) -> None:
    """Entries of ROWS rows, in generations from 1,000,000 on."""
    run(
        db,
        "insert into sidecar_internal.ledger_1 (k1, gen, content_hash, vector_digest)"
        f" select i, 1000000 + i, sha256('x'), sha256('y') from generate_series(1, {ROWS}) i",
    )
    run(db, "vacuum analyze sidecar_internal.ledger_1")


def test_a_sidecar_that_starts_reads_no_large_ledger_while_the_sequence_is_ahead_of_it(db: Connection) -> None:
    fill_ledger(db)
    run(db, "update sidecar_internal.progress set drawn = 1999999, drawn_at = updated_at")
    run(db, "select setval('sidecar_internal.generation', 2000000)")
    assert pages_read(db, "select sidecar_internal.raise_generation()") < MAX_PAGES
    assert value(db, "select nextval('sidecar_internal.generation')") == 2_000_001


@pytest.mark.parametrize("recorded", [None, 1_000_010])
def test_a_sequence_that_was_lost_is_raised_above_a_large_ledger_too(db: Connection, recorded: int | None) -> None:
    fill_ledger(db)
    run(db, "update sidecar_internal.progress set drawn = %s, drawn_at = updated_at", recorded)
    run(db, "alter sequence sidecar_internal.generation restart with 1")
    run(db, "select sidecar_internal.raise_generation()")
    assert value(db, "select nextval('sidecar_internal.generation')") > 1_000_000 + ROWS


def test_results_that_an_older_sidecar_recorded_are_not_forgotten_by_a_sequence_that_was_lost(db: Connection) -> None:
    run(db, "update sidecar_internal.progress set drawn = 10, drawn_at = updated_at")
    fill_ledger(db)
    run(db, "update sidecar_internal.progress set embedded_total = 10, updated_at = clock_timestamp()")
    run(db, "select setval('sidecar_internal.generation', 5000)")
    run(db, "select sidecar_internal.raise_generation()")
    assert value(db, "select nextval('sidecar_internal.generation')") > 1_000_000 + ROWS


def test_status_does_not_read_the_pages_of_events_that_are_done(db: Connection) -> None:
    run(db, f"insert into sidecar_internal.events_1 (k1) select i from generate_series(1, {EVENTS}) i")
    run(db, "delete from sidecar_internal.events_1 where k1 < 140000")
    run(db, "vacuum sidecar_internal.events_1")
    assert value(db, "select pg_relation_size('sidecar_internal.events_1')") > MAX_PAGES * 8192
    assert pages_read(db, "select * from sidecar.status") < MAX_PAGES


def checkup_of(db: Connection, name: str) -> list[str]:
    checkup: Checkup = check_database(db, Limits())
    assert name not in [missed.check for missed in checkup.not_checked]
    return [f"{finding.severity}: {finding.what}" for finding in checkup.findings if finding.check == name]


def test_doctor_looks_for_vectors_without_a_row_in_a_sample_of_a_large_companion(db: Connection) -> None:
    run(db, f"insert into vectors select i, '[1,2,3]' from generate_series(1, {ROWS}) i")
    run(db, "vacuum analyze")
    found = "select sidecar_internal.count_vectors_without_row(w, 1000000) from sidecar_internal.watches w"
    assert 0.2 * ROWS < value(db, found) < 0.8 * ROWS
    assert checkup_of(db, "companion_orphans") == ["warning: at least 10000 rows no longer have a row in public.items"]


def test_doctor_compares_no_vectors_while_the_queue_is_long(db: Connection) -> None:
    run(db, "insert into vectors values (1, '[1,2,3]')")
    run(db, f"insert into sidecar_internal.events_1 (k1) select i from generate_series(2, {EVENTS}) i")
    run(db, "vacuum analyze sidecar_internal.events_1")
    assert checkup_of(db, "companion_orphans") == []
    assert checkup_of(db, "strangers") == [
        f"note: about {EVENTS - 1} events wait, so vectors were not compared with what was recorded of them"
    ]


def sweep_ended(db: Connection, ago: str, took: str) -> None:
    run(
        db,
        "insert into sidecar_internal.scans (watch_id, purpose, started_at, finished_at)"
        f" values (1, 'sweep', now() - interval '{ago}' - interval '{took}', now() - interval '{ago}')"
        " on conflict (watch_id, purpose)"
        " do update set started_at = excluded.started_at, finished_at = excluded.finished_at",
    )


@pytest.mark.parametrize(
    ("ago", "took", "is_due"),
    [
        ("61 min", "1 min", True),  # a small table: every hour
        ("8 h", "1 h", False),  # a tenth of the time
        ("10 h", "1 h", True),
        ("23 h", "9 h", False),
        ("25 h", "9 h", True),  # a day at most
    ],
)
def test_a_long_sweep_is_followed_by_a_long_rest(db: Connection, ago: str, took: str, is_due: bool) -> None:
    sweep_ended(db, ago, took)
    assert value(db, "select sidecar_internal.start_sweeps(array[1], 3600)") == int(is_due)


def test_tombstones_are_deleted_in_parts_and_the_caller_learns_whether_some_are_left(db: Connection) -> None:
    run(db, "insert into sidecar_internal.ledger_1 (k1, gen) select i, i from generate_series(1, 6000) i")
    delete = "select watch_id, deleted, trouble from sidecar_internal.delete_tombstones_v2(array[1], array[0])"
    assert [run(db, delete) for _ in range(3)] == [[(1, 5000, None)], [(1, 1000, None)], [(1, 0, None)]]

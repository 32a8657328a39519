"""`sidecar.status` reads only a bounded part of large tables, ledgers and trees."""

from __future__ import annotations

from typing import Any

import pytest

from tests.integration.sql.session import Connection, run, value

WATCH = "select sidecar.watch('items', source => 'title', dimensions => 3, index => 'none')"


def status(db: Connection) -> dict[str, Any]:
    columns = "rows, embedded, pending, failed, empty, truncated, estimated"
    [row] = run(db, f"select {columns} from sidecar.status")
    return dict(zip(columns.split(", "), row, strict=True))


def fill_ledger(db: Connection, watch_id: int, first: int, last: int, what: str, truncated: str = "false") -> None:
    digest = "sha256('x')" if what.startswith("sha256") else "null"
    run(
        db,
        f"insert into sidecar_internal.ledger_{watch_id} (k1, gen, content_hash, vector_digest, truncated) "
        f"select i, 1, {what}, {digest}, {truncated} from generate_series({first}, {last}) i",
    )


@pytest.fixture
def watch_id(db: Connection) -> int:
    run(db, "create table items (id bigint primary key, title text)")
    number: int = value(db, WATCH)
    run(db, "update sidecar_internal.scans set finished_at = now()")
    return number


def test_truncated_texts_are_not_in_the_index_of_exceptions(db: Connection, watch_id: int) -> None:
    fill_ledger(db, watch_id, 1, 5000, "sha256('x')", truncated="true")
    sizes = run(
        db,
        "select indexrelid::regclass::text, pg_relation_size(indexrelid) from pg_index "
        f"where indrelid = 'sidecar_internal.ledger_{watch_id}'::regclass and indpred is not null",
    )
    assert dict(sizes) == {
        f"sidecar_internal.ledger_{watch_id}_tombstones": 8192,
        f"sidecar_internal.ledger_{watch_id}_exceptions": 8192,
    }
    assert status(db)["truncated"] == 5000


def test_for_a_large_ledger_failed_and_empty_rows_are_counted_and_truncated_texts_estimated(
    db: Connection, watch_id: int
) -> None:
    fill_ledger(db, watch_id, 1, 120_000, "sha256(i::text::bytea)", truncated="i % 4 = 0")
    fill_ledger(db, watch_id, 200_001, 200_007, "'empty'")
    fill_ledger(db, watch_id, 300_001, 300_003, "'failed'")
    fill_ledger(db, watch_id, 400_001, 400_100, "null")
    run(
        db,
        "insert into sidecar_internal.failures (watch_id, key, gen, attempts, reason, message) "
        "select %s, jsonb_build_object('id', i), 1, 5, 'too_big', 'x' from generate_series(300001, 300003) i",
        watch_id,
    )
    run(db, f"analyze sidecar_internal.ledger_{watch_id}")

    estimate = status(db)

    assert estimate["estimated"]
    assert (estimate["empty"], estimate["failed"]) == (7, 3)
    assert estimate["truncated"] == pytest.approx(30_000, rel=0.25)
    assert estimate["embedded"] == pytest.approx(120_000, rel=0.02)
    exact = run(db, "select embedded, failed, empty, truncated, estimated from sidecar.status_exact('items')")
    assert exact == [(120_000, 3, 7, 30_000, False)]


def test_a_partition_that_was_never_analysed_does_not_cause_a_full_count(db: Connection) -> None:
    run(
        db,
        """
        create table items (id bigint primary key, title text, filler text default repeat('x', 1000))
            partition by range (id);
        alter table items alter filler set storage plain;
        create table items_1 partition of items for values from (1) to (100000);
        create table items_2 partition of items for values from (100000) to (200000);
        insert into items select i, 'x' from generate_series(1, 20000) i;
        analyze items;
        create table items_3 partition of items for values from (200000) to (300000);
        """,
    )
    run(db, WATCH)
    run(db, "update sidecar_internal.scans set finished_at = now()")
    assert status(db)["estimated"]
    assert status(db)["rows"] == pytest.approx(20_000, rel=0.02)

    run(
        db, "insert into items select i, 'x' from generate_series(200000, 204999) i"
    )  # same rows per page as the others

    assert status(db)["rows"] == pytest.approx(25_000, rel=0.02)


def test_status_locks_no_partition(db: Connection) -> None:
    run(
        db,
        """
        create table items (id bigint primary key, title text) partition by range (id);
        do $$ begin for i in 0..149 loop
            execute format('create table items_%s partition of items for values from (%s) to (%s)',
                           i, i * 10, i * 10 + 10);
        end loop; end $$;
        """,
    )
    run(db, WATCH)
    run(db, "commit")
    try:
        run(db, "begin")
        run(db, "select * from sidecar.status")
        locked = "select count(*) from pg_locks where pid = pg_backend_pid() and relation::regclass::text like 'items%'"
        assert value(db, locked) <= 2
    finally:
        run(db, "rollback")
        run(db, "select sidecar.unwatch('items', drop_target => true)")
        run(db, "drop table items")
        run(db, "commit")


def test_the_length_of_a_long_queue_is_estimated(db: Connection, watch_id: int) -> None:
    run(db, f"insert into sidecar_internal.events_{watch_id} (k1) select i from generate_series(1, 200000) i")
    assert status(db)["pending"] == pytest.approx(200_000, rel=0.05)
    assert status(db)["estimated"]

"""`sidecar.backlog`: what an autoscaler reads. KEDA's trigger in deploy/helm asks for nothing else."""

from __future__ import annotations

import pytest

from tests.integration.sql.queue import embed, fail, finish_backfill, run_a_sidecar, take_events
from tests.integration.sql.session import Connection, another_session, run, value

BACKLOG = "select sidecar.backlog()"


@pytest.fixture
def watch_id(db: Connection) -> int:
    """A watch on an empty table: its backfill is finished, and no sidecar runs."""
    run(db, "create table items (id bigint primary key, title text)")
    number: int = value(db, "select sidecar.watch('items', 'title', target => 'e', dimensions => 3)")
    finish_backfill(db, number)
    return number


def insert(db: Connection, rows: int, first: int = 1) -> None:
    run(db, "insert into items select i, 'x' from generate_series(%s::int, %s::int) i", first, first + rows - 1)


def test_it_is_0_without_any_watch(db: Connection) -> None:
    assert value(db, BACKLOG) == 0


def test_it_counts_the_changes_that_wait_until_they_are_embedded(db: Connection, watch_id: int) -> None:
    assert value(db, BACKLOG) == 0
    insert(db, 3)
    assert value(db, BACKLOG) == 3
    run(db, f"update sidecar_internal.events_{watch_id} set lease_until = now() + interval '1 min'")
    assert value(db, BACKLOG) == 3, "a claimed row is still work, for others if its sidecar dies"
    for key in (1, 2, 3):
        embed(db, watch_id, key)
    assert value(db, BACKLOG) == 0


def test_failed_rows_and_rows_whose_next_attempt_is_not_due_do_not_count(db: Connection, watch_id: int) -> None:
    insert(db, 2)
    fail(db, watch_id, 1)
    take_events(db, watch_id)
    run(
        db,
        f"insert into sidecar_internal.delayed_{watch_id} (gen, k1, enqueued_at, backfill, force, attempts, run_at) "
        "values (1, 2, now(), false, false, 1, now() + interval '1 min')",
    )
    assert value(db, BACKLOG) == 0
    run(db, f"update sidecar_internal.delayed_{watch_id} set run_at = now()")
    assert value(db, BACKLOG) == 1


def test_a_paused_watch_does_not_count(db: Connection, watch_id: int) -> None:
    insert(db, 2)
    run(db, "select sidecar.pause()")
    assert value(db, BACKLOG) == 0
    run(db, "select sidecar.resume()")
    assert value(db, BACKLOG) == 2


@pytest.mark.parametrize(
    "breakage",
    [
        "drop table items",
        "alter table items rename title to name",
        "update sidecar_internal.watches set broken = 'it broke'",
    ],
)
@pytest.mark.usefixtures("watch_id")
def test_a_broken_watch_does_not_count(db: Connection, breakage: str) -> None:
    insert(db, 2)
    run(db, breakage)
    assert value(db, "select state from sidecar.status").startswith("broken: ")
    assert value(db, BACKLOG) == 0


def test_a_watch_that_no_worker_may_work_on_does_not_count(db: Connection, watch_id: int) -> None:
    insert(db, 2)
    for role in ("backlog_worker", "backlog_other"):
        run(db, f"create role {role}; select sidecar.grant_worker('{role}')")
    run(db, "revoke update (e) on items from backlog_worker, backlog_other")
    assert value(db, BACKLOG) == 0
    run(db, "grant update (e) on items to backlog_other")
    assert value(db, BACKLOG) == 2


def test_rows_that_a_backfill_has_still_to_read_count_before_any_sidecar_runs(db: Connection) -> None:
    run(db, "create table items (id bigint primary key, title text)")
    insert(db, 500)
    watch_id = value(db, "select sidecar.watch('items', 'title', target => 'e', dimensions => 3)")
    assert value(db, f"select count(*) from sidecar_internal.events_{watch_id}") == 0
    assert value(db, BACKLOG) == 500
    for key in range(1, 101):
        embed(db, watch_id, key)
    assert value(db, BACKLOG) == 400
    for key in range(101, 501):
        embed(db, watch_id, key)
    assert value(db, BACKLOG) == 1, "its last pages"
    finish_backfill(db, watch_id)
    assert value(db, BACKLOG) == 0


def test_all_rows_count_while_they_are_embedded_again(db: Connection, watch_id: int) -> None:
    insert(db, 20)
    for key in range(1, 21):
        embed(db, watch_id, key)
    run(db, "select sidecar.reembed('items')")
    assert value(db, BACKLOG) == 20
    for key in range(1, 6):
        embed(db, watch_id, key)
    assert value(db, BACKLOG) == 15


@pytest.mark.parametrize(("purpose", "counted"), [("verify", 1), ("clear", 1), ("move", 1), ("sweep", 0)])
def test_a_pass_over_the_table_is_not_cut_off_but_a_sweep_is(
    db: Connection, watch_id: int, purpose: str, counted: int
) -> None:
    run(db, "insert into sidecar_internal.scans (watch_id, purpose) values (%s, %s)", watch_id, purpose)
    assert value(db, BACKLOG) == counted


def test_a_sidecar_that_builds_an_index_is_not_ended(db: Connection, watch_id: int, shared_database_url: str) -> None:
    with another_session(shared_database_url) as builder:
        run(builder, "select pg_advisory_lock(hashtextextended('sidecar.index.' || %s, 0))", watch_id)
        assert value(db, BACKLOG) == 1
    with another_session(shared_database_url) as other:
        run(other, "select pg_advisory_lock(hashtextextended('sidecar.index.' || %s, 0))", watch_id + 1)
        assert value(db, BACKLOG) == 0


@pytest.mark.parametrize(
    ("pinned", "model", "counted"),
    [
        ("model = null", "any", 2),
        ("model = 'hf-hub:org/one'", "org/one", 2),
        ("model = 'org/one'", " hf-hub:org/one", 2),
        ("model = 'org/one'", "org/two", 0),
        ("fingerprint = 'f1', encoder = 'hf-hub:org/one'", "org/one", 2),
        ("fingerprint = 'f1', encoder = 'hf-hub:org/one'", "f1", 2),
        ("fingerprint = 'f1', encoder = 'hf-hub:org/one'", "f2", 0),
        ("fingerprint = 'f1', encoder = 'hf-hub:org/one'", "org/two", 0),
    ],
)
def test_with_a_model_only_watches_that_take_its_vectors_count(
    db: Connection, watch_id: int, pinned: str, model: str, counted: int
) -> None:
    insert(db, 2)
    run(db, f"update sidecar_internal.watches set {pinned} where id = {watch_id}")
    assert value(db, "select sidecar.backlog(%s)", model) == counted
    assert value(db, BACKLOG) == 2


def test_it_is_the_same_with_a_sidecar_that_runs(db: Connection, watch_id: int) -> None:
    insert(db, 2)
    run_a_sidecar(db)
    assert value(db, BACKLOG) == 2


def test_several_watches_add_up_and_a_dropped_one_is_left_out(db: Connection, watch_id: int) -> None:
    insert(db, 2)
    run(db, "create table others (id bigint primary key, title text)")
    finish_backfill(db, value(db, "select sidecar.watch('others', 'title', target => 'e', dimensions => 3)"))
    run(db, "insert into others values (1, 'x')")
    assert value(db, BACKLOG) == 3
    run(db, "select sidecar.unwatch('items')")
    assert value(db, BACKLOG) == 1


def test_a_long_queue_is_estimated_without_being_read(db: Connection, watch_id: int) -> None:
    """It is what is asked every 15 s: its cost must not grow with the queue."""
    run(db, "alter table items disable trigger all")
    run(
        db,
        f"insert into sidecar_internal.events_{watch_id} (k1) select i from generate_series(1, 200000) i; "
        f"analyze sidecar_internal.events_{watch_id}",
    )
    run(db, "alter table items enable trigger all")
    assert value(db, f"select pg_relation_size('sidecar_internal.events_{watch_id}')") > 16 * 1024 * 1024
    run(db, "select pg_stat_force_next_flush()")
    before = value(db, f"select pg_stat_get_xact_tuples_returned('sidecar_internal.events_{watch_id}'::regclass)")
    assert value(db, BACKLOG) == pytest.approx(200_000, rel=0.02)
    after = value(db, f"select pg_stat_get_xact_tuples_returned('sidecar_internal.events_{watch_id}'::regclass)")
    assert after - before < 1000

"""sidecar.status, status_exact and failures."""

from __future__ import annotations

from typing import Any

import psycopg
import pytest
from psycopg.rows import dict_row

from tests.integration.sql.queue import embed, fail, finish_backfill, run_a_sidecar, take_events
from tests.integration.sql.session import Connection, run, value

WATCH = "select sidecar.watch('items', 'title', target => 'e', dimensions => 3)"


def _status(db: psycopg.Connection[Any], query: str = "select * from sidecar.status") -> dict[str, Any]:
    with db.cursor(row_factory=dict_row) as cursor:
        [row] = cursor.execute(query.encode()).fetchall()
    return row


def _exact(db: psycopg.Connection[Any]) -> dict[str, Any]:
    return _status(db, "select * from sidecar.status_exact('items')")


@pytest.fixture
def watch_id(db: Connection) -> int:
    """A watch on ten rows: the backfill is finished, a sidecar runs, and nothing is embedded yet."""
    run(db, "create table items (id bigint primary key, title text, price int)")
    watch: int = value(db, WATCH)
    run(db, "insert into items select i, 'x' from generate_series(1, 10) i")
    finish_backfill(db, watch)
    run_a_sidecar(db)
    return watch


_COUNTS = ("rows", "embedded", "pending", "failed", "empty", "truncated", "unreadable")


def _counts(status: dict[str, Any]) -> dict[str, int]:
    return {name: status[name] for name in _COUNTS}


def test_status_shows_the_columns_of_a_new_watch(db: Connection, watch_id: int) -> None:
    status = _status(db)
    assert (status["relation"], status["target"], status["kind"], status["source"]) == ("items", "e", "text", ["title"])
    assert (status["companion"], status["index"], status["model"], status["fingerprint"]) == (
        None,
        "not built yet",
        None,
        None,
    )
    assert (status["estimated"], status["watch_id"]) == (False, watch_id)
    assert status["state"] == "catching up"
    assert status["oldest_pending"].total_seconds() >= 0


@pytest.mark.parametrize("read", [_status, _exact])
def test_status_counts_embedded_pending_failed_and_empty_rows(db: Connection, watch_id: int, read: Any) -> None:
    for key in range(1, 5):
        embed(db, watch_id, key)
    embed(db, watch_id, 5, content_hash=b"empty")
    fail(db, watch_id, 6)
    embed(db, watch_id, 7, truncated=True)
    embed(db, watch_id, 1, unreadable=True)
    assert _counts(read(db)) == dict(zip(_COUNTS, (10, 5, 3, 1, 1, 1, 1), strict=True))
    assert float(read(db)["coverage"]) == 55.5  # of the nine that have something to embed, never rounded up to 100
    run(db, "update items set title = 'new' where id <= 2")
    run(db, "update items set title = 'newer' where id <= 2")
    assert read(db)["pending"] == 5, "an embedded row with a pending update counts as pending, once"
    run(db, "delete from items where id = 3")
    assert read(db)["pending"] == 6, "so does one whose ledger entry must be deleted"


@pytest.mark.parametrize("read", [_status, _exact])
def test_nothing_is_pending_after_every_row_is_embedded(db: Connection, watch_id: int, read: Any) -> None:
    for key in range(1, 11):
        embed(db, watch_id, key)
    run(db, f"insert into sidecar_internal.ledger_{watch_id} (k1, gen) values (99, 1)")  # a tombstone
    status = read(db)
    assert _counts(status) == dict(zip(_COUNTS, (10, 10, 0, 0, 0, 0, 0), strict=True))
    assert (status["state"], float(status["coverage"]), status["oldest_pending"]) == ("up to date", 100.0, None)


def test_rows_not_yet_reached_by_the_backfill_are_pending(db: Connection) -> None:
    run(db, "create table items (id bigint primary key, title text)")
    run(db, "insert into items select i, 'x' from generate_series(1, 10) i")
    watch_id = value(db, WATCH)
    run_a_sidecar(db)
    assert (_status(db)["pending"], _status(db)["state"]) == (10, "backfilling")
    embed(db, watch_id, 1)
    run(db, "update items set title = 'new' where id in (1, 2)")
    assert _status(db)["pending"] == 10
    run(db, "insert into items values (11, 'x')")
    assert _status(db)["pending"] == 11


def test_only_status_exact_counts_rows_that_no_event_reported(db: Connection, watch_id: int) -> None:
    take_events(db, watch_id)
    assert (_status(db)["pending"], _exact(db)["pending"]) == (0, 10)


def test_a_delayed_event_is_pending(db: Connection, watch_id: int) -> None:
    for key in range(1, 11):
        embed(db, watch_id, key)
    run(
        db,
        f"""
        insert into sidecar_internal.delayed_{watch_id} (gen, k1, enqueued_at, backfill, force, attempts, run_at)
        values (1, 1, clock_timestamp() - interval '1 hour', false, false, 1, now() + interval '1 hour')
        """,
    )
    status = _status(db)
    assert (status["pending"], status["state"]) == (1, "catching up")
    assert 3600 <= status["oldest_pending"].total_seconds() < 3700


def test_a_table_without_rows_has_no_coverage(db: Connection, watch_id: int) -> None:
    run(db, "delete from items")
    assert _status(db)["coverage"] is None


MOVE = "to move it there: select sidecar.reembed('public.items', 'e', model => 'f')"
STATES = {
    "delete from sidecar_internal.sidecars": "no sidecar is running",
    "update sidecar_internal.sidecars set seen_at = now() - interval '31 s'": "no sidecar is running",
    "select sidecar.pause()": "paused",
    "select sidecar.reembed('items')": "backfilling",
    "update sidecar_internal.watches set fingerprint = 'g'":
        f"waiting for a sidecar with fingerprint g and 3 dimensions; running: m (f); {MOVE}",
    "update sidecar_internal.watches set model = 'n'":
        f"waiting for a sidecar with model n and 3 dimensions; running: m (f); {MOVE}",
    "update sidecar_internal.sidecars set dimensions = 4":
        "waiting for a sidecar with any model and 3 dimensions; running: m (f); "
        "watch another target, with dimensions => 4",
    "update sidecar_internal.watches set model = 'm'": "catching up",
    "update sidecar_internal.watches set model = 'f'": "catching up",
    "update sidecar_internal.watches set broken = 'gone'": "broken: gone: call sidecar.watch again",
    "select sidecar_internal.start_scan(watch_id, 'clear') from sidecar.status": "clearing old vectors",
}  # fmt: skip


@pytest.mark.parametrize("change", STATES)
def test_the_state_column_describes_every_situation(db: Connection, watch_id: int, change: str) -> None:
    run(db, change)
    assert _status(db)["state"] == STATES[change]


def test_the_statement_in_the_state_column_moves_the_watch_to_the_running_model(db: Connection, watch_id: int) -> None:
    run(db, "update sidecar_internal.watches set fingerprint = 'g', encoder = 'm'")
    run(db, _status(db)["state"].partition("to move it there: ")[2])
    assert _status(db)["state"] in {"backfilling", "clearing old vectors"}


def test_model_fingerprint_and_lag_are_shown(db: Connection, watch_id: int) -> None:
    run(db, "update sidecar_internal.watches set fingerprint = 'f', encoder = 'm'")
    run(db, "update sidecar_internal.progress set lag_ms = 12.345")
    status = _status(db)
    assert (status["model"], status["fingerprint"], status["lag_ms"]) == ("m", "f", 12.3)


def test_a_large_table_is_estimated_after_analyze_and_follows_its_growth(db: Connection, watch_id: int) -> None:
    run(db, "alter table items add filler text default repeat('x', 1000)")
    run(db, "alter table items alter filler set storage plain")
    run(db, "insert into items select i, 'x' from generate_series(11, 20000) i")
    assert (_status(db)["rows"], _status(db)["estimated"]) == (20000, False), "never analysed: counted"
    run(db, "analyze items")
    assert _status(db)["estimated"]
    assert _status(db)["rows"] == pytest.approx(20000, rel=0.02)
    run(db, "insert into items select i, 'x' from generate_series(20001, 30000) i")
    assert _status(db)["rows"] == pytest.approx(30000, rel=0.02)
    assert (_exact(db)["rows"], _exact(db)["estimated"]) == (30000, False)


def test_an_estimated_table_has_nothing_pending_when_the_queue_is_empty(db: Connection, watch_id: int) -> None:
    run(db, "insert into items select i, repeat('x', 900) from generate_series(11, 20000) i")
    run(db, f"delete from sidecar_internal.events_{watch_id}")
    run(db, "analyze items")
    status = _status(db)
    assert (status["estimated"], status["pending"], status["state"]) == (True, 0, "up to date")


def test_partitions_are_estimated_together(db: Connection) -> None:
    run(
        db,
        """
        create table items (id bigint primary key, title text) partition by range (id);
        create table low partition of items for values from (0) to (10000);
        create table high partition of items for values from (10000) to (100000);
        insert into items select i, repeat('x', 900) from generate_series(1, 20000) i;
        """,
    )
    run(db, WATCH)
    assert (_status(db)["rows"], _status(db)["estimated"]) == (20000, False)
    run(db, "analyze low; analyze high")
    status = _status(db)
    assert (status["rows"], status["estimated"]) == (pytest.approx(20000, rel=0.02), True)


def test_failures_show_key_reason_and_attempts(db: Connection, watch_id: int) -> None:
    fail(db, watch_id, 3, "not_a_picture", "these are words")
    assert run(
        db, "select relation::text, target, key, reason, message, attempts, at <= now() from sidecar.failures"
    ) == [("items", "e", {"id": 3}, "not_a_picture", "these are words", 1, True)]
    run(db, "select sidecar.unwatch('items')")
    assert run(db, "select * from sidecar.failures") == []


def test_status_exact_accepts_one_table(db: Connection, watch_id: int) -> None:
    run(db, "create table others (id int primary key, title text)")
    run(db, "select sidecar.watch('others', 'title', dimensions => 3)")
    assert value(db, "select count(*) from sidecar.status") == 2
    assert value(db, "select relation::text from sidecar.status_exact('others')") == "others"


def test_status_shows_other_watches_while_the_tables_of_one_are_being_dropped(db: Connection, watch_id: int) -> None:
    run(db, "create table others (id int primary key, title text)")
    run(db, "select sidecar.watch('others', 'title', dimensions => 3)")
    run(db, f"drop table sidecar_internal.ledger_{watch_id}")
    warnings: list[str] = []
    db.add_notice_handler(lambda notice: warnings.append(notice.message_primary or ""))
    assert _status(db)["relation"] == "others"
    assert warnings == [f'watch {watch_id} is left out: relation "sidecar_internal.ledger_{watch_id}" does not exist']


def test_status_plans_its_catalog_queries_once_for_all_watches(db: Connection) -> None:
    """Planning per watch took a fifth of the time with 300 watches, too little to measure on a busy machine."""
    settings = "select proconfig from pg_proc where oid = 'sidecar_internal.status_of(regclass, boolean)'::regprocedure"
    assert "plan_cache_mode=force_generic_plan" in value(db, settings)


@pytest.mark.parametrize("read", [_status, _exact])
def test_rows_that_are_embedded_again_are_outdated_until_they_have_been(
    db: Connection, watch_id: int, read: Any
) -> None:
    for key in range(1, 10):
        embed(db, watch_id, key)
    fail(db, watch_id, 10)
    names = ("embedded", "outdated", "pending", "failed", "retrying")
    assert [read(db)[name] for name in names] == [9, 0, 0, 1, 0]
    run(db, "select sidecar.reembed('items')")
    assert [read(db)[name] for name in names] == [9, 9, 10, 1, 1], "also those that the scan has not come to"
    embed(db, watch_id, 1)
    assert [read(db)[name] for name in names] == [9, 8, 9, 1, 1]
    run(db, "update items set title = 'new' where id in (1, 2)")
    assert [read(db)[name] for name in names] == [9, 9, 10, 1, 1], "a row that waits for two reasons counts once"
    finish_backfill(db, watch_id)
    assert [read(db)[name] for name in names] == [9, 2, 2, 1, 0]


def test_a_failed_row_that_changed_is_being_tried_again(db: Connection, watch_id: int) -> None:
    for key in range(1, 9):
        embed(db, watch_id, key)
    fail(db, watch_id, 9)
    fail(db, watch_id, 10)
    status = _status(db)
    assert (status["state"], status["failed"], status["retrying"]) == ("up to date, but 2 rows failed", 2, 0)
    run(db, "update items set title = 'new' where id = 9")
    status = _status(db)
    assert (status["state"], status["failed"], status["retrying"]) == ("catching up", 2, 1)
    assert (status["pending"], status["health"]) == (1, "warning")


HEALTH = {
    "select 1": "ok",
    "delete from sidecar_internal.sidecars": "warning",
    "delete from sidecar_internal.sidecars; update items set title = 'new'": "problem",
    "update items set title = 'new'": "working",
    "select sidecar.reembed('items')": "working",
    "select sidecar.pause()": "warning",
    "update sidecar_internal.watches set fingerprint = 'g'": "problem",
    "update sidecar_internal.watches set broken = 'gone'": "problem",
    "insert into sidecar_internal.index_failures (watch_id, message, next_try_at) "
    "select watch_id, 'no room', now() from sidecar.status": "warning",
}


@pytest.mark.parametrize("change", HEALTH)
def test_health_is_one_word_for_programs(db: Connection, watch_id: int, change: str) -> None:
    for key in range(1, 11):
        embed(db, watch_id, key)
    run(db, change)
    assert _status(db)["health"] == HEALTH[change]


def test_a_failed_row_is_a_warning(db: Connection, watch_id: int) -> None:
    fail(db, watch_id, 1)
    assert _status(db)["health"] == "warning"


def test_texts_that_were_cut_are_listed_by_key(db: Connection, watch_id: int) -> None:
    embed(db, watch_id, 7, truncated=True)
    embed(db, watch_id, 3, truncated=True)
    embed(db, watch_id, 4, unreadable=True)
    assert run(db, "select key from sidecar.truncated_texts('items')") == [({"id": 3},), ({"id": 7},)]
    assert run(db, "select key from sidecar.truncated_texts('items', 'e', max_rows => 1)") == [({"id": 3},)]
    assert run(db, "select key from sidecar.unreadable_texts('items')") == [({"id": 4},)]
    assert run(
        db,
        "select i.id, i.title from items i join sidecar.truncated_texts('items', max_rows => null) t "
        "on i.id = (t.key->>'id')::bigint order by i.id",
    ) == [(3, "x"), (7, "x")]
    with pytest.raises(psycopg.errors.InvalidParameterValue, match="max_rows is 0"):
        run(db, "select sidecar.truncated_texts('items', max_rows => 0)")

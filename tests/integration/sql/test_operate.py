"""pause, resume, retry, reembed."""

from __future__ import annotations

import pytest

from tests.integration.sql.queue import embed, fail, finish_backfill, run_a_sidecar, take_events
from tests.integration.sql.session import Connection, refused, run, value, warnings_of


@pytest.fixture
def watch_id(db: Connection) -> int:
    run(db, "create table items (id bigint primary key, title text)")
    watch: int = value(db, "select sidecar.watch('items', 'title', target => 'e', dimensions => 3)")
    run(db, "insert into items select i, 'x' from generate_series(1, 5) i")
    take_events(db, watch)
    return watch


def test_pause_and_resume_apply_to_one_watch_a_table_or_all(db: Connection, watch_id: int) -> None:
    run(db, "create table others (id int primary key, title text)")
    run(db, "select sidecar.watch('items', 'title', target => 'f', dimensions => 3)")
    run(db, "select sidecar.watch('others', 'title', target => 'e', dimensions => 3)")
    paused = "select relation::text, target from sidecar_internal.watches where paused order by 1, 2"
    assert value(db, "select sidecar.pause('items', 'e')") == 1
    assert run(db, paused) == [("items", "e")]
    assert value(db, "select sidecar.pause('items')") == 1
    assert run(db, paused) == [("items", "e"), ("items", "f")]
    assert value(db, "select sidecar.pause()") == 1
    assert value(db, "select sidecar.pause()") == 0
    assert value(db, "select sidecar.resume('items', target => 'f')") == 1
    assert run(db, paused) == [("items", "e"), ("others", "e")]
    assert value(db, "select sidecar.resume()") == 2
    assert run(db, paused) == []


@pytest.mark.parametrize("call", ["pause", "resume"])
def test_pausing_an_unwatched_table_is_an_error(db: Connection, watch_id: int, call: str) -> None:
    run(db, "create table others (id int primary key)")
    with refused(db, "42704", "table public.others is not watched", ""):
        run(db, f"select sidecar.{call}('others')")
    with refused(db, "42704", "has no watch with target 'f'", "Its targets: 'e'"):
        run(db, f"select sidecar.{call}('items', 'f')")
    with refused(db, "22023", "target 'e' is named without its table", "Name the table"):
        run(db, f"select sidecar.{call}(target => 'e')")


def test_changes_are_enqueued_while_paused(db: Connection, watch_id: int) -> None:
    run(db, "select sidecar.pause()")
    run(db, "insert into items values (6, 'x')")
    assert take_events(db, watch_id) == [(6,)]


def test_retry_enqueues_failed_rows_by_key_or_reason_or_all(db: Connection, watch_id: int) -> None:
    fail(db, watch_id, 1, "not_a_picture")
    fail(db, watch_id, 2, "not_a_picture")
    fail(db, watch_id, 3, "decode_timeout")
    assert value(db, "select sidecar.retry('items', 'e', key => '{\"id\": 1}')") == 1
    assert take_events(db, watch_id, "k1, force, backfill, attempts") == [(1, True, False, 0)]
    assert value(db, "select sidecar.retry('items', reason => 'not_a_picture')") == 2
    assert sorted(take_events(db, watch_id)) == [(1,), (2,)]
    assert value(db, "select sidecar.retry('items')") == 3
    assert sorted(take_events(db, watch_id)) == [(1,), (2,), (3,)]
    assert value(db, "select sidecar.retry('items', key => '{\"id\": 4}')") == 0
    assert value(db, "select sidecar.retry('items', key => '{\"id\": 1}', reason => 'decode_timeout')") == 0
    assert value(db, "select count(*) from sidecar.failures") == 3, "only a completion deletes failures"


@pytest.mark.parametrize("key", ['{"id": "1"}', '{"id": " 1 "}'])
def test_retry_accepts_every_spelling_of_a_key_that_its_type_accepts(db: Connection, watch_id: int, key: str) -> None:
    fail(db, watch_id, 1)
    assert value(db, "select sidecar.retry('items', key => %s)", key) == 1


def test_a_timestamp_key_is_found_under_any_datestyle_and_timezone(db: Connection) -> None:
    run(db, "create table readings (at timestamptz, day date, took interval, note text, primary key (at, day, took))")
    watch_id = value(db, "select sidecar.watch('readings', 'note', dimensions => 3)")
    run(db, "set local timezone = 'UTC'")
    run(
        db,
        """
        insert into sidecar_internal.failures (watch_id, key, gen, attempts, reason, message)
        values (%s, jsonb_build_object('at', timestamptz '2026-03-01 12:00+00', 'day', date '2026-03-01',
                                       'took', interval '90 min'), 1, 1, 'x', 'y')
        """,
        watch_id,
    )
    run(db, "set local timezone = 'Asia/Tokyo'; set local datestyle = 'SQL, DMY'; set local intervalstyle = 'iso_8601'")
    key = '{"at": "2026-03-01T21:00:00+09:00", "day": "2026-03-01", "took": "PT1H30M"}'
    assert value(db, "select sidecar.retry('readings', key => %s)", key) == 1


@pytest.mark.parametrize("key", ['{"nr": 1}', '{"id": 1, "nr": 2}', "{}", "[1]", "1", "null"])
def test_a_key_with_wrong_columns_is_an_error_that_names_the_right_ones(
    db: Connection, watch_id: int, key: str
) -> None:
    with refused(db, "22023", "does not name the key columns of public.items", "key => '{\"id\": [.]{3}}'"):
        run(db, "select sidecar.retry('items', key => %s)", key)


def test_reembed_enqueues_all_rows_with_force(db: Connection, watch_id: int) -> None:
    finish_backfill(db, watch_id)
    run(db, "update sidecar_internal.scans set last_key = '{5}'")
    run(db, "select sidecar.reembed('items')")
    assert run(db, "select purpose, force, last_key, finished_at from sidecar_internal.scans") == [
        ("backfill", True, None, None)
    ]


@pytest.mark.parametrize(
    ("model", "pinned", "wanted", "scans"),
    [
        (None, "f", None, ["backfill"]),
        ("f", "f", None, ["backfill"]),
        ("m", "f", None, ["backfill"]),
        ("other", None, "other", ["backfill", "clear"]),
        ("any", None, None, ["backfill", "clear"]),
    ],
)
def test_reembed_with_another_model_resets_the_fingerprint_and_clears_the_vectors_first(
    db: Connection, watch_id: int, model: str | None, pinned: str | None, wanted: str | None, scans: list[str]
) -> None:
    run(db, "update sidecar_internal.watches set fingerprint = 'f', encoder = 'm'")
    run(db, "select sidecar.reembed('items', model => %s)", model)
    assert run(db, "select fingerprint, model from sidecar_internal.watches") == [(pinned, wanted)]
    assert run(db, "select purpose from sidecar_internal.scans where finished_at is null order by 1") == [
        (s,) for s in scans
    ]


@pytest.mark.parametrize("model", ["m", "f"])
def test_reembed_with_a_model_of_other_dimensions_is_refused_and_changes_nothing(
    db: Connection, watch_id: int, model: str
) -> None:
    """Otherwise the vectors would be cleared and could never be written again."""
    run(db, "update sidecar_internal.watches set fingerprint = 'older', encoder = 'older'")
    run_a_sidecar(db, dimensions=512)
    message = f"{model} makes vectors of 512 dimensions, which public.items.e cannot hold: they have 3"
    with refused(db, "22023", message, "Nothing was changed. Watch another target, with dimensions => 512."):
        run(db, "select sidecar.reembed('items', model => %s)", model)
    assert value(db, "select fingerprint from sidecar_internal.watches") == "older"


def test_reembed_warns_about_a_model_that_no_sidecar_runs(db: Connection, watch_id: int) -> None:
    run_a_sidecar(db)
    with warnings_of(db) as warnings:
        run(db, "select sidecar.reembed('items', model => 'mispelt')")
    [warning] = warnings
    assert "no running sidecar has the model mispelt and 3 dimensions (running: m (f, 3 dimensions))" in warning
    with warnings_of(db) as warnings:
        run(db, "select sidecar.reembed('items', model => 'm')")
        run(db, "select sidecar.reembed('items', model => 'any')")
    assert warnings == []


def test_a_watch_without_vectors_has_nothing_to_clear(db: Connection, watch_id: int) -> None:
    run(db, "select sidecar.reembed('items', model => 'other')")
    assert run(db, "select purpose, force from sidecar_internal.scans") == [("backfill", True)]
    assert value(db, "select model from sidecar_internal.watches") == "other"


def test_a_second_reembed_restarts_the_scan_and_keeps_the_first_ones_force(db: Connection, watch_id: int) -> None:
    run(db, "select sidecar.reembed('items')")
    run(db, "update sidecar_internal.scans set last_key = '{3}'")
    run(db, "select sidecar_internal.start_scan(%s, 'backfill')", watch_id)
    assert run(db, "select force, last_key from sidecar_internal.scans") == [(True, None)]
    finish_backfill(db, watch_id)
    run(db, "select sidecar_internal.start_scan(%s, 'backfill')", watch_id)
    assert run(db, "select force from sidecar_internal.scans") == [(False,)]


def test_raise_generation_moves_the_sequence_above_every_generation_in_use(db: Connection, watch_id: int) -> None:
    def after_restore(table: str, columns: str, values: str) -> int:
        """Simulates a restore of the rows without the sequence."""
        with db.transaction(force_rollback=True):
            run(db, f"insert into sidecar_internal.{table}_{watch_id} ({columns}) values ({values})")
            run(db, "alter sequence sidecar_internal.generation restart with 1")
            run(db, "select sidecar_internal.raise_generation()")
            return int(value(db, "select nextval('sidecar_internal.generation')"))

    assert after_restore("events", "gen, k1", "1000000, 1") > 1000000
    assert after_restore("ledger", "gen, k1", "2000000, 1") > 2000000
    assert after_restore("delayed", "gen, k1, enqueued_at, backfill, force, attempts, run_at",
                         "3000000, 1, now(), false, false, 1, now()") > 3000000  # fmt: skip
    run(db, "update sidecar_internal.watches set truncated_gen = 4000000")
    run(db, "select sidecar_internal.raise_generation()")
    assert value(db, "select nextval('sidecar_internal.generation')") > 4000000


def test_raise_generation_keeps_a_sequence_that_is_already_above(db: Connection, watch_id: int) -> None:
    embed(db, watch_id, 1)
    last = value(db, "select last_value from sidecar_internal.generation")
    run(db, "select sidecar_internal.raise_generation()")
    assert value(db, "select nextval('sidecar_internal.generation')") == last + 1

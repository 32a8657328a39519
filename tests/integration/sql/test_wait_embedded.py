"""call sidecar.wait_embedded: insert, commit, wait, search."""

from __future__ import annotations

import json
import re
from concurrent.futures import ThreadPoolExecutor

import pytest
from psycopg.types.json import Jsonb

from tests.integration.sql.queue import embed, fail, run_a_sidecar
from tests.integration.sql.session import Connection, another_session, refused, run, value
from tests.waiting import wait_until

CALL = """call sidecar.wait_embedded('items', '{"id": 1}', timeout_ms => 0)"""


@pytest.fixture
def watch_id(tidied: Connection) -> int:
    """A watch on rows 1 to 3, which have no vector yet."""
    run(tidied, "create table items (id bigint primary key, title text, price int)")
    watch: int = value(tidied, "select sidecar.watch('items', 'title', target => 'e', dimensions => 3)")
    run(tidied, "insert into items select i, 'x' from generate_series(1, 3) i")
    return watch


def test_wait_embedded_returns_once_the_row_is_embedded(
    shared_database_url: str, tidied: Connection, watch_id: int
) -> None:
    def wait() -> None:
        with another_session(shared_database_url) as session:
            run(session, """call sidecar.wait_embedded('items', '{"id": 1}', timeout_ms => 20000)""")

    with ThreadPoolExecutor() as threads:
        waiting = threads.submit(wait)
        sleeps = "select count(*) from pg_stat_activity where datname = current_database() and wait_event = 'PgSleep'"
        wait_until(lambda: value(tidied, sleeps) == 1, "the call to wait")
        assert not waiting.done()
        embed(tidied, watch_id, 1)
        waiting.result(timeout=10)


def test_wait_embedded_returns_at_once_for_an_embedded_row(tidied: Connection, watch_id: int) -> None:
    embed(tidied, watch_id, 1)
    run(tidied, CALL)
    run(tidied, "update items set price = 1")
    run(tidied, CALL)


def test_an_empty_row_counts_as_embedded(tidied: Connection, watch_id: int) -> None:
    embed(tidied, watch_id, 1, content_hash=b"empty")
    run(tidied, CALL)


def test_a_timeout_is_an_error_that_says_why_the_row_is_not_embedded(tidied: Connection, watch_id: int) -> None:
    message = r'row {"id": 1} of public.items was not embedded within 0 ms'
    with refused(tidied, "SC001", message, "The watch on e: no sidecar is running"):
        run(tidied, CALL)
    run_a_sidecar(tidied)
    with refused(tidied, "SC001", message, "The watch on e: backfilling"):
        run(tidied, CALL)
    run(tidied, "select sidecar.pause()")
    with refused(tidied, "SC001", message, "The watch on e: paused"):
        run(tidied, CALL)


def test_a_changed_row_is_waited_for_again(tidied: Connection, watch_id: int) -> None:
    embed(tidied, watch_id, 1)
    run(tidied, "update items set title = 'new'")
    with refused(tidied, "SC001", "was not embedded", ""):
        run(tidied, CALL)


def test_a_row_with_a_delayed_event_is_waited_for(tidied: Connection, watch_id: int) -> None:
    embed(tidied, watch_id, 1)
    run(
        tidied,
        f"""
        insert into sidecar_internal.delayed_{watch_id} (gen, k1, enqueued_at, backfill, force, attempts, run_at)
        values (nextval('sidecar_internal.generation'), 1, now(), false, false, 1, now() + interval '1 hour')
        """,
    )
    with refused(tidied, "SC001", "was not embedded", ""):
        run(tidied, CALL)


def test_an_edit_is_waited_for_after_a_scan_with_a_higher_generation_wrote_the_old_content(
    shared_database_url: str, tidied: Connection, watch_id: int
) -> None:
    """Generations do not order contents: the edit's is lower than the scan's, but it committed after the scan read."""
    embed(tidied, watch_id, 1)
    with another_session(shared_database_url, autocommit=False) as editor:
        run(editor, "update items set title = 'new' where id = 1")
        scanned = value(
            tidied, f"insert into sidecar_internal.events_{watch_id} (k1, backfill) values (1, true) returning gen"
        )
        editor.commit()
    run(tidied, f"update sidecar_internal.ledger_{watch_id} set gen = %s where k1 = 1", scanned)
    run(tidied, f"delete from sidecar_internal.events_{watch_id} where gen = %s", scanned)
    with refused(tidied, "SC001", "was not embedded", ""):
        run(tidied, CALL)
    run(tidied, f"delete from sidecar_internal.events_{watch_id} where k1 = 1")
    run(tidied, CALL)


def delay(db: Connection, watch_id: int) -> None:
    """Delays the event, as the sidecar does after a failed attempt."""
    run(
        db,
        f"""
        with moved as (delete from sidecar_internal.events_{watch_id} where k1 = 1 and attempts < 7 returning *)
        insert into sidecar_internal.delayed_{watch_id} (gen, k1, enqueued_at, backfill, force, attempts, run_at)
        select gen, k1, enqueued_at, backfill, force, attempts + 1, now() from moved
        """,
    )


def return_due(db: Connection, watch_id: int) -> None:
    run(
        db,
        f"""
        with due as (delete from sidecar_internal.delayed_{watch_id} returning *)
        insert into sidecar_internal.events_{watch_id} (k1, enqueued_at, backfill, force, attempts)
        select k1, enqueued_at, backfill, force, attempts from due
        """,
    )


def test_an_event_is_followed_through_delays_and_later_events_are_not_waited_for(
    shared_database_url: str, tidied: Connection, watch_id: int
) -> None:
    embed(tidied, watch_id, 1)
    run(tidied, "update items set title = 'new' where id = 1")
    done: list[bool] = []

    def wait() -> bool:
        with another_session(shared_database_url) as session:
            run(session, """call sidecar.wait_embedded('items', '{"id": 1}', timeout_ms => 20000)""")
        return bool(done)

    with ThreadPoolExecutor() as threads:
        waiting = threads.submit(wait)
        sleeps = "select count(*) from pg_stat_activity where datname = current_database() and wait_event = 'PgSleep'"
        wait_until(lambda: value(tidied, sleeps) == 1, "the call to wait")
        for _ in range(5):
            delay(tidied, watch_id)
            wait_until(lambda: value(tidied, sleeps) == 1, "the call to wait for what is put off")
            return_due(tidied, watch_id)
            wait_until(lambda: value(tidied, sleeps) == 1, "the call to wait for what came back")
        run(tidied, f"insert into sidecar_internal.events_{watch_id} (k1, attempts) values (1, 7)")
        done.append(True)
        run(tidied, f"delete from sidecar_internal.events_{watch_id} where k1 = 1 and attempts < 7")
        assert waiting.result(timeout=10), "the event was not followed"
    assert value(tidied, f"select count(*) from sidecar_internal.events_{watch_id} where k1 = 1") == 1


def test_a_pending_truncate_is_waited_for(tidied: Connection, watch_id: int) -> None:
    """Clearing it may delete ledger entry and vector of a row that was inserted again."""
    embed(tidied, watch_id, 1)
    run(tidied, f"insert into sidecar_internal.events_{watch_id} default values")
    with refused(tidied, "SC001", "was not embedded", ""):
        run(tidied, CALL)
    run(tidied, f"delete from sidecar_internal.events_{watch_id} where k1 is null")
    run(tidied, CALL)


@pytest.mark.parametrize(
    ("key", "other"),
    [("7", '"7"'), ('"7"', "7"), ('{"a": [1, null]}', '{"a": [1]}'), ("null", '"null"'), ('""', "[]")],
)
def test_a_jsonb_key_column_is_passed_as_its_json_value(tidied: Connection, key: str, other: str) -> None:
    run(tidied, "create table others (id jsonb primary key, title text)")
    watch = value(tidied, "select sidecar.watch('others', 'title', target => 'e', dimensions => 3)")
    run(tidied, "insert into others values (%s::jsonb, 'x')", key)
    call = "call sidecar.wait_embedded('others', jsonb_build_object('id', %s::jsonb), timeout_ms => 0)"
    with refused(tidied, "SC001", "was not embedded", ""):
        run(tidied, call, key)
    with refused(tidied, "02000", "has no row", ""):
        run(tidied, call, other)
    embed(tidied, watch, Jsonb(json.loads(key)))
    run(tidied, call, key)
    run(
        tidied,
        "insert into sidecar_internal.failures (watch_id, key, gen, attempts, reason, message)"
        " values (%s, jsonb_build_object('id', %s::jsonb), 1, 1, 'x', 'y')",
        watch,
        key,
    )
    retry = "select sidecar.retry('others', key => jsonb_build_object('id', %s::jsonb))"
    assert value(tidied, retry, other) == 0
    assert value(tidied, retry, key) == 1
    assert value(tidied, f"select k1::text from sidecar_internal.events_{watch}") == value(
        tidied, "select (%s::jsonb)::text", key
    )


def test_a_row_inserted_again_after_a_truncate_is_waited_for(tidied: Connection, watch_id: int) -> None:
    embed(tidied, watch_id, 1)
    run(tidied, "update sidecar_internal.watches set truncated_gen = nextval('sidecar_internal.generation')")
    with refused(tidied, "SC001", "was not embedded", ""):
        run(tidied, CALL)


def test_vectors_that_are_due_to_be_cleared_are_not_accepted(tidied: Connection, watch_id: int) -> None:
    embed(tidied, watch_id, 1)
    run(tidied, "update sidecar_internal.watches set fingerprint = 'f', encoder = 'm'")
    run(tidied, "select sidecar.reembed('items', model => 'any')")
    with refused(tidied, "SC001", "was not embedded", ""):
        run(tidied, CALL)


def test_a_failed_row_is_an_error_with_the_reason(tidied: Connection, watch_id: int) -> None:
    fail(tidied, watch_id, 1, "not_a_picture", "these are words")
    with refused(tidied, "SC002", "cannot be embedded: not_a_picture: these are words", "tried again automatically.$"):
        run(tidied, CALL)


def test_the_hint_on_a_failed_row_has_the_retry_that_can_help(tidied: Connection, watch_id: int) -> None:
    fail(tidied, watch_id, 1, "worker_crashed", "the process died")
    retry = """select sidecar.retry('public.items', 'e', key => '{"id": 1}');"""
    with refused(tidied, "SC002", "cannot be embedded: worker_crashed", f" To retry: {re.escape(retry)}$"):
        run(tidied, CALL)
    assert run(tidied, retry) == [(1,)]


def test_calling_it_in_the_transaction_that_wrote_the_row_is_an_error_at_once(
    tidied: Connection, watch_id: int
) -> None:
    embed(tidied, watch_id, 1)
    for write in ("update items set title = 'new' where id = 1", "insert into items values (1, 'x')"):
        with tidied.transaction(force_rollback=True):
            if write.startswith("insert"):
                run(tidied, "delete from items where id = 1")
            with tidied.transaction():
                run(tidied, write)
            with refused(tidied, "55000", "was written in this transaction", "Commit first"):
                run(tidied, CALL)


def test_a_transaction_that_wrote_other_tables_may_wait(tidied: Connection, watch_id: int) -> None:
    embed(tidied, watch_id, 1)
    with tidied.transaction(force_rollback=True):
        run(tidied, "update items set title = 'new' where id = 2")
        run(tidied, CALL)


@pytest.mark.parametrize("level", ["repeatable read", "serializable"])
def test_a_repeatable_read_or_serializable_transaction_is_an_error(
    tidied: Connection, watch_id: int, level: str
) -> None:
    run(tidied, f"set default_transaction_isolation = '{level}'")
    with refused(tidied, "55000", f"cannot see what others commit under {level}", "READ COMMITTED"):
        run(tidied, CALL)


def test_a_missing_row_is_an_error(tidied: Connection, watch_id: int) -> None:
    with refused(tidied, "02000", r'table public.items has no row {"id": 4}', "deleted, or inserted by a transaction"):
        run(tidied, CALL.replace("1", "4"))


def test_a_row_deleted_while_waiting_is_an_error(shared_database_url: str, tidied: Connection, watch_id: int) -> None:
    run(tidied, "delete from items where id = 1")
    with refused(tidied, "02000", "has no row", ""):
        run(tidied, CALL)


@pytest.mark.parametrize("timeout", ["null", "-1"])
def test_a_null_or_negative_timeout_is_an_error(tidied: Connection, watch_id: int, timeout: str) -> None:
    with refused(tidied, "22023", "timeout_ms is", "milliseconds"):
        run(tidied, CALL.replace("=> 0", f"=> {timeout}"))


def test_a_key_with_other_columns_is_an_error(tidied: Connection, watch_id: int) -> None:
    with refused(tidied, "22023", "does not name the key columns", r'"id": \.\.\.'):
        run(tidied, """call sidecar.wait_embedded('items', '{"key": 1}')""")


def test_a_table_that_is_not_watched_is_an_error(tidied: Connection, watch_id: int) -> None:
    run(tidied, "create table others (id bigint primary key)")
    with refused(tidied, "42704", "table public.others is not watched", "sidecar.watch"):
        run(tidied, CALL.replace("items", "others"))
    with refused(tidied, "42704", "has no watch with target 'f'", "Its targets: 'e'"):
        run(tidied, CALL.replace("timeout_ms", "target => 'f', timeout_ms"))


def test_all_watches_of_the_table_are_waited_for_unless_one_is_named(tidied: Connection, watch_id: int) -> None:
    embed(tidied, watch_id, 1)
    run(tidied, "select sidecar.watch('items', 'title', target => 'f', dimensions => 3)")
    run(tidied, CALL.replace("timeout_ms", "target => 'e', timeout_ms"))
    with refused(tidied, "SC001", "was not embedded", "The watch on f"):
        run(tidied, CALL)

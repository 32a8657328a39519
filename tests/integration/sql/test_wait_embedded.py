"""call sidecar.wait_embedded: insert, commit, wait, search."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.integration.sql.queue import embed, fail, run_a_sidecar
from tests.integration.sql.session import Connection, another_session, refused, run, value
from tests.waiting import wait_until

CALL = """call sidecar.wait_embedded('items', '{"id": 1}', timeout_ms => 0)"""


@pytest.fixture
def watch_id(committed: Connection) -> Iterator[int]:
    """Rows 1 to 3 wait for their first vector."""
    run(committed, "create table items (id bigint primary key, title text, price int)")
    watch = value(committed, "select sidecar.watch('items', 'title', target => 'e', dimensions => 3)")
    run(committed, "insert into items select i, 'x' from generate_series(1, 3) i")
    return watch


def test_it_returns_once_the_row_is_embedded(database_url: str, committed: Connection, watch_id: int) -> None:
    def wait() -> None:
        with another_session(database_url) as session:
            run(session, """call sidecar.wait_embedded('items', '{"id": 1}', timeout_ms => 20000)""")

    with ThreadPoolExecutor() as threads:
        waiting = threads.submit(wait)
        sleeps = "select count(*) from pg_stat_activity where datname = current_database() and wait_event = 'PgSleep'"
        wait_until(lambda: value(committed, sleeps) == 1, "the call to wait")
        assert not waiting.done()
        embed(committed, watch_id, 1)
        waiting.result(timeout=10)


def test_an_embedded_row_is_not_waited_for(committed: Connection, watch_id: int) -> None:
    embed(committed, watch_id, 1)
    run(committed, CALL)
    run(committed, "update items set price = 1")
    run(committed, CALL)


def test_an_empty_row_counts_as_done(committed: Connection, watch_id: int) -> None:
    embed(committed, watch_id, 1, content_hash=b"empty")
    run(committed, CALL)


def test_a_row_that_is_not_embedded_in_time_is_an_error_that_says_why(committed: Connection, watch_id: int) -> None:
    message = r'row {"id": 1} of public.items was not embedded within 0 ms'
    with refused(committed, "SC001", message, "The watch on e: no sidecar is running"):
        run(committed, CALL)
    run_a_sidecar(committed)
    with refused(committed, "SC001", message, "The watch on e: backfilling"):
        run(committed, CALL)
    run(committed, "select sidecar.pause()")
    with refused(committed, "SC001", message, "The watch on e: paused"):
        run(committed, CALL)


def test_a_changed_row_is_waited_for_again(committed: Connection, watch_id: int) -> None:
    embed(committed, watch_id, 1)
    run(committed, "update items set title = 'new'")
    with refused(committed, "SC001", "was not embedded", ""):
        run(committed, CALL)


def test_a_row_whose_event_is_put_off_is_waited_for(committed: Connection, watch_id: int) -> None:
    embed(committed, watch_id, 1)
    run(
        committed,
        f"""
        insert into sidecar.delayed_{watch_id} (gen, k1, enqueued_at, backfill, force, attempts, run_at)
        values (nextval('sidecar.generation'), 1, now(), false, false, 1, now() + interval '1 hour')
        """,
    )
    with refused(committed, "SC001", "was not embedded", ""):
        run(committed, CALL)


def test_a_row_of_before_a_truncate_that_came_back_is_waited_for(committed: Connection, watch_id: int) -> None:
    embed(committed, watch_id, 1)
    run(committed, "update sidecar.watches set truncated_gen = nextval('sidecar.generation')")
    with refused(committed, "SC001", "was not embedded", ""):
        run(committed, CALL)


def test_vectors_that_are_about_to_be_cleared_do_not_count(committed: Connection, watch_id: int) -> None:
    embed(committed, watch_id, 1)
    run(committed, "update sidecar.watches set fingerprint = 'f', encoder = 'm'")
    run(committed, "select sidecar.reembed('items', model => 'any')")
    with refused(committed, "SC001", "was not embedded", ""):
        run(committed, CALL)


def test_a_failed_row_is_an_error_with_the_reason(committed: Connection, watch_id: int) -> None:
    fail(committed, watch_id, 1, "not_a_picture", "these are words")
    with refused(committed, "SC002", "cannot be embedded: not_a_picture: these are words", "sidecar.retry"):
        run(committed, CALL)


def test_the_transaction_that_wrote_the_row_is_told_at_once(committed: Connection, watch_id: int) -> None:
    embed(committed, watch_id, 1)
    for write in ("update items set title = 'new' where id = 1", "insert into items values (1, 'x')"):
        with committed.transaction(force_rollback=True):
            if write.startswith("insert"):
                run(committed, "delete from items where id = 1")
            with committed.transaction():
                run(committed, write)
            with refused(committed, "55000", "was written in this transaction", "Commit first"):
                run(committed, CALL)


def test_a_transaction_that_wrote_something_else_may_wait(committed: Connection, watch_id: int) -> None:
    embed(committed, watch_id, 1)
    with committed.transaction(force_rollback=True):
        run(committed, "update items set title = 'new' where id = 2")
        run(committed, CALL)


@pytest.mark.parametrize("level", ["repeatable read", "serializable"])
def test_a_transaction_that_cannot_see_what_others_commit_is_told(
    committed: Connection, watch_id: int, level: str
) -> None:
    run(committed, f"set default_transaction_isolation = '{level}'")
    with refused(committed, "55000", f"cannot see what others commit under {level}", "READ COMMITTED"):
        run(committed, CALL)


def test_a_row_that_is_not_there_is_an_error(committed: Connection, watch_id: int) -> None:
    with refused(
        committed, "02000", r'table public.items has no row {"id": 4}', "deleted, or inserted by a transaction"
    ):
        run(committed, CALL.replace("1", "4"))


def test_a_row_that_is_deleted_meanwhile_is_an_error(database_url: str, committed: Connection, watch_id: int) -> None:
    run(committed, "delete from items where id = 1")
    with refused(committed, "02000", "has no row", ""):
        run(committed, CALL)


@pytest.mark.parametrize("timeout", ["null", "-1"])
def test_a_timeout_that_is_none_is_an_error(committed: Connection, watch_id: int, timeout: str) -> None:
    with refused(committed, "22023", "timeout_ms is", "milliseconds"):
        run(committed, CALL.replace("=> 0", f"=> {timeout}"))


def test_a_key_with_other_columns_is_an_error(committed: Connection, watch_id: int) -> None:
    with refused(committed, "22023", "does not name the key columns", '"id": …'):
        run(committed, """call sidecar.wait_embedded('items', '{"key": 1}')""")


def test_a_table_that_is_not_watched_is_an_error(committed: Connection, watch_id: int) -> None:
    run(committed, "create table others (id bigint primary key)")
    with refused(committed, "42704", "table public.others is not watched", "sidecar.watch"):
        run(committed, CALL.replace("items", "others"))
    with refused(committed, "42704", "has no watch with target 'f'", "Its targets: 'e'"):
        run(committed, CALL.replace("timeout_ms", "target => 'f', timeout_ms"))


def test_all_watches_of_the_table_are_waited_for_unless_one_is_named(committed: Connection, watch_id: int) -> None:
    embed(committed, watch_id, 1)
    run(committed, "select sidecar.watch('items', 'title', target => 'f', dimensions => 3)")
    run(committed, CALL.replace("timeout_ms", "target => 'e', timeout_ms"))
    with refused(committed, "SC001", "was not embedded", "The watch on f"):
        run(committed, CALL)

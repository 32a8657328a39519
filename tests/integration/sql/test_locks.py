"""watch and unwatch concurrent with other transactions: locks are taken in one order, waits are bounded."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import psycopg
import pytest

from tests.integration.sql.session import Connection, another_session, refused, run, value
from tests.waiting import wait_until

WATCH = "select sidecar.watch('items', 'title', target => 'e', dimensions => 3)"
REPLACE = WATCH.replace("3)", "3, replace => true, model => 'm')")
UNWATCH = "select sidecar.unwatch('items', 'e')"

Start = Callable[[str], "Future[Any]"]


@pytest.fixture
def start(shared_database_url: str, tidied: Connection) -> Iterator[Start]:
    """Runs a statement in a separate session, in the background."""

    def in_a_session(query: str) -> Any:
        with another_session(shared_database_url) as session:
            return value(session, query)

    run(tidied, "create table items (id int primary key, title text)")
    with ThreadPoolExecutor() as threads:
        yield lambda query: threads.submit(in_a_session, query)


def _wait_for_waiters(db: Connection, n: int) -> None:
    waiting = "select count(*) from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'"
    wait_until(lambda: value(db, waiting) == n, f"{n} sessions to wait for a lock")


@pytest.mark.parametrize("call", [WATCH, REPLACE, UNWATCH])
def test_a_call_waits_for_a_locked_table_up_to_the_sessions_lock_timeout(
    shared_database_url: str, tidied: Connection, start: Start, call: str
) -> None:
    if call != WATCH:
        run(tidied, WATCH)
    before = run(tidied, "select w::text from sidecar_internal.watches w")
    with another_session(shared_database_url, autocommit=False) as writer:
        run(writer, "insert into items values (1, 'a')")
        run(tidied, "set lock_timeout = '50ms'; set statement_timeout = '1s'")
        with refused(
            tidied, "55P03", "public.items is in use: it could not be locked within 50ms", "Nothing was changed"
        ):
            run(tidied, call)
        assert run(tidied, "select w::text from sidecar_internal.watches w") == before
    assert value(tidied, "show lock_timeout") == "50ms"
    run(tidied, call)


@pytest.mark.parametrize("call", [WATCH, UNWATCH])
def test_a_call_succeeds_once_a_writers_lock_is_released(
    shared_database_url: str, tidied: Connection, start: Start, call: str
) -> None:
    if call != WATCH:
        run(tidied, WATCH)
    with another_session(shared_database_url, autocommit=False) as writer:
        run(writer, "insert into items values (1, 'a')")
        done = start(call)
        _wait_for_waiters(tidied, 1)
    done.result(timeout=10)
    assert value(tidied, "select count(*) from sidecar_internal.watches where unwatched_at is null") == (call == WATCH)


def test_two_concurrent_calls_of_watch_create_one_watch(
    shared_database_url: str, tidied: Connection, start: Start
) -> None:
    with another_session(shared_database_url, autocommit=False) as writer:
        run(writer, "insert into items values (1, 'a')")
        both = [start(WATCH), start(WATCH)]
        _wait_for_waiters(tidied, 2)
    assert len({done.result(timeout=20) for done in both}) == 1
    assert value(tidied, "select count(*) from sidecar_internal.watches") == 1


def test_a_row_inserted_while_watch_commits_is_enqueued(
    shared_database_url: str, tidied: Connection, start: Start
) -> None:
    with another_session(shared_database_url, autocommit=False) as watcher:
        watch_id = value(watcher, WATCH)
        inserted = start("insert into items values (1, 'a') returning id")
        _wait_for_waiters(tidied, 1)
        watcher.commit()
    inserted.result(timeout=10)
    assert run(tidied, f"select k1 from sidecar_internal.events_{watch_id}") == [(1,)]


@pytest.mark.parametrize("call", [UNWATCH, REPLACE, WATCH.replace("3)", "3, replace => true, companion => 'vectors')")])
def test_a_call_waits_for_a_running_completion_before_it_locks_the_table(
    shared_database_url: str, tidied: Connection, start: Start, call: str
) -> None:
    """Otherwise a deadlock: the completion would wait for the table, the call for its lock on the watch."""
    run(tidied, WATCH)
    with another_session(shared_database_url, autocommit=False) as completer:
        run(completer, "select from sidecar_internal.watches for share")
        done = start(call)
        _wait_for_waiters(tidied, 1)
        run(completer, "set local lock_timeout = '1s'")
        run(completer, "update items set e = '[1,2,3]'")
        completer.commit()
    done.result(timeout=10)


def test_repeating_the_same_call_does_not_lock_the_table(
    shared_database_url: str, tidied: Connection, start: Start
) -> None:
    watch_id = value(tidied, WATCH)
    with another_session(shared_database_url, autocommit=False) as writer:
        run(writer, "insert into items values (1, 'a')")
        run(tidied, "set lock_timeout = '50ms'")
        assert value(tidied, WATCH) == watch_id


def test_watching_an_existing_column_does_not_block_readers(
    shared_database_url: str, tidied: Connection, start: Start
) -> None:
    run(tidied, "alter table items add e vector(3)")
    with another_session(shared_database_url, autocommit=False) as watcher:
        run(watcher, WATCH)
        run(tidied, "set lock_timeout = '50ms'")
        assert run(tidied, "select * from items") == []


def test_a_call_that_waited_for_another_sees_its_result(
    shared_database_url: str, tidied: Connection, start: Start
) -> None:
    run(tidied, WATCH)
    with another_session(shared_database_url, autocommit=False) as first:
        run(first, WATCH.replace("3)", "3, replace => true, companion => 'vectors')"))
        second = start(REPLACE)
        _wait_for_waiters(tidied, 1)
        first.commit()
    second.result(timeout=10)
    assert run(tidied, "select companion, model from sidecar_internal.watches") == [(None, "m")]
    assert value(tidied, "select count(*) from pg_trigger where tgrelid = 'vectors'::regclass") == 0
    run(tidied, "drop table vectors")
    with another_session(shared_database_url, autocommit=False) as first:
        run(first, UNWATCH)
        second = start(UNWATCH)
        _wait_for_waiters(tidied, 1)
        first.commit()
    with pytest.raises(psycopg.errors.UndefinedObject, match=r"table public\.items is no longer watched"):
        second.result(timeout=10)


def test_two_concurrent_calls_revive_a_former_watch_once(
    shared_database_url: str, tidied: Connection, start: Start
) -> None:
    watch_id = value(tidied, WATCH)
    run(tidied, UNWATCH)
    with another_session(shared_database_url, autocommit=False) as first:
        assert value(first, WATCH) == watch_id
        created_at = value(first, "select created_at from sidecar_internal.watches")
        second = start(WATCH)
        _wait_for_waiters(tidied, 1)
        first.commit()
    assert second.result(timeout=10) == watch_id
    assert value(tidied, "select created_at from sidecar_internal.watches") == created_at

"""A session that is idle in a transaction after a read blocks writers and sidecar calls only briefly."""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import psycopg
import pytest

from tests.integration.sql.session import Connection, another_session, run, value
from tests.waiting import wait_until

WATCH = "select sidecar.watch('items', 'title', target => 'e', dimensions => 3)"
COMPANION = WATCH.replace("3)", "3, companion => 'vectors')")
CALLS = {
    "unwatch": "select sidecar.unwatch('items', 'e')",
    "unwatch, vectors too": "select sidecar.unwatch('items', 'e', drop_target => true)",
    "another model": WATCH.replace("3)", "3, replace => true, model => 'm')"),
    "into the row": WATCH.replace("3)", "3, replace => true)"),
    "uninstall": "select sidecar.uninstall()",
}
READS = {
    "status": "select * from sidecar.status",
    "the view": "select * from vectors_view",
    "a dump": "lock table sidecar_internal.ledger_{id}, sidecar_internal.events_{id} in access share mode",
}
LONGEST_WRITE_S = 2.0  # a millisecond without a reader, with one the time of one lock attempt


@pytest.fixture
def watch_id(committed: Connection) -> int:
    run(committed, "create table items (id int generated always as identity primary key, title text)")
    number: int = value(committed, COMPANION)
    return number


@pytest.fixture
def threads() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor() as executor:
        yield executor


def in_a_session(url: str, query: str, lock_timeout: str = "400ms") -> Any:
    with another_session(url) as session:
        run(session, f"set lock_timeout = '{lock_timeout}'")
        run(session, "set statement_timeout = '8s'")  # a call that would wait forever fails with another error
        return run(session, query)


def longest_write_s(db: Connection, until: Future[Any]) -> float:
    longest, run_once = 0.0, False
    while not until.done() or not run_once:
        run_once = True
        began = time.monotonic()
        run(db, "insert into items (title) values ('x')")
        longest = max(longest, time.monotonic() - began)
    return longest


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("read", READS)
def test_a_call_blocked_by_an_idle_reader_times_out_and_names_its_session(
    database_url: str, committed: Connection, threads: ThreadPoolExecutor, watch_id: int, call: str, read: str
) -> None:
    before = run(committed, "select w::text from sidecar_internal.watches w")
    with another_session(database_url, autocommit=False) as reader:
        run(reader, "set application_name = 'dashboard'")
        run(reader, READS[read].format(id=watch_id))
        done = threads.submit(in_a_session, database_url, CALLS[call])
        assert longest_write_s(committed, done) < LONGEST_WRITE_S
        error = done.exception(timeout=10)
        assert isinstance(error, psycopg.errors.LockNotAvailable), error
        assert "is in use: it could not be locked within 400ms" in str(error)
        assert f"process {reader.info.backend_pid} (dashboard, idle in transaction" in str(error)
    assert run(committed, "select w::text from sidecar_internal.watches w") == before
    in_a_session(database_url, CALLS[call])


def test_a_blocked_call_times_out_even_without_lock_timeout(
    database_url: str, committed: Connection, threads: ThreadPoolExecutor, watch_id: int
) -> None:
    with another_session(database_url, autocommit=False) as reader:
        run(reader, READS["a dump"].format(id=watch_id))
        done = threads.submit(in_a_session, database_url, CALLS["unwatch"], "0")
        assert longest_write_s(committed, done) < LONGEST_WRITE_S
        error = done.exception(timeout=10)
        assert isinstance(error, psycopg.errors.LockNotAvailable), error
        assert "is in use: it could not be locked within 10s" in str(error)


@pytest.mark.parametrize("call", CALLS)
def test_a_call_succeeds_after_the_reader_ends(
    database_url: str, committed: Connection, threads: ThreadPoolExecutor, watch_id: int, call: str
) -> None:
    with another_session(database_url, autocommit=False) as reader:
        run(reader, READS["status"])
        done = threads.submit(in_a_session, database_url, CALLS[call], "0")
        waiting = "select count(*) from pg_locks where not granted"
        wait_until(lambda: value(committed, waiting), "the call to wait")
    done.result(timeout=10)


def test_watching_again_during_a_dump_does_not_block_writers(
    database_url: str, committed: Connection, threads: ThreadPoolExecutor, watch_id: int
) -> None:
    """Its lock on the table does not conflict with a dump, but dropping the former ledger does."""
    run(committed, "select sidecar.unwatch('items', 'e')")
    with another_session(database_url, autocommit=False) as dump:
        run(dump, f"lock table items, sidecar_internal.ledger_{watch_id} in access share mode")
        again = COMPANION.replace("3", "4").replace("'vectors'", "'others'")
        done = threads.submit(in_a_session, database_url, again)
        assert longest_write_s(committed, done) < LONGEST_WRITE_S
        error = done.exception(timeout=10)
        assert isinstance(error, psycopg.errors.LockNotAvailable), error
        assert f"sidecar_internal.ledger_{watch_id} is in use" in str(error)
    in_a_session(database_url, again)


def test_a_watch_on_a_dropped_table_is_cleaned_up_after_readers_of_its_queue_end(
    database_url: str, committed: Connection, watch_id: int
) -> None:
    run(committed, "create table others (id int primary key, title text)")
    run(committed, "drop table items cascade")
    with another_session(database_url, autocommit=False) as reader:
        run(reader, f"select from sidecar_internal.events_{watch_id}")
        run(committed, "set statement_timeout = '2s'")
        run(committed, "select sidecar.watch('others', 'title', dimensions => 3)")
        assert value(committed, "select count(*) from sidecar_internal.watches") == 2
    run(committed, "select from sidecar_internal.follow_changes()")
    assert value(committed, "select count(*) from sidecar_internal.watches") == 1

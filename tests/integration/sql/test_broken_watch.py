"""A watch that cannot record changes fails no user's statement: it warns once, and sidecar.status shows it."""

from __future__ import annotations

import pytest

from tests.integration.sql.queue import take_keys
from tests.integration.sql.session import Connection, run, value, warnings_of

WRITES = [
    "insert into items (key, title) values (100, 'a'), (101, 'b')",
    "update items set title = 'new'",
    "update items set key = key + 1000",
    "delete from items where key = 3",
]


@pytest.fixture(params=["table", "partitioned table"])
def watch_id(request: pytest.FixtureRequest, db: Connection) -> int:
    """A watch whose key column was renamed without a new call of sidecar.watch."""
    if request.param == "table":
        run(db, "create table items (id int primary key, title text)")
    else:
        run(
            db,
            """
            create table items (id int primary key, title text) partition by range (id);
            create table items_all partition of items default;
            """,
        )
    run(db, "insert into items select i, 'title' from generate_series(1, 5) i")
    watch: int = value(db, "select sidecar.watch('items', source => 'title', dimensions => 3)")
    run(db, "alter table items rename id to key")
    return watch


@pytest.mark.parametrize("write", WRITES)
def test_writes_to_a_broken_watch_succeed_and_warn_once(db: Connection, watch_id: int, write: str) -> None:
    with warnings_of(db) as warnings:
        rows = db.execute(write.encode()).rowcount
        run(db, write.replace("100,", "200,").replace("101,", "201,"))
    assert rows > 0
    [warning] = warnings
    assert f"watch {watch_id} could not record a change (42703)" in warning
    assert "until sidecar.watch is called again" in warning


def test_status_names_the_fault_of_a_broken_watch(db: Connection, watch_id: int) -> None:
    run(db, "delete from items")
    state = value(db, "select state from sidecar.status where watch_id = %s", watch_id)
    assert state.startswith("broken: ")
    assert state.endswith("call sidecar.watch again")


def test_a_warning_that_was_rolled_back_is_repeated_by_the_next_statement(db: Connection, watch_id: int) -> None:
    with warnings_of(db) as warnings, db.transaction(force_rollback=True):
        run(db, WRITES[0])
    with warnings_of(db) as more:
        run(db, WRITES[0])
    assert len(warnings) == len(more) == 1


def test_calling_watch_again_repairs_a_broken_watch(db: Connection, watch_id: int) -> None:
    run(db, "delete from items where key = 1")
    assert value(db, "select sidecar.watch('items', source => 'title', dimensions => 3)") == watch_id
    with warnings_of(db) as warnings:
        run(db, "update items set title = 'new' where key = 2")
    assert (warnings, take_keys(db, watch_id)) == ([], [2])
    assert value(db, "select state from sidecar.status where watch_id = %s", watch_id) == "no sidecar is running"
    assert run(db, "select key_columns from sidecar_internal.watches where id = %s", watch_id) == [(["key"],)]


def test_a_missing_event_table_fails_no_statement(db: Connection) -> None:
    run(db, "create table items (id int primary key, title text)")
    watch_id = value(db, "select sidecar.watch('items', source => 'title', dimensions => 3)")
    run(db, "insert into items values (1, 'a')")
    run(db, f"drop table sidecar_internal.events_{watch_id}")
    with warnings_of(db) as warnings:
        run(db, "insert into items values (2, 'b')")
        run(db, "update items set title = 'c'")
        run(db, "truncate items")
    assert len(warnings) == 1


def test_an_update_of_a_renamed_source_column_is_enqueued(db: Connection) -> None:
    run(db, "create table items (id int primary key, title text)")
    watch_id = value(db, "select sidecar.watch('items', source => 'title', target => 'e', dimensions => 3)")
    run(db, "insert into items values (1, 'a')")
    run(db, "alter table items rename title to name")
    run(db, "update items set name = 'b'")
    assert take_keys(db, watch_id) == [1, 1]


def test_recording_a_change_uses_no_subtransaction_id(db: Connection) -> None:
    """A snapshot caches 64 of them; a transaction with more slows down all sessions."""
    run(db, "create table items (id int primary key, title text)")
    watch_id = value(db, "select sidecar.watch('items', source => 'title', dimensions => 3)")
    for i in range(5):
        run(db, "insert into items values (%s, 'a')", i)
    run(db, "update items set title = 'b'")
    run(db, "delete from items")
    writers = run(db, f"select distinct xmin::text from sidecar_internal.events_{watch_id}")
    assert writers == run(db, "select pg_current_xact_id()::xid::text")

"""NOTIFY takes a cluster-wide lock at commit, so triggers send one only while a sidecar sleeps."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.integration.sql.queue import fail
from tests.integration.sql.session import Connection, another_session, run, value


@pytest.fixture
def listener(database_url: str, committed: Connection) -> Iterator[Connection]:
    """A session that listens; one table with one row is watched."""
    run(committed, "create table items (id int primary key, title text, price int)")
    run(committed, "select sidecar.watch('items', source => 'title', dimensions => 3)")
    run(committed, "insert into items values (1, 'one')")
    with another_session(database_url) as session:
        run(session, "listen sidecar")
        yield session


def _sleep(db: Connection, seconds: int) -> None:
    run(
        db,
        "select setval('sidecar_internal.asleep_1', (extract(epoch from clock_timestamp()) * 1000)::bigint + %s)",
        seconds * 1000,
    )


def _heard(db: Connection, listener: Connection) -> list[str]:
    """The payloads on channel `sidecar` since the last call, delimited by a marker notification."""
    run(db, "select setval('sidecar_internal.notified', 0)")  # as if 5 ms had passed
    run(listener, "listen mark")
    run(db, "notify mark")
    heard: list[str] = []
    for notification in listener.notifies(timeout=10):
        if notification.channel == "mark":
            return heard
        heard.append(notification.payload)
    raise AssertionError("the mark did not come")


STATEMENTS = [
    "insert into items values (2, 'two')",
    "insert into items select i, 'many' from generate_series(10, 20) i",
    "update items set title = 'new'",
    "update items set title_embedding = '[1,2,3]'",
    "delete from items",
    "truncate items",
]


def test_a_sleeping_sidecar_is_notified_once_per_transaction(committed: Connection, listener: Connection) -> None:
    _sleep(committed, -1)
    _sleep(committed, 60)
    for statement in STATEMENTS:
        run(committed, statement)
        assert _heard(committed, listener) == [""], statement


def test_no_notification_is_sent_while_no_sidecar_sleeps(committed: Connection, listener: Connection) -> None:
    _sleep(committed, -1)
    for statement in STATEMENTS:
        run(committed, statement)
    assert _heard(committed, listener) == []


def test_statements_that_enqueue_nothing_send_no_notification(committed: Connection, listener: Connection) -> None:
    _sleep(committed, 60)
    run(committed, "insert into items select 5, 'x' where false")
    run(committed, "delete from items where false")
    run(committed, "update items set price = 3")
    run(committed, "select sidecar.retry('items')")
    assert _heard(committed, listener) == []


def test_a_rolled_back_write_sends_no_notification(committed: Connection, listener: Connection) -> None:
    _sleep(committed, 60)
    with committed.transaction(force_rollback=True):
        run(committed, "insert into items values (2, 'two')")
    assert _heard(committed, listener) == []


def test_retry_wakes_a_sleeping_sidecar(committed: Connection, listener: Connection) -> None:
    fail(committed, 1, 1)
    _sleep(committed, 60)
    assert value(committed, "select sidecar.retry('items')") == 1
    assert _heard(committed, listener) == [""]


def test_sidecars_are_notified_of_changed_watches(committed: Connection, listener: Connection) -> None:
    run(listener, "listen sidecar_watches")
    for statement in (
        "select sidecar.watch('items', source => 'title', target => 'other', dimensions => 3)",
        "select sidecar.pause()",
        "select sidecar.resume('items')",
        "select sidecar.reembed('items', 'other')",
        "select sidecar.unwatch('items', 'other')",
    ):
        run(committed, statement)
        assert _heard(committed, listener) == [""], statement


def test_a_burst_of_writes_sends_one_notification(committed: Connection, listener: Connection) -> None:
    """Commits that notify are serialized."""
    _sleep(committed, 60)
    _heard(committed, listener)
    run(committed, "insert into items values (2, 'two')")
    run(committed, "select setval('sidecar_internal.notified', (extract(epoch from clock_timestamp()) * 1000)::bigint)")
    run(committed, "do $$ begin for i in 3 .. 9 loop insert into items values (i, 'many'); commit; end loop; end $$")
    assert len(_heard(committed, listener)) <= 2


def test_announcing_sleep_leaves_no_dead_rows_for_an_old_snapshot(
    database_url: str, committed: Connection, listener: Connection
) -> None:
    with another_session(database_url, autocommit=False) as old:
        run(old, "set transaction isolation level repeatable read; select 1")
        for _ in range(2000):
            _sleep(committed, 60)
            run(committed, "select sidecar_internal.notify_sleepers()")
        for name in ("asleep_1", "notified"):
            assert value(committed, f"select pg_relation_size('sidecar_internal.{name}')") == 8192

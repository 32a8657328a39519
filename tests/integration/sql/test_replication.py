"""On a subscriber of logical replication only ENABLE ALWAYS row triggers fire."""

from __future__ import annotations

from tests.integration.sql.queue import take_keys
from tests.integration.sql.session import Connection, run, value


def test_rows_written_by_a_replication_worker_are_enqueued(db: Connection) -> None:
    run(db, "create table items (id int primary key, title text)")
    run(db, "set local allow_system_table_mods = on")
    run(db, "insert into pg_subscription_rel (srsubid, srrelid, srsubstate) values (1, 'items'::regclass, 'r')")
    watch_id = value(db, "select sidecar.watch('items', source => 'title', dimensions => 3)")
    assert value(db, "select count(*) from pg_trigger where tgrelid = 'items'::regclass and tgenabled = 'A'") == 5
    assert value(db, "select count(*) from pg_trigger where tgrelid = 'items'::regclass and tgtype & 1 = 0") == 1
    run(db, "set local session_replication_role = replica")
    run(db, "insert into items values (1, 'a')")
    run(db, "update items set title = 'b'")
    run(db, "delete from items")
    assert take_keys(db, watch_id) == [1, 1, 1]


def test_a_table_subscribed_after_it_was_watched_is_reported_and_watch_repairs_it(db: Connection) -> None:
    run(db, "create table items (id int primary key, title text)")
    call = "select sidecar.watch('items', source => 'title', dimensions => 3)"
    watch_id = value(db, call)
    run(db, "set local allow_system_table_mods = on")
    run(db, "insert into pg_subscription_rel (srsubid, srrelid, srsubstate) values (1, 'items'::regclass, 'r')")
    assert "call sidecar.watch again" in value(db, "select state from sidecar.status")
    assert value(db, call) == watch_id
    assert value(db, "select state from sidecar.status") == "no sidecar is running"

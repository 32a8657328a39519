"""Many watches: idle ones cost next to nothing, and none holds up the others."""

from __future__ import annotations

import time

import pytest
from pydantic import SecretStr

from sidecar.postgres.database import Database
from sidecar.postgres.watches_with_work import WatchesWithWork, find_work
from tests.integration.ingest.composition import running_ingest
from tests.integration.ingest.gated_encoder import GatedEncoder
from tests.integration.ingest.watched_table import Connection, WatchedTable, run, user, value, watch
from tests.waiting import wait_until_async

MOST_TRANSACTIONS_PER_S = 5
REPORTED_LATE = 40  # transactions of the start: an idle session may report its count 10 s late


async def make_tables(db: Connection, number: int, rows: int = 0) -> list[WatchedTable]:
    """Creates and watches `items_1` … with titles, without an index."""
    tables = []
    for i in range(1, number + 1):
        await run(db, f"create table items_{i} (id bigint primary key, title text)")
        await run(db, f"insert into items_{i} select n, 'title ' || n from generate_series(1, {rows}) n")
        tables.append(await watch(db, [f"items_{i}"], ["title"]))
    return tables


async def until_backfilled(db: Connection) -> None:
    async def is_over() -> bool:
        return not await value(db, "select exists (select from sidecar_internal.scans where finished_at is null)")

    await wait_until_async(is_over, "the backfills to end", timeout_s=20)


async def test_idle_watches_make_no_transactions_of_their_own(
    database_url: str, db: Connection, encoder: GatedEncoder
) -> None:
    await make_tables(db, 40)
    looks = 0

    async def look(query: str) -> float:
        nonlocal looks
        looks += 1
        return float(await value(db, query) or 0)

    async def transactions() -> float:
        """Transactions of all other sessions, which report theirs within a second."""
        await look("select 1 from pg_stat_force_next_flush()")  # our own are reported when this statement ends
        counted = "select xact_commit + xact_rollback from pg_stat_database where datname = current_database()"
        return await look(counted) - (looks - 1)

    async def until_beat(after: float) -> float:
        async def has_beaten() -> bool:
            return await look("select extract(epoch from max(seen_at)) from sidecar_internal.sidecars") > after

        await wait_until_async(has_beaten, "a heartbeat", timeout_s=20)
        return await look("select extract(epoch from max(seen_at)) from sidecar_internal.sidecars")

    async with running_ingest(database_url, encoder):
        await until_backfilled(db)
    async with running_ingest(database_url, encoder, poll_interval_s=1.0):
        began = await until_beat(await until_beat(0) + 1.5)
        before = await transactions()
        ended = await until_beat(began + 5.5)
        after = await transactions()

    assert after - before <= MOST_TRANSACTIONS_PER_S * (ended - began) + REPORTED_LATE


@pytest.mark.parametrize("lock", ["lock table sidecar_internal.events_{id}", "select sidecar.unwatch('items_1')"])
async def test_a_locked_queue_holds_up_no_other_watch(
    database_url: str, db: Connection, encoder: GatedEncoder, lock: str
) -> None:
    locked, other = await make_tables(db, 2)
    async with running_ingest(database_url, encoder), user(database_url, autocommit=False) as session:
        await until_backfilled(db)
        await run(session, lock.format(id=locked.watch_id))
        began = time.monotonic()
        await run(db, "insert into items_2 values (1, 'meanwhile')")
        await other.become_right(encoder, timeout_s=15)
        assert time.monotonic() - began < 8
        for number in (2, 3):
            await run(db, f"insert into items_2 values ({number}, 'meanwhile')")
            await other.become_right(encoder, timeout_s=15)
        assert time.monotonic() - began < 10
        await session.rollback()
        await run(db, "insert into items_1 values (1, 'afterwards')")
        await locked.become_right(encoder)


async def test_the_search_finds_watches_with_waiting_and_with_due_events(database_url: str, db: Connection) -> None:
    tables = await make_tables(db, 4)
    idle, waiting, due, leased = (table.watch_id for table in tables)
    await run(db, "insert into items_2 values (1, 'x')")
    await run(
        db,
        f"insert into sidecar_internal.delayed_{due} (gen, k1, enqueued_at, backfill, force, attempts, run_at) values "
        "(-2, 1, now(), false, false, 1, now() + interval '1 h'), (-1, 2, now(), false, false, 1, now())",
    )
    await run(
        db,
        f"insert into sidecar_internal.events_{leased} (k1, lease_until, lease_token) "
        "values (1, now() + interval '1 min', gen_random_uuid())",
    )
    database = Database(SecretStr(database_url))
    await database.open()
    async with database.connection() as connection:
        everything = await find_work(connection, dict.fromkeys((idle, waiting, due, leased, 4711), 0))
        await run(db, f"update sidecar_internal.events_{leased} set lease_until = now() - interval '1 s'")
        later = await find_work(connection, {leased: 0})
        none_asked = await find_work(connection, {})
    await database.close()
    assert everything == WatchesWithWork(frozenset({waiting}), frozenset({due}))
    assert later == WatchesWithWork(frozenset({leased}), frozenset())
    assert none_asked == WatchesWithWork(frozenset(), frozenset())


async def test_a_watch_for_which_the_server_runs_out_of_memory_does_not_end_the_round_of_scans(
    database_url: str, db: Connection, encoder: GatedEncoder
) -> None:
    """SQLSTATE 53200 was once taken for an unavailable database, so that all scans waited again and again."""
    first, second = await make_tables(db, 2, rows=50)
    await run(db, "create sequence failures")
    await run(
        db,
        "create function refuse() returns trigger language plpgsql as $$ begin perform nextval('public.failures'); "
        "raise 'out of shared memory' using errcode = '53200'; end $$",
    )
    await run(
        db,
        f"create trigger refuse before insert on sidecar_internal.events_{first.watch_id} "
        "for each statement execute function refuse()",
    )
    async with running_ingest(database_url, encoder):
        await second.become_right(encoder, timeout_s=10)

        async def has_failed_again() -> bool:
            return bool(await value(db, "select last_value >= 4 from failures"))

        await wait_until_async(has_failed_again, "the page to be tried again")
        began, before = time.monotonic(), await value(db, "select last_value from failures")
        await run(db, "insert into items_2 values (100, 'meanwhile')")
        await second.become_right(encoder, timeout_s=15)
        tries = await value(db, "select last_value from failures") - before
        assert tries <= 1 + 3 * (time.monotonic() - began), "no backoff"
        await run(db, f"drop trigger refuse on sidecar_internal.events_{first.watch_id}")
        await first.become_right(encoder)

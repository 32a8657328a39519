"""Which events are claimed and in which order: each test makes the claims of one sidecar step by step."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import AsyncIterator
from itertools import pairwise
from typing import Any
from uuid import uuid4

import pytest
from pydantic import SecretStr

from sidecar.batching.job import Lane
from sidecar.config import Settings
from sidecar.ingest.claiming import Claim, Claimer
from sidecar.ingest.horizon import Horizon
from sidecar.postgres.database import Database
from sidecar.postgres.events import Queue
from sidecar.postgres.statements import statement
from sidecar.postgres.watches import Watch, load_watches
from tests.integration.ingest.items import insert_titles, make_texts
from tests.integration.ingest.watched_table import Connection, run, user, value
from tests.waiting import wait_until_async

ROWS = 10
SUBTRANSACTION = "do $$ begin insert into items values (-1, 'late'); exception when others then null; end $$"
HEAP_BLOCKS = """
    select (heap_blks_hit + heap_blks_read)::integer from pg_statio_user_tables where relid = $1::text::regclass
"""
MANY_SUBTRANSACTIONS = """
    do $$ begin
        for i in 1..2500 loop
            begin insert into items values (-1, 'late') on conflict do nothing; exception when others then null; end;
        end loop;
    end $$
"""
WAIT_FUNCTION = """
    create function wait() returns trigger language plpgsql as
    $$ begin perform pg_advisory_xact_lock(7); return new; end $$
"""
INGEST, BACKFILL = Lane.INGEST, Lane.BACKFILL


class ClaimingSidecar:
    """One sidecar that claims, and deletes claimed events as if they were completed."""

    def __init__(self, url: str, **settings: Any) -> None:
        self.database = Database(SecretStr(url))
        self.horizon = Horizon()
        self.claimer = Claimer(Settings(**settings), self.database, self.horizon)

    async def watches(self) -> list[Watch]:
        async with self.database.connection() as connection:
            return await load_watches(connection)

    async def claim(self, rows: int = ROWS, backfill_rows: int = ROWS) -> Claim:
        [watch] = await self.watches()
        claim = await self.claimer.claim_batch(watch, {INGEST: rows, BACKFILL: backfill_rows})
        assert claim is not None, "nothing waits"
        return claim

    def look_again(self) -> None:
        """Makes the next claim search everything, as after a second."""
        self.horizon._next_refresh = float("-inf")
        for history in self.claimer._histories.values():
            history.empty_since.clear()

    async def blocks_read(self, watch: Watch) -> int:
        """Blocks read by a claim of live events, one of a backfill and a search for work, none of which finds any."""
        blocks = 0
        front = self.horizon.front(watch.id)
        async with self.database.connection() as connection:
            for queue in (Queue.LIVE, Queue.BACKFILL):
                blocks += await _blocks(connection, watch.sql(queue.value), front, ROWS, 60.0, uuid4())
            blocks += await _blocks(connection, statement("find_work"), [watch.id], front[:1], front[1:])
        return blocks

    async def finish(self, db: Connection, claim: Claim) -> None:
        gens = [event.gen for event in claim.events]
        await run(db, f"delete from sidecar_internal.events_{claim.watch.id} where gen = any (%s)", gens)


async def _blocks(connection: Any, query: str, *arguments: Any) -> int:
    [[plan]] = await connection.fetch(f"explain (analyze, buffers, format json) {query}", *arguments)
    return int(json.loads(plan)[0]["Plan"]["Shared Hit Blocks"])


@pytest.fixture
async def sidecar(database_url: str) -> AsyncIterator[ClaimingSidecar]:
    made = ClaimingSidecar(database_url, backfill_min_share=0.25)
    await made.database.open()
    yield made
    await made.database.close()


def keys(claim: Claim) -> list[int]:
    return [int(event.key[0]) for event in claim.events if event.key is not None]


async def test_the_oldest_events_come_first_and_no_event_is_claimed_twice(
    db: Connection, sidecar: ClaimingSidecar
) -> None:
    await make_texts(db)
    await insert_titles(db, 1, 25)

    assert [keys(await sidecar.claim()) for _ in range(3)] == [
        list(range(1, 11)),
        list(range(11, 21)),
        list(range(21, 26)),
    ]
    [watch] = await sidecar.watches()
    assert await sidecar.claimer.claim_batch(watch, {INGEST: ROWS, BACKFILL: ROWS}) is None


@pytest.mark.parametrize("looks_between", [0, 1, 3])
async def test_a_late_commit_is_claimed_at_once_even_while_all_claims_are_full(
    database_url: str, db: Connection, sidecar: ClaimingSidecar, looks_between: int
) -> None:
    """Its generation is below those that were claimed and completed meanwhile."""
    await make_texts(db)
    await insert_titles(db, 1, 10)
    await sidecar.finish(db, await sidecar.claim())
    sidecar.look_again()
    async with user(database_url, autocommit=False) as late:
        await run(late, "insert into items values (-1, 'late')")
        await insert_titles(db, 11, 100)
        for _ in range(looks_between):
            await sidecar.finish(db, await sidecar.claim())
            sidecar.look_again()
        await sidecar.finish(db, await sidecar.claim())
        await late.commit()

    assert keys(await sidecar.claim())[0] == -1


async def test_a_late_commit_that_ended_before_the_horizon_was_read_is_claimed(
    database_url: str, db: Connection, sidecar: ClaimingSidecar
) -> None:
    await make_texts(db)
    async with user(database_url, autocommit=False) as late:
        await run(late, "insert into items values (-1, 'late')")
        await insert_titles(db, 1, 100)
        for _ in range(2):
            await sidecar.finish(db, await sidecar.claim())
            sidecar.look_again()
        await late.commit()
    assert keys(await sidecar.claim())[0] == -1


@pytest.mark.parametrize("looks_meanwhile", [1, 2])
@pytest.mark.parametrize(
    "statement_in_flight",
    ["insert into items values (-1, 'late')", SUBTRANSACTION, MANY_SUBTRANSACTIONS],
    ids=["plain", "sub", "many"],
)
async def test_a_commit_of_the_newest_transaction_is_claimed_though_it_was_in_flight_when_the_horizon_was_read(
    database_url: str, db: Connection, sidecar: ClaimingSidecar, statement_in_flight: str, looks_meanwhile: int
) -> None:
    """A snapshot does not list transactions that began after the last one that ended."""
    await make_texts(db)
    [watch] = await sidecar.watches()
    async with user(database_url, autocommit=False) as late:
        await run(late, statement_in_flight)
        for _ in range(looks_meanwhile):
            sidecar.look_again()
            assert await sidecar.claimer.claim_batch(watch, {INGEST: ROWS, BACKFILL: ROWS}) is None
        await late.commit()
    for history in sidecar.claimer._histories.values():
        history.empty_since.clear()
    assert keys(await sidecar.claim()) == [-1]


async def test_events_of_a_restored_database_are_claimed_whatever_their_generations(
    db: Connection, sidecar: ClaimingSidecar
) -> None:
    """The sequence of the restored database is ahead of the one that was replaced."""
    table = await make_texts(db)
    await insert_titles(db, 1, 50)
    for _ in range(5):
        await sidecar.finish(db, await sidecar.claim())
    sidecar.look_again()
    [watch] = await sidecar.watches()
    assert await sidecar.claimer.claim_batch(watch, {INGEST: ROWS, BACKFILL: ROWS}) is None
    await run(db, "alter sequence sidecar_internal.generation rename to former")
    await run(db, "create sequence sidecar_internal.generation start 1000")
    await run(db, f"insert into sidecar_internal.events_{table.watch_id} (gen, k1) values (7, -1)")
    sidecar.look_again()
    assert keys(await sidecar.claim()) == [-1]


async def test_retried_failures_are_claimed_though_the_horizon_was_read_in_between(
    database_url: str, db: Connection, sidecar: ClaimingSidecar
) -> None:
    """The horizon is read after a generation is drawn and before its event is written."""
    table = await make_texts(db)
    letter = "insert into sidecar_internal.failures (watch_id, key, gen, attempts, reason, message)"
    await run(db, f"{letter} values ({table.watch_id}, '{{\"id\": -1}}', 1, 1, 'x', 'y')")
    await run(db, WAIT_FUNCTION)
    await run(db, "select nextval('sidecar_internal.generation')")  # one nextval in 32 takes a transaction id itself
    events = f"sidecar_internal.events_{table.watch_id}"
    await run(db, f"create trigger wait before insert on {events} for each row execute function wait()")
    [watch] = await sidecar.watches()
    async with user(database_url) as holder, user(database_url) as retrier:
        await run(holder, "select pg_advisory_lock(7)")
        retrying = asyncio.create_task(run(retrier, "select sidecar.retry('items')"))

        async def waits() -> bool:
            return bool(await value(db, "select count(*) from pg_locks where locktype = 'advisory' and not granted"))

        await wait_until_async(waits, "the retry to draw its generation")
        sidecar.look_again()
        assert await sidecar.claimer.claim_batch(watch, {INGEST: ROWS, BACKFILL: ROWS}) is None
        await run(holder, "select pg_advisory_unlock(7)")
        await retrying
    for history in sidecar.claimer._histories.values():
        history.empty_since.clear()
    assert keys(await sidecar.claim()) == [-1]


@pytest.mark.parametrize(
    "forgotten", ["begin isolation level repeatable read; select 1", "begin; create table forgotten ()"]
)
async def test_claims_do_not_scan_completed_events_while_an_old_transaction_is_open(
    database_url: str, db: Connection, sidecar: ClaimingSidecar, forgotten: str
) -> None:
    table = await make_texts(db)
    [watch] = await sidecar.watches()
    async with user(database_url, autocommit=False) as old:
        await old.execute(forgotten.encode())
        await sidecar.claimer.claim_batch(watch, {INGEST: ROWS, BACKFILL: ROWS})
        done = "(k1, backfill) select i, i < 10000 from generate_series(1, 20000) i"
        await run(db, f"insert into sidecar_internal.events_{table.watch_id} {done}")
        await run(db, f"delete from sidecar_internal.events_{table.watch_id}")
        walked = await sidecar.blocks_read(watch)
        for _ in range(2):
            sidecar.look_again()
            assert await sidecar.claimer.claim_batch(watch, {INGEST: ROWS, BACKFILL: ROWS}) is None
        assert await sidecar.blocks_read(watch) < 30
        assert walked > 300


async def test_a_plan_cached_when_the_queue_was_empty_scans_no_dead_rows(
    database_url: str, db: Connection, sidecar: ClaimingSidecar
) -> None:
    table = await make_texts(db)
    events = f"sidecar_internal.events_{table.watch_id}"
    await run(db, f"vacuum analyze {events}")
    [watch] = await sidecar.watches()

    async def heap_blocks(claims: int) -> int:
        """Heap blocks of the queue that so many claims read, without finding an event."""
        counts = []
        for repeats in (0, claims):
            for _ in range(repeats):
                for history in sidecar.claimer._histories.values():
                    history.empty_since.clear()
                assert await sidecar.claimer.claim_batch(watch, {INGEST: ROWS, BACKFILL: ROWS}) is None
            async with sidecar.database.connection() as connection:
                await connection.execute("select pg_stat_force_next_flush()")
                counts.append(await connection.fetchval(HEAP_BLOCKS, events))
        return int(counts[1] - counts[0])

    await heap_blocks(20)
    async with user(database_url, autocommit=False) as old:
        await run(old, "set transaction isolation level repeatable read")
        await run(old, "select 1")
        await run(db, f"insert into {events} (k1) select i from generate_series(1, 20000) i")
        await run(db, f"delete from {events}")
        sidecar.look_again()
        await heap_blocks(2)
        sidecar.look_again()
        await heap_blocks(2)
        assert await heap_blocks(5) < 50


async def test_live_changes_come_first_and_the_backfill_keeps_its_share(
    db: Connection, sidecar: ClaimingSidecar
) -> None:
    table = await make_texts(db)
    await insert_titles(db, 1, 400)
    await run(
        db,
        f"insert into sidecar_internal.events_{table.watch_id} (k1, backfill) select i, true from "
        "generate_series(1, 400) i",
    )

    served = []
    for _ in range(40):
        claim = await sidecar.claim()
        served.append("backfill" if claim.events[0].backfill else "live")
        await sidecar.finish(db, claim)

    assert served[0] == "live"
    assert Counter(served) == {"live": 32, "backfill": 8}


async def test_a_backfill_has_every_claim_while_nothing_changes(db: Connection, sidecar: ClaimingSidecar) -> None:
    table = await make_texts(db)
    await run(
        db,
        f"insert into sidecar_internal.events_{table.watch_id} (k1, backfill) select i, true from "
        "generate_series(1, 30) i",
    )

    assert [len((await sidecar.claim()).events) for _ in range(3)] == [10, 10, 10]


async def test_without_a_slot_for_the_backfill_neither_its_events_nor_its_suspects_are_claimed(
    db: Connection, sidecar: ClaimingSidecar
) -> None:
    table = await make_texts(db)
    await insert_titles(db, 1, 3)
    await run(
        db,
        f"insert into sidecar_internal.events_{table.watch_id} (k1, backfill, attempts) values (11, true, 0), "
        "(12, true, 2)",
    )
    await run(db, f"update sidecar_internal.events_{table.watch_id} set attempts = 2 where k1 = 1")

    claims = [await sidecar.claim(backfill_rows=0) for _ in range(2)]
    assert sorted(keys(claims[0]) + keys(claims[1])) == [1, 2, 3]
    [watch] = await sidecar.watches()
    assert await sidecar.claimer.claim_batch(watch, {INGEST: ROWS, BACKFILL: 0}) is None

    claims = [await sidecar.claim() for _ in range(2)]
    assert sorted(keys(claims[0]) + keys(claims[1])) == [11, 12]
    assert {claim.lane for claim in claims} == {BACKFILL}


async def test_suspects_are_claimed_alone_and_every_second_time_at_most(
    db: Connection, sidecar: ClaimingSidecar
) -> None:
    table = await make_texts(db)
    await insert_titles(db, 1, 200)
    await run(db, f"update sidecar_internal.events_{table.watch_id} set attempts = 2 where k1 % 20 = 0")

    claims = []
    while await table.count("events"):
        claims.append(await sidecar.claim())
        await sidecar.finish(db, claims[-1])

    suspects = [claim for claim in claims if claim.events[0].attempts > 2]
    assert [len(claim.events) for claim in suspects] == [1] * 10
    assert not any(a in suspects and b in suspects for a, b in pairwise(claims[:20]))


async def test_an_expired_lease_makes_an_event_claimable_again(db: Connection, sidecar: ClaimingSidecar) -> None:
    table = await make_texts(db)
    await insert_titles(db, 1, 5)
    first = await sidecar.claim()
    await table.age_leases()
    second = await sidecar.claim()

    assert keys(first) == keys(second)
    assert first.lease.token != second.lease.token
    assert {event.attempts for event in second.events} == {2}

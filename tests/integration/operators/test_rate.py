"""A cap on rows per second: how fast a running sidecar writes, and how sidecars share the cap."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tests.encoders import HashEncoder
from tests.integration.ingest.composition import DIMENSIONS, running_ingest
from tests.integration.ingest.watched_table import Connection, WatchedTable, run, user, value, watch
from tests.waiting import wait_until_async

ROWS = 400
BURST_S = 0.2


@pytest.fixture
def encoder() -> HashEncoder:
    return HashEncoder(dimensions=DIMENSIONS)


@pytest.fixture
async def db(database_url: str) -> AsyncIterator[Connection]:
    async with user(database_url) as connection:
        await run(connection, "create table items (id bigint primary key, title text)")
        yield connection


async def insert(db: Connection, first: int, rows: int) -> None:
    await run(
        db, "insert into items select i, 'item ' || i from generate_series(%s::int, %s::int) i", first, first + rows - 1
    )


async def embedded(table: WatchedTable, more_than: int) -> None:
    async def enough() -> bool:
        return await table.count("ledger") > more_than

    await wait_until_async(enough, f"more than {more_than} rows", timeout_s=20)


async def assert_never_above(table: WatchedTable, rows_per_s: float, sidecars: int = 1) -> None:
    """Checks that no period has more rows than the cap allows. A batch of several chunks is written in some ms."""
    query = f"""
        with done as (
            select extract(epoch from embedded_at)::float8 as at, row_number() over (order by embedded_at) as n
            from sidecar_internal.ledger_{table.watch_id}
        )
        select max(b.n - a.n + 1 - (b.at - a.at) * %s) from done a join done b on b.n >= a.n
    """
    excess = await value(table.connection, query, rows_per_s)
    # Claimed in bursts, written up to a batch's duration later.
    assert excess <= rows_per_s * (BURST_S * sidecars + 0.3) + sidecars, excess


async def test_a_cap_holds_for_the_backfill_and_for_live_rows(
    database_url: str, db: Connection, encoder: HashEncoder
) -> None:
    await insert(db, 1, ROWS)
    table = await watch(db, ("items",), ("title",))
    await run(db, "select sidecar.set_rate('items', rows_per_s => 50)")
    async with running_ingest(database_url, encoder):
        await embedded(table, more_than=40)
        await insert(db, ROWS + 1, 100)
        await embedded(table, more_than=130)
        await assert_never_above(table, 50)
        await run(db, "select sidecar.set_rate('items')")
        await table.settle_right(encoder, timeout_s=5)  # at the cap it would take 7 s


async def test_another_watch_continues_at_full_speed(database_url: str, db: Connection, encoder: HashEncoder) -> None:
    await run(db, "create table others (id bigint primary key, title text)")
    await run(db, "insert into others select i, 'other ' || i from generate_series(1, 400) i")
    await insert(db, 1, ROWS)
    capped = await watch(db, ("items",), ("title",))
    free = await watch(db, ("others",), ("title",))
    await run(db, "select sidecar.set_rate('items', rows_per_s => 10)")
    async with running_ingest(database_url, encoder):
        await free.settle_right(encoder)
        assert await capped.count("ledger") < ROWS / 2


async def test_two_sidecars_share_a_cap(database_url: str, db: Connection, encoder: HashEncoder) -> None:
    await insert(db, 1, ROWS)
    table = await watch(db, ("items",), ("title",))
    await run(db, "select sidecar.pause()")
    await run(db, "select sidecar.set_rate('items', rows_per_s => 60)")
    async with running_ingest(database_url, encoder), running_ingest(database_url, encoder):

        async def both_know() -> bool:
            """Whether the first sidecar has read the watches since the second one's heartbeat."""
            rows = await run(
                db, "select count(*), max(seen_at) > max(started_at) + interval '1 s' from sidecar_internal.sidecars"
            )
            return rows == [(2, True)]

        await wait_until_async(both_know, "two heartbeats")
        await run(db, "select sidecar.resume()")
        await embedded(table, more_than=180)
        await assert_never_above(table, 60, sidecars=2)
        await run(db, "select sidecar.set_rate()")
        await table.settle_right(encoder)


async def test_a_cap_may_be_less_than_a_row_a_second(database_url: str, db: Connection, encoder: HashEncoder) -> None:
    table = await watch(db, ("items",), ("title",))
    await run(db, "select sidecar.set_rate('items', rows_per_s => 0.8)")
    await insert(db, 1, 5)
    async with running_ingest(database_url, encoder):
        await table.settle_right(encoder)
    spread = (
        f"select extract(epoch from max(embedded_at) - min(embedded_at)) from sidecar_internal.ledger_{table.watch_id}"
    )
    assert await value(db, spread) > 4.6  # four times 1.25 s, but for the delay of the first write

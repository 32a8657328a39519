"""Lag of single inserts from commit to visible vector, on a timed device."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable, Callable

import psycopg

from benchmarks.figure import Figure, in_chunks, of_rounds, percentile
from benchmarks.ingest.queueing import batched_sojourns, sojourn_percentile
from benchmarks.ingest.running import running_ingest
from benchmarks.scratch import execute, scratch_database, until_backfilled
from sidecar.concurrency import background
from tests.encoders import TimedEncoder
from tests.servers import Server
from tests.waiting import wait_until_async

ENCODE_MS = 5.0
TARGET = f"<= {ENCODE_MS + 20:g}"
POLL_INTERVAL_S = 0.001
OPEN_S = 0.5
UTILISATION = 0.5
MAX_BATCH = 32  # BATCH_MAX_VIEWS
ROUNDS = 5  # consecutive parts of a run

Inserted = dict[int, float]


async def measure_lag(server: Server, inserts: int) -> list[Figure]:
    """p50 and p95 of inserts when idle, at half load, and from transactions that stay open for 500 ms."""
    figures = []
    for name, scenario in (
        ("single inserts when idle", _insert_when_idle),
        ("Poisson arrivals at half load", _insert_at_half_load),
        ("from a transaction that was open for 500 ms", _insert_in_open_transactions),
    ):
        with scratch_database(server) as url:
            execute(
                url,
                "create table docs (id bigint generated always as identity primary key, body text)",
                "select sidecar.watch('docs', source => 'body', target => 'embedding', index => 'none')",
            )
            arrivals, all_lags = await _run(url, scenario, inserts)
        lags = in_chunks(all_lags, ROUNDS)
        target = None if scenario is _insert_at_half_load else TARGET
        p50, p95 = ([percentile(each, part) for each in lags] for part in (0.5, 0.95))
        figures += [
            of_rounds(f"commit to vector, {name}, p50 ({ENCODE_MS:g} ms encode)", p50, "ms"),
            of_rounds(f"commit to vector, {name}, p95 ({ENCODE_MS:g} ms encode)", p95, "ms", target),
        ]
        if scenario is _insert_at_half_load:
            theory_ms = sojourn_percentile(0.95, ENCODE_MS, UTILISATION)
            batched_ms = batched_sojourns([1000 * arrival for arrival in arrivals], ENCODE_MS, MAX_BATCH)
            batched = [percentile(each, 0.95) for each in in_chunks(batched_ms, ROUNDS)]
            above = [each - theory_ms for each in p95]
            figures += [
                Figure(f"{name}, p95 of the queue's theory (M/D/1)", theory_ms, "ms", is_baseline=True),
                of_rounds(f"{name}, p95 if all that wait go in one batch (simulated)", batched, "ms", is_baseline=True),
                of_rounds(f"commit to vector, {name}, p95 above the queue's theory", above, "ms", "<= 10"),
            ]
    return figures


async def _run(
    url: str, scenario: Callable[[str, Inserted, int], Awaitable[None]], inserts: int
) -> tuple[list[float], list[float]]:
    """When the rows were committed, in seconds, and their lags in ms."""
    committed: Inserted = {}
    seen: Inserted = {}
    async with running_ingest(url, TimedEncoder(ENCODE_MS)):
        async with await psycopg.AsyncConnection.connect(url, autocommit=True) as connection:
            await until_backfilled(connection)
        async with background(_record_vectors(url, seen), "recorder"):
            await scenario(url, committed, inserts)
            await wait_until_async(_are_seen(committed, seen), "the last vectors", timeout_s=30)
    return list(committed.values()), [(seen[row] - at) * 1000 for row, at in committed.items()]


def _are_seen(committed: Inserted, seen: Inserted) -> Callable[[], Awaitable[bool]]:
    async def all_seen() -> bool:
        return committed.keys() <= seen.keys()

    return all_seen


async def _record_vectors(url: str, seen: Inserted) -> None:
    """Record when rows have got their vector, polling every millisecond: lags are measured up to that much too long."""
    async with await psycopg.AsyncConnection.connect(url, autocommit=True) as connection:
        while True:
            cursor = await connection.execute(
                b"select id from docs where embedding is not null and id > %s", [_poll_from(seen)]
            )
            now = time.perf_counter()
            for (row,) in await cursor.fetchall():
                seen.setdefault(row, now)
            await asyncio.sleep(POLL_INTERVAL_S)


def _poll_from(seen: Inserted) -> int:
    """Generated ids have no gaps here, so polling the last two hundred is cheap and misses none."""
    return max(0, len(seen) - 200)


async def _insert(connection: psycopg.AsyncConnection) -> int:
    cursor = await connection.execute(b"insert into docs (body) values (%s) returning id", [f"text {random.random()}"])
    row = await cursor.fetchone()
    assert row is not None
    return int(row[0])


async def _insert_when_idle(url: str, committed: Inserted, inserts: int) -> None:
    async with await psycopg.AsyncConnection.connect(url, autocommit=True) as connection:
        for _ in range(inserts):
            await asyncio.sleep(random.uniform(0.02, 0.3))
            row = await _insert(connection)
            committed[row] = time.perf_counter()


async def _insert_at_half_load(url: str, committed: Inserted, inserts: int) -> None:
    rate_per_s = UTILISATION * 1000 / ENCODE_MS
    async with await psycopg.AsyncConnection.connect(url, autocommit=True) as connection:
        due = time.perf_counter()
        for _ in range(inserts * 20):
            due += random.expovariate(rate_per_s)
            await asyncio.sleep(max(0.0, due - time.perf_counter()))
            row = await _insert(connection)
            committed[row] = time.perf_counter()


async def _insert_in_open_transactions(url: str, committed: Inserted, inserts: int) -> None:
    """Ten concurrent writers, so that some events below the low-water mark commit after others were claimed."""

    async def write() -> None:
        async with await psycopg.AsyncConnection.connect(url) as connection:
            for _ in range(max(1, inserts // 20)):
                await asyncio.sleep(random.uniform(0, 1))
                row = await _insert(connection)
                await asyncio.sleep(OPEN_S)
                await connection.commit()
                committed[row] = time.perf_counter()

    await asyncio.gather(*(write() for _ in range(10)))

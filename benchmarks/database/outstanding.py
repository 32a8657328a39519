"""Time of a claim by the number of outstanding rows, and beside a transaction that stays open for a minute."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from statistics import median

import psycopg

from benchmarks.database.claims import Claims
from benchmarks.figure import Figure, of_rounds, ratio_of
from benchmarks.part import Run
from benchmarks.scratch import execute, only_watch, opened, scratch_database
from tests.servers import Server

FEW, MANY = 1_000, 3_000_000
CLAIM_ROWS = 256
CLAIMS = 30  # in a round
PINNED_S = 60.0


async def measure_outstanding(run: Run) -> list[Figure]:
    """Claims of 256 rows that are completed and replaced by as many new ones, so that as many stay outstanding."""
    few_ms: list[float] = []
    many_ms: list[float] = []
    async with _queue(run.server, FEW) as few, _queue(run.server, MANY) as many:
        for _ in range(run.rounds):
            few_ms.append(await few.p50_ms(CLAIMS))
            many_ms.append(await many.p50_ms(CLAIMS))
        pinned = await _pinned_ms(few, run.rounds)
        replaced = few.replaced
    claim = f"claim of {CLAIM_ROWS} rows, p50"
    return [
        of_rounds(f"{claim}, {FEW:,} outstanding", few_ms, "ms", is_baseline=True),
        of_rounds(f"{claim}, {MANY:,} outstanding", many_ms, "ms"),
        ratio_of(f"{claim}, {MANY:,} outstanding / {FEW:,}", many_ms, few_ms, "<= 1.5"),
        of_rounds(f"{claim}, after {PINNED_S:g} s of a pinned transaction", pinned, "ms"),
        of_rounds(
            f"{claim}, after {PINNED_S:g} s of a pinned transaction / without",
            [each / median(few_ms) for each in pinned],
            "ratio",
            "<= 3",
        ),
        Figure(f"rows done during {PINNED_S:g} s of a pinned transaction", float(replaced), "rows", is_detail=True),
    ]


@asynccontextmanager
async def _queue(server: Server, events: int) -> AsyncIterator[Claims]:
    with scratch_database(server) as url:
        execute(
            url,
            "create table docs (id bigint generated always as identity primary key, body text)",
            "select sidecar.watch('docs', source => 'body', index => 'none')",
            "delete from sidecar_internal.scans",
            f"insert into sidecar_internal.events_1 (k1) select i from generate_series(1, {events}) i",
            "vacuum analyze",
            "checkpoint",
        )
        async with opened(url) as database, database.connection() as connection:
            yield Claims(url, database, await only_watch(connection), CLAIM_ROWS)


async def _pinned_ms(queue: Claims, rounds: int) -> list[float]:
    """p50 of claims while a transaction is open that began PINNED_S before, and rows were done all the time."""
    queue.replaced = 0
    async with await psycopg.AsyncConnection.connect(queue.url) as old:
        await old.execute(b"set transaction isolation level repeatable read")
        await old.execute(b"select 1")
        until = time.perf_counter() + PINNED_S
        while time.perf_counter() < until:
            await queue.p50_ms(CLAIMS)
            await asyncio.sleep(0)
        return [await queue.p50_ms(CLAIMS) for _ in range(rounds)]

"""Cost of a forgotten transaction: what users' statements and claims read must not grow with it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from contextlib import contextmanager
from statistics import median

import psycopg

from benchmarks.figure import Figure, in_chunks, of_rounds, ratio_of
from benchmarks.scratch import execute, only_watch, opened, scratch_database
from sidecar.batching.job import Lane
from sidecar.ingest.claiming import Claimer
from sidecar.ingest.horizon import REFRESH_INTERVAL_S, Horizon
from sidecar.postgres.database import Database
from sidecar.postgres.heartbeat import announce_sleep
from sidecar.postgres.watches import Watch
from sidecar.settings import Settings
from tests.servers import Server

CLAIMS, CLAIM_ROWS = 40, 16
ROUNDS = 5
NAPS = 86_400  # of one idle sidecar in a day
UPDATED_ROWS = 1_000


async def measure_old_snapshot(server: Server, events: int) -> list[Figure]:
    with scratch_database(server) as url:
        execute(
            url,
            "create table docs (id bigint generated always as identity primary key, body text)",
            "select sidecar.watch('docs', source => 'body', index => 'none')",
            f"insert into docs (body) select 'document ' || i from generate_series(1, {UPDATED_ROWS}) i",
            "delete from sidecar_internal.events_1",
            "vacuum analyze",
        )
        async with opened(url) as database:
            async with database.connection() as connection:
                watch = await only_watch(connection)
            claims = _Claims(url, database, watch)
            before_ms, update_before_ms = await claims.times_ms(), _update_ms(url)
            with _old_snapshot(url):
                await claims.process(events)
                async with database.connection() as connection:
                    for _ in range(NAPS // 100):
                        await announce_sleep(connection, [1] * 100, 2.0)
                after_ms, update_after_ms = await claims.times_ms(), _update_ms(url)
    before, after = ([median(part) for part in in_chunks(times, ROUNDS)] for times in (before_ms, after_ms))
    return [
        ratio_of(f"claim beside an old snapshot of {events:,} done events / without, p50", after, before, "<= 3"),
        of_rounds("claim beside an old snapshot, p50", after, "ms"),
        ratio_of(
            f"UPDATE of {UPDATED_ROWS:,} rows beside an old snapshot of a day's naps / without",
            update_after_ms,
            update_before_ms,
            "<= 1.5",
        ),
    ]


@contextmanager
def _old_snapshot(url: str) -> Iterator[None]:
    with psycopg.connect(url) as connection:
        connection.execute("set transaction isolation level repeatable read")
        connection.execute("select 1")
        yield


class _Claims:
    """Claims as one sidecar makes them."""

    def __init__(self, url: str, database: Database, watch: Watch) -> None:
        self._url, self._watch = url, watch
        self._claimer = Claimer(Settings(), database, Horizon())

    async def process(self, events: int) -> None:
        """Leave that many done events behind."""
        execute(
            self._url,
            f"insert into sidecar_internal.events_1 (k1) select i from generate_series(1, {events}) i",
            "delete from sidecar_internal.events_1",
        )
        for _ in range(2):
            await asyncio.sleep(REFRESH_INTERVAL_S)
            await self._claim()

    async def times_ms(self) -> list[float]:
        times_ms = []
        for _ in range(CLAIMS):
            execute(
                self._url,
                f"insert into sidecar_internal.events_1 (k1) select i from generate_series(1, {CLAIM_ROWS}) i",
            )
            began = time.perf_counter()
            await self._claim()
            times_ms.append((time.perf_counter() - began) * 1000)
            execute(self._url, "delete from sidecar_internal.events_1")
        return times_ms

    async def _claim(self) -> None:
        await self._claimer.claim_batch(self._watch, {Lane.INGEST: CLAIM_ROWS, Lane.BACKFILL: CLAIM_ROWS})


def _update_ms(url: str) -> list[float]:
    """Times of an UPDATE of the source, by which each row enqueues an event. Rolled back."""
    times_ms = []
    with psycopg.connect(url) as connection:
        for turn in range(ROUNDS):
            began = time.perf_counter()
            connection.execute("update docs set body = 'turn ' || %s", [turn])
            times_ms.append((time.perf_counter() - began) * 1000)
            connection.rollback()
    return times_ms

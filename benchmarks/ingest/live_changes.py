"""Lag of single inserts during a backfill of pictures, compared with the lag when idle."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice

import psycopg

from benchmarks.figure import Figure, in_chunks, of_rounds, percentile
from benchmarks.ingest.running import running_ingest
from benchmarks.ingest.single_insert import lag_ms
from benchmarks.pictures import insert_photos, jpegs
from benchmarks.scratch import execute, scratch_database
from tests.encoders import TimedEncoder
from tests.servers import Server
from tests.waiting import wait_until_async

VIEW_MS, MICRO_BATCH_VIEWS, VIEWS_PER_PICTURE = 2.0, 32, 8  # of 640x480, at two scales
ROUNDS = 5  # consecutive parts of a run
MICRO_BATCH_MS = VIEW_MS * MICRO_BATCH_VIEWS
PICTURES_PER_S = 1000 / VIEW_MS / VIEWS_PER_PICTURE

LagsMs = Mapping[str, Sequence[float]]


async def measure_live(server: Server, inserts: int) -> list[Figure]:
    """p50 and p95 of `inserts` texts and as many pictures, and what the backfill adds in units of its micro-batches."""
    idle = await _measure(server, inserts, backfilled=0)
    loaded = await _measure(server, inserts, backfilled=round(inserts * 2 * PICTURES_PER_S * 0.6))
    figures = []
    for kind in ("text", "picture"):
        during = f"commit to vector, a single {kind} during a backfill of pictures"
        idle_p95, p50, p95 = (
            [percentile(part, share) for part in in_chunks(lags[kind], ROUNDS)]
            for lags, share in ((idle, 0.95), (loaded, 0.5), (loaded, 0.95))
        )
        added = [(one - other) / MICRO_BATCH_MS for one, other in zip(p95, idle_p95, strict=True)]
        figures += [
            of_rounds(f"commit to vector, a single {kind} when idle, p95", idle_p95, "ms", is_baseline=True),
            of_rounds(f"{during}, p50", p50, "ms"),
            of_rounds(f"{during}, p95", p95, "ms"),
            of_rounds(f"{during}, p95, what it adds", added, "micro-batches", "<= 2"),
        ]
    return figures


async def _measure(server: Server, inserts: int, backfilled: int) -> LagsMs:
    with scratch_database(server) as url:
        execute(
            url,
            "create table docs (id bigint generated always as identity primary key, body text)",
            "create table photos (id bigint generated always as identity primary key, photo bytea)",
        )
        pictures = jpegs(640, 480)
        insert_photos(url, "photos", islice(pictures, backfilled))
        execute(
            url,
            "select sidecar.watch('docs', source => 'body', target => 'embedding', index => 'none')",
            "select sidecar.watch('photos', source => 'photo', target => 'embedding', index => 'none')",
        )
        async with running_ingest(url, TimedEncoder(VIEW_MS, view_size=384)):
            return await _insert_singly(url, inserts, backfilled, pictures)


async def _insert_singly(url: str, inserts: int, backfilled: int, pictures: Iterator[bytes]) -> LagsMs:
    lags_ms: dict[str, list[float]] = {"text": [], "picture": []}
    async with await psycopg.AsyncConnection.connect(url, autocommit=True) as connection:
        await _until_started(connection, backfilled)
        for _ in range(inserts):
            await asyncio.sleep(random.uniform(0.1, 0.3))
            lags_ms["text"].append(await lag_ms(connection, "docs", "body", f"text {random.random()}"))
            await asyncio.sleep(random.uniform(0.1, 0.3))
            lags_ms["picture"].append(await lag_ms(connection, "photos", "photo", next(pictures)))
        rest = await connection.execute("select count(*) from photos where embedding is null")
        assert not backfilled or await rest.fetchone() != (0,), "the backfill ended too early"
    return lags_ms


async def _until_started(connection: psycopg.AsyncConnection, backfilled: int) -> None:
    """Wait until the backfill has filled the pipeline, or is finished if there is nothing to do."""

    async def has_started() -> bool:
        done = await connection.execute(
            b"select count(*) >= least(%s, 100) from photos where embedding is not null", [backfilled]
        )
        over = await connection.execute(b"select count(*) from sidecar_internal.scans where finished_at is not null")
        return await done.fetchone() == (True,) and (backfilled > 0 or await over.fetchone() == (2,))

    await wait_until_async(has_started, "the backfill", timeout_s=60)

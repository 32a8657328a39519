"""Commit to vector of single rows that change while a backfill of pictures runs, beside the same when idle."""

from __future__ import annotations

import asyncio
import io
import random
import time
from collections.abc import Mapping, Sequence
from functools import cache

import numpy as np
import psycopg
from PIL import Image

from benchmarks.figure import Figure
from benchmarks.ingest.running import running_ingest
from benchmarks.scratch import execute, scratch_database
from tests.encoders import TimedEncoder
from tests.servers import Server
from tests.waiting import wait_until_async

VIEW_MS, MICRO_BATCH_VIEWS, VIEWS_OF_A_PICTURE = 2.0, 32, 8
MICRO_BATCH_MS = VIEW_MS * MICRO_BATCH_VIEWS
PICTURES_PER_S = 1000 / VIEW_MS / VIEWS_OF_A_PICTURE
LOOK_EVERY_S = 0.002

LagsMs = Mapping[str, Sequence[float]]


async def measure_live(server: Server, inserts: int) -> list[Figure]:
    """p50 and p95 of `inserts` texts and as many pictures; and what the backfill adds, in micro-batches of it."""
    idle = await _measure(server, inserts, backfilled=0)
    loaded = await _measure(server, inserts, backfilled=round(inserts * 2 * PICTURES_PER_S * 0.6))
    figures = []
    for kind in ("text", "picture"):
        during = f"commit to vector, a single {kind} during a backfill of pictures"
        added_ms = _percentile(loaded[kind], 0.95) - _percentile(idle[kind], 0.95)
        figures += [
            Figure(f"commit to vector, a single {kind} when idle, p95", _percentile(idle[kind], 0.95), "ms"),
            Figure(f"{during}, p50", _percentile(loaded[kind], 0.5), "ms"),
            Figure(f"{during}, p95", _percentile(loaded[kind], 0.95), "ms"),
            Figure(f"{during}, p95, what it adds", added_ms / MICRO_BATCH_MS, "micro-batches", "<= 2"),
        ]
    return figures


def _percentile(lags_ms: Sequence[float], part: float) -> float:
    return sorted(lags_ms)[int(len(lags_ms) * part)]


async def _measure(server: Server, inserts: int, backfilled: int) -> LagsMs:
    with scratch_database(server) as url:
        execute(
            url,
            "create table docs (id bigint generated always as identity primary key, body text)",
            "create table photos (id bigint generated always as identity primary key, photo bytea)",
        )
        with psycopg.connect(url, autocommit=True) as connection:
            for _ in range(backfilled):
                connection.execute("insert into photos (photo) values (%s)", [_picture()])
        execute(
            url,
            "select sidecar.watch('docs', source => 'body', target => 'embedding', index => 'none')",
            "select sidecar.watch('photos', source => 'photo', target => 'embedding', index => 'none')",
        )
        async with running_ingest(url, TimedEncoder(VIEW_MS, view_size=384)):
            return await _insert_singly(url, inserts, backfilled)


async def _insert_singly(url: str, inserts: int, backfilled: int) -> LagsMs:
    lags_ms: dict[str, list[float]] = {"text": [], "picture": []}
    async with await psycopg.AsyncConnection.connect(url, autocommit=True) as connection:
        await _until_started(connection, backfilled)
        for _ in range(inserts):
            await asyncio.sleep(random.uniform(0.1, 0.3))
            lags_ms["text"].append(await _lag_ms(connection, "docs", "body", f"text {random.random()}"))
            await asyncio.sleep(random.uniform(0.1, 0.3))
            lags_ms["picture"].append(await _lag_ms(connection, "photos", "photo", _picture()))
        rest = await connection.execute("select count(*) from photos where embedding is null")
        assert not backfilled or await rest.fetchone() != (0,), "the backfill ended too early"
    return lags_ms


async def _until_started(connection: psycopg.AsyncConnection, backfilled: int) -> None:
    """Until the backfill has filled the pipeline, or has nothing to do."""

    async def has_started() -> bool:
        done = await connection.execute(
            b"select count(*) >= least(%s, 100) from photos where embedding is not null", [backfilled]
        )
        over = await connection.execute(b"select count(*) from sidecar.scans where finished_at is not null")
        return await done.fetchone() == (True,) and (backfilled > 0 or await over.fetchone() == (2,))

    await wait_until_async(has_started, "the backfill", timeout_s=60)


async def _lag_ms(connection: psycopg.AsyncConnection, table: str, column: str, value: str | bytes) -> float:
    inserted = await connection.execute(f"insert into {table} ({column}) values (%s) returning id".encode(), [value])
    row = await inserted.fetchone()
    committed = time.perf_counter()
    look = f"select embedding is not null from {table} where id = %s".encode()
    while await (await connection.execute(look, row)).fetchone() != (True,):
        await asyncio.sleep(LOOK_EVERY_S)
    return (time.perf_counter() - committed) * 1000


@cache
def _noise() -> np.random.Generator:
    return np.random.default_rng(0)


def _picture() -> bytes:
    """A JPEG of 640x480: eight views at two scales, like no other."""
    coarse = _noise().integers(0, 255, (12, 16, 3), np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(coarse).resize((640, 480), Image.Resampling.BICUBIC).save(buffer, "JPEG", quality=85)
    return buffer.getvalue()

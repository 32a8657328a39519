"""Rows per second of one, two and three sidecars on one database, each with a timed device of its own."""

from __future__ import annotations

import asyncio
import tempfile
import time
from contextlib import ExitStack
from functools import partial
from pathlib import Path

import psycopg

from benchmarks.figure import Figure, of_rounds, ratio_of
from benchmarks.part import Run
from benchmarks.scratch import execute, scratch_database
from benchmarks.serving.server_process import Bench, server_process
from tests.servers import Server
from tests.waiting import wait_until_async

MICRO_BATCH = 8
SLOW_TEXTS_PER_S, FAST_TEXTS_PER_S = 100, 800  # of one device
TARGETS = {2: ">= 1.8", 3: ">= 2.5"}
MEASURED_S, SETTLED_S = 4.0, 1.5
_BACKLOG_S = 400.0  # of one device's work: all three are busy to the end, however slowly they start
_TAKING_PART = "select count(distinct lease_token) >= %s from sidecar_internal.events_1 where lease_until > now()"


async def measure_sidecars(run: Run) -> list[Figure]:
    """Within a round, a second and a third sidecar join the first.

    With --full, devices that are too fast for the cores of a small machine are measured, too.
    """
    figures = await _measure_with(run, SLOW_TEXTS_PER_S, has_target=True)
    return figures + await _measure_with(run, FAST_TEXTS_PER_S, has_target=False) if run.full else figures


async def _measure_with(run: Run, texts_per_s: int, *, has_target: bool) -> list[Figure]:
    rates = [await _rates(run.server, texts_per_s) for _ in range(run.rounds)]
    device = f"devices of {texts_per_s} texts/s"
    one = [each[0] for each in rates]
    figures = [of_rounds(f"1 sidecar, {device}", one, "rows/s", is_baseline=True)]
    for count, target in TARGETS.items():
        several = [each[count - 1] for each in rates]
        figures.append(of_rounds(f"{count} sidecars on one database, {device}", several, "rows/s"))
        name = f"{count} sidecars on one database / 1, {device}"
        figures.append(ratio_of(name, several, one, target if has_target else None))
    return figures


async def _rates(server: Server, texts_per_s: float) -> list[float]:
    """Rows per second of one sidecar, of two and of three, on one backlog."""
    rows = round(texts_per_s * _BACKLOG_S)
    rates: list[float] = []
    with scratch_database(server) as url, tempfile.TemporaryDirectory() as directory, ExitStack() as sidecars:
        execute(
            url,
            "create table docs (id bigint generated always as identity primary key, body text)",
            "select sidecar.watch('docs', source => 'body', target => 'embedding', index => 'none')",
            "delete from sidecar_internal.scans",
            f"insert into docs (body) select 'document number ' || i from generate_series(1, {rows}) i",
            "vacuum analyze docs",
        )
        bench = Bench(Path(directory), 1000 * MICRO_BATCH / texts_per_s, pinned=False)
        async with await psycopg.AsyncConnection.connect(url, autocommit=True) as connection:
            for count in range(1, len(TARGETS) + 2):
                sidecars.enter_context(server_process(bench, "sidecar", database_url=url, batch_max_views=MICRO_BATCH))
                await wait_until_async(partial(_have_joined, connection, count), "all sidecars to have rows")
                await asyncio.sleep(SETTLED_S)
                rates.append(await _rate(connection))
            cursor = await connection.execute(
                b"select exists (select from sidecar_internal.events_1 where lease_until is null)"
            )
            assert await cursor.fetchone() == (True,), "the backlog ended before the measurement"
    return rates


async def _have_joined(connection: psycopg.AsyncConnection, count: int) -> bool:
    cursor = await connection.execute(_TAKING_PART.encode(), [count])
    return await cursor.fetchone() == (True,)


async def _rate(connection: psycopg.AsyncConnection) -> float:
    """Vectors per second during MEASURED_S."""
    before, began = await _vectors(connection), time.perf_counter()
    await asyncio.sleep(MEASURED_S)
    return (await _vectors(connection) - before) / (time.perf_counter() - began)


async def _vectors(connection: psycopg.AsyncConnection) -> int:
    cursor = await connection.execute(b"select count(embedding) from docs")
    row = await cursor.fetchone()
    assert row is not None
    return int(row[0])

"""One sidecar with one, two and four timed devices: rows per second of a backlog, and queries beside it."""

from __future__ import annotations

import asyncio
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import httpx
import psycopg

from benchmarks.figure import Figure, of_rounds, percentile, ratio_of
from benchmarks.part import Run
from benchmarks.scratch import execute, scratch_database
from benchmarks.serving.server_process import Bench, server_process
from tests.servers import Server
from tests.waiting import wait_until_async

MICRO_BATCH, BATCH_MS, VIEW_MS = 8, 16.0, 8.0  # 80 ms for 8: pictures with TTA on a fast GPU, 100 rows a second
TEXTS_PER_S = 1000 * MICRO_BATCH / (BATCH_MS + MICRO_BATCH * VIEW_MS)
TARGETS = {1: None, 2: ">= 1.9", 4: ">= 3.6"}
MEASURED_S, SETTLED_S = 4.0, 2.0
QUERIES = 60
_DEVICE = f"of {TEXTS_PER_S:g} texts/s"


@dataclass(frozen=True, slots=True)
class _Measured:
    rows_per_s: float
    query_p50_ms: float
    query_p95_ms: float


async def measure_devices(run: Run) -> list[Figure]:
    """Within a round, servers with one, two and four devices follow one another on one backlog."""
    rounds = [await _measure_round(run.server) for _ in range(run.rounds)]
    one = [each[1].rows_per_s for each in rounds]
    figures = []
    for count, target in TARGETS.items():
        what = f"{count} device{'s' if count > 1 else ''} {_DEVICE}"
        rates = [each[count].rows_per_s for each in rounds]
        figures.append(of_rounds(what, rates, "rows/s", is_baseline=count == 1))
        if target is not None:
            figures.append(ratio_of(f"{count} devices / 1, {_DEVICE}, one sidecar", rates, one, target))
        for part in ("p50", "p95"):
            latencies = [getattr(each[count], f"query_{part}_ms") for each in rounds]
            figures.append(of_rounds(f"query beside a backfill, {what}, {part}", latencies, "ms"))
    return figures


async def _measure_round(server: Server) -> dict[int, _Measured]:
    rows = round(TEXTS_PER_S * sum(TARGETS) * (MEASURED_S + SETTLED_S + 25))
    measured = {}
    with scratch_database(server) as url, tempfile.TemporaryDirectory() as directory:
        execute(
            url,
            "create table docs (id bigint generated always as identity primary key, body text)",
            f"insert into docs (body) select 'document number ' || i from generate_series(1, {rows}) i",
            "select sidecar.watch('docs', source => 'body', target => 'embedding', index => 'none')",
            "vacuum analyze docs",
        )
        for count in TARGETS:
            bench = Bench(Path(directory), BATCH_MS, pinned=False, view_ms=VIEW_MS, devices=count)
            with server_process(bench, "sidecar", database_url=url, batch_max_views=MICRO_BATCH) as process:
                measured[count] = await _measure_server(url, process.port)
    return measured


async def _measure_server(url: str, port: int) -> _Measured:
    async with await psycopg.AsyncConnection.connect(url, autocommit=True) as connection:
        before = await _vectors(connection)

        async def has_begun() -> bool:
            return await _vectors(connection) > before + TEXTS_PER_S

        await wait_until_async(has_begun, "the backlog to be embedded", 60)
        await asyncio.sleep(SETTLED_S)
        before, began = await _vectors(connection), time.perf_counter()
        await asyncio.sleep(MEASURED_S)
        rate = (await _vectors(connection) - before) / (time.perf_counter() - began)
        latencies = await _query(port)
        cursor = await connection.execute(b"select exists (select from docs where embedding is null)")
        assert await cursor.fetchone() == (True,), "the backlog ended before the measurement"
    return _Measured(rate, percentile(latencies, 0.5), percentile(latencies, 0.95))


async def _query(port: int) -> list[float]:
    """Milliseconds of single queries, one after another."""
    latencies = []
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}") as client:
        for number in range(QUERIES):
            began = time.perf_counter()
            (await client.post("/embed/text", json={"text": f"query {number} {began}"})).raise_for_status()
            latencies.append(1000 * (time.perf_counter() - began))
            await asyncio.sleep(0.02)
    return latencies


async def _vectors(connection: psycopg.AsyncConnection) -> int:
    cursor = await connection.execute(b"select count(embedding) from docs")
    row = await cursor.fetchone()
    assert row is not None
    return int(row[0])

"""What one primary gives: rows per second of one to four sidecars whose devices take no time, and what a row costs."""

from __future__ import annotations

import asyncio
import tempfile
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import psycopg

from benchmarks.figure import Figure, of_rounds
from benchmarks.part import Run
from benchmarks.postgres_usage import PostgresUsage
from benchmarks.scratch import DIMENSIONS, execute, scratch_database
from benchmarks.serving.server_process import Bench, ServerProcess, server_process
from tests.servers import Server
from tests.waiting import wait_until_async

MEASURED_ROWS, POLL_S, SETTLED_S = 10_000, 0.5, 1.0
SIDECARS = 4
SHAPES: Mapping[str, str] = {
    "in-row, vector": "",
    "companion, vector": ", companion => 'docs_vectors'",
    "companion, halfvec": ", companion => 'docs_vectors', storage => 'halfvec'",
}
_BACKLOG = 600_000
_TAKING_PART = "select count(distinct lease_token) >= %s from sidecar_internal.events_1 where lease_until > now()"


@dataclass(frozen=True, slots=True)
class Rate:
    """Microseconds of processor time, of the server and of all sidecars, and bytes of WAL are those of a row."""

    rows_per_s: float
    server_us: float
    sidecar_us: float
    wal_bytes: float


async def measure_ceiling(run: Run) -> list[Figure]:
    """The real path from claim to vector at 1152 dimensions, without an index. Costs are those of a single sidecar."""
    figures = []
    for shape, options in SHAPES.items():
        rounds = [await _rates(run.server, options) for _ in range(run.rounds)]
        one = [rates[0] for rates in rounds]
        figures += [
            of_rounds(
                f"{shape}, {'1 sidecar' if n == 1 else f'{n} sidecars'}",
                [r[n - 1].rows_per_s for r in rounds],
                "rows/s",
            )
            for n in range(1, SIDECARS + 1)
        ]
        figures += [
            of_rounds(f"{shape}, server", [each.server_us for each in one], "us of processor time/row"),
            of_rounds(f"{shape}, sidecar", [each.sidecar_us for each in one], "us of processor time/row"),
            of_rounds(f"{shape}, WAL", [each.wal_bytes for each in one], "bytes/row"),
        ]
    return figures


async def _rates(server: Server, options: str) -> list[Rate]:
    """The rates of one sidecar, of two and so on, on one backlog."""
    rates: list[Rate] = []
    with scratch_database(server) as url, tempfile.TemporaryDirectory() as directory, ExitStack() as stack:
        execute(
            url,
            "create table docs (id bigint generated always as identity primary key, body text)",
            f"select sidecar.watch('docs', source => 'body', target => 'embedding', index => 'none'{options})",
            "delete from sidecar_internal.scans",
            f"insert into docs (body) select repeat(md5(i::text), 6) from generate_series(1, {_BACKLOG}) i",
            "vacuum analyze docs",
            "checkpoint",
        )
        bench = Bench(Path(directory), 0, pinned=False, instant_dimensions=DIMENSIONS)
        running: list[ServerProcess] = []
        async with await psycopg.AsyncConnection.connect(url, autocommit=True) as connection:
            for count in range(1, SIDECARS + 1):
                running.append(stack.enter_context(server_process(bench, "sidecar", database_url=url)))
                await wait_until_async(partial(_have_joined, connection, count), "all sidecars to have rows")
                await asyncio.sleep(SETTLED_S)
                rates.append(await _rate(url, connection, running))
            assert await _done(connection) < _BACKLOG, "the backlog ended before the measurement"
    return rates


async def _have_joined(connection: psycopg.AsyncConnection, count: int) -> bool:
    cursor = await connection.execute(_TAKING_PART.encode(), [count])
    return await cursor.fetchone() == (True,)


async def _rate(url: str, connection: psycopg.AsyncConnection, sidecars: Sequence[ServerProcess]) -> Rate:
    usage, ours_s = PostgresUsage(url), sum(each.cpu_s() for each in sidecars)
    first, began = await _done(connection), time.perf_counter()
    done = 0.0
    while done < MEASURED_ROWS:
        await asyncio.sleep(POLL_S)
        done = await _done(connection) - first
    took_s = time.perf_counter() - began
    spent, ours_s = usage.since_start(), sum(each.cpu_s() for each in sidecars) - ours_s
    return Rate(done / took_s, spent.cpu_s / done * 1e6, ours_s / done * 1e6, spent.wal_bytes / done)


async def _done(connection: psycopg.AsyncConnection) -> float:
    """Rows with a vector. Counting the ledger takes some milliseconds, which the server's time contains."""
    row = await (await connection.execute(b"select count(*) from sidecar_internal.ledger_1")).fetchone()
    assert row is not None
    return float(row[0])

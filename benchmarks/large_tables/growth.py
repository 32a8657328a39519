"""A watched table at one size: first scan, sweeps, status, doctor, and a backlog of all of it, with a real sidecar."""

from __future__ import annotations

import asyncio
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from statistics import median
from typing import Any

import psycopg
from pydantic import SecretStr

from benchmarks.database.claims import Claims
from benchmarks.figure import percentile
from benchmarks.postgres_usage import PostgresUsage
from benchmarks.scratch import execute, opened, scratch_database
from benchmarks.serving.server_process import Bench, server_process
from sidecar.operations.checkup import check_database
from sidecar.operations.findings import Limits
from sidecar.operations.session import connect_as_user
from sidecar.postgres.database import Connection
from sidecar.postgres.scans import backfill_page, sweep_page, verify_page
from sidecar.postgres.watches import Watch, load_watches
from tests.servers import Server
from tests.waiting import wait_until_async

DIMENSIONS = 8
MEASURED_S = 6.0
_SETTLED_S = 1.0
_PAGES = 20
_TEXT = "repeat(md5(i::text), 6)"  # 192 letters, none of them the same as another's
_FINGERPRINT = f"instant-{DIMENSIONS}-32"
_TABLES = {
    "table": "docs",
    "companion": "docs_vectors",
    "ledger": "sidecar_internal.ledger_1",
    "events": "sidecar_internal.events_1",
}


async def measure_size(server: Server, rows: int) -> dict[str, float]:
    """All figures at `rows` rows. What is not measured is written by SQL, as the sidecar would have."""
    with scratch_database(server) as url:
        figures = await asyncio.to_thread(_create, url, rows)
        figures |= await _measure_fill(url, "fill")
        await asyncio.to_thread(_finish_backfill, url)
        figures |= await asyncio.to_thread(_sizes, url, rows)
        figures |= await _measure_scans(url, rows)
        figures |= await _measure_readers(url, "")
        figures |= await _measure_backlog(url, rows)
        return {name: round(value, 4) for name, value in figures.items()}


def _create(url: str, rows: int) -> dict[str, float]:
    execute(
        url,
        "create table docs (id bigint generated always as identity primary key, body text, price int)",
        f"insert into docs (body) select {_TEXT} from generate_series(1, {rows}) i",
        "vacuum analyze docs",
        "checkpoint",
    )
    began = time.perf_counter()
    execute(
        url,
        "select sidecar.watch('docs', source => 'body', target => 'embedding', companion => 'docs_vectors',"
        f" index => 'none', dimensions => {DIMENSIONS})",
    )
    return {"watch_ms": (time.perf_counter() - began) * 1000}


async def _measure_fill(url: str, what: str) -> dict[str, float]:
    """Rows per second of one real sidecar with a device that takes no time, and what each costs."""
    async with _sidecar(url) as cpu_s, await psycopg.AsyncConnection.connect(url, autocommit=True) as connection:

        async def has_begun() -> bool:
            return await _value(connection, "select count(*) >= 1000 from docs_vectors") > 0

        await wait_until_async(has_begun, "the first vectors", timeout_s=120)
        await asyncio.sleep(_SETTLED_S)
        usage, ours = PostgresUsage(url), cpu_s()
        began = time.perf_counter()
        began_at = await _value(connection, "select extract(epoch from clock_timestamp())::float8")
        await asyncio.sleep(MEASURED_S)
        elapsed_s, spent, spent_ours = time.perf_counter() - began, usage.since_start(), cpu_s() - ours
        done = await _value(
            connection,
            "select count(*)::float8 from sidecar_internal.ledger_1 where embedded_at >= to_timestamp(%s)"
            " and embedded_at < to_timestamp(%s)",
            [began_at, began_at + elapsed_s],
        )
        events_bytes = await _value(connection, "select pg_total_relation_size('sidecar_internal.events_1')::float8")
    return {
        f"{what}_rows_per_s": done / elapsed_s,
        f"{what}_server_us_per_row": spent.cpu_s / done * 1e6,
        f"{what}_sidecar_us_per_row": spent_ours / done * 1e6,
        f"{what}_wal_bytes_per_row": spent.wal_bytes / done,
        f"{what}_events_bytes": events_bytes,
    }


@asynccontextmanager
async def _sidecar(url: str) -> AsyncIterator[Callable[[], float]]:
    """A sidecar in a process of its own; yields what tells its CPU seconds."""
    with tempfile.TemporaryDirectory() as directory:
        bench = Bench(Path(directory), 0, pinned=False, instant_dimensions=DIMENSIONS)
        context = server_process(bench, "sidecar", database_url=url, sweep_interval_s=604_800)
        process = await asyncio.to_thread(context.__enter__)
        try:
            yield process.cpu_s
        finally:
            await asyncio.to_thread(context.__exit__, None, None, None)


def _finish_backfill(url: str) -> None:
    """The vectors and entries that the sidecar did not come to, in generations like its own."""
    vector = f"('[' || repeat('0.35,', {DIMENSIONS - 1}) || '0.35]')::vector"
    execute(
        url,
        "delete from sidecar_internal.events_1",
        "insert into sidecar_internal.ledger_1 (k1, gen, content_hash, vector_digest)"
        " select t.id, nextval('sidecar_internal.generation'), sha256(body::bytea), sha256('v') from docs t"
        " where not exists (select from sidecar_internal.ledger_1 l where l.k1 = t.id)",
        f"set sidecar.writer = 'on'; insert into docs_vectors select id, {vector} from docs on conflict do nothing",
        "update sidecar_internal.scans set finished_at = now()",
        "vacuum analyze",
        "checkpoint",
    )


def _sizes(url: str, rows: int) -> dict[str, float]:
    """Bytes per row of each table with its own parts; whole bytes of the indexes that hold exceptions only."""
    figures: dict[str, float] = {}
    with psycopg.connect(url) as connection:
        for name, table in _TABLES.items():
            query = "select pg_table_size(%s::regclass)::float8, pg_indexes_size(%s::regclass)::float8"
            row = connection.execute(query, [table, table]).fetchone()
            assert row is not None
            if name != "events":
                figures |= {f"{name}_bytes_per_row": row[0] / rows, f"{name}_indexes_bytes_per_row": row[1] / rows}
    return figures


async def _measure_scans(url: str, rows: int) -> dict[str, float]:
    """Pages of the sweep, the verification and the first scan, from the middle of the table on."""
    async with opened(url) as database, database.connection() as connection:
        figures: dict[str, float] = {}
        page_bytes = 8 * 1024 * 1024
        scans: dict[str, tuple[str, int, Callable[[Watch], Awaitable[Any]]]] = {
            "sweep": ("rows", 5000, lambda watch: sweep_page(connection, watch, 5000)),
            "sweep_entries": ("entries", 5000, lambda watch: sweep_page(connection, watch, 5000)),
            "sweep_vectors": ("vectors", 5000, lambda watch: sweep_page(connection, watch, 5000)),
            "verify": ("rows", 1000, lambda watch: verify_page(connection, watch, 1000, 1e12, page_bytes)),
            "backfill": ("rows", 256, lambda watch: backfill_page(connection, watch, 256)),
        }
        for name, (phase, page_rows, page) in scans.items():
            await _start_scan(connection, name.partition("_")[0], phase, rows // 2)
            (watch,) = await load_watches(connection)
            times_ms = [await _timed_ms(page, watch) for _ in range(_PAGES)]
            figures |= _of_times(f"{name}_page", times_ms)
            figures[f"{name}_rows_per_s"] = page_rows / min(times_ms) * 1000
            await connection.execute("delete from sidecar_internal.events_1")
        await connection.execute("update sidecar_internal.scans set finished_at = now()")
        return figures


async def _start_scan(connection: Connection, purpose: str, phase: str, after: int) -> None:
    await connection.execute(
        "insert into sidecar_internal.scans (watch_id, purpose, phase, last_key) values (1, $1, $2, array[$3::text])"
        " on conflict (watch_id, purpose) do update set phase = excluded.phase, last_key = excluded.last_key,"
        " finished_at = null",
        purpose,
        phase,
        str(after),
    )


async def _timed_ms(page: Callable[[Watch], Awaitable[Any]], watch: Watch) -> float:
    began = time.perf_counter()
    await page(watch)
    return (time.perf_counter() - began) * 1000


async def _measure_readers(url: str, suffix: str) -> dict[str, float]:
    """What people and monitoring ask: status, doctor, and what each sidecar asks at its start."""
    queries = {
        "status": "select * from sidecar.status",
        "raise_generation": "select sidecar_internal.raise_generation()",
        "find_work": "select * from sidecar_internal.find_work(array[1], array[0::bigint], '{}')",
        "find_unindexed": "select * from sidecar_internal.find_unindexed(array[1])",
    }
    figures = {}
    async with await psycopg.AsyncConnection.connect(url, autocommit=True) as connection:
        for name, query in queries.items():
            figures[f"{name}_pages{suffix}"] = await _pages(connection, query)
            figures |= _of_times(name + suffix, [await _query_ms(connection, query) for _ in range(15)])
    began = time.perf_counter()
    not_checked = await asyncio.to_thread(_examine, url)
    figures |= {"doctor_ms" + suffix: (time.perf_counter() - began) * 1000, "doctor_not_checked" + suffix: not_checked}
    return figures


def _of_times(name: str, times_ms: list[float]) -> dict[str, float]:
    """The median, and the least, which other programs on the machine disturb less."""
    return {f"{name}_ms": median(times_ms), f"{name}_least_ms": min(times_ms)}


async def _pages(connection: psycopg.AsyncConnection, query: str) -> float:
    """Pages of 8 kB that a query reads, in memory or not, the second time."""
    await connection.execute(query.encode())
    cursor = await connection.execute(f"explain (analyze, buffers, format json) {query}".encode())
    row = await cursor.fetchone()
    assert row is not None
    plan = row[0][0]["Plan"]
    return float(plan["Shared Hit Blocks"] + plan["Shared Read Blocks"])


async def _query_ms(connection: psycopg.AsyncConnection, query: str) -> float:
    began = time.perf_counter()
    await (await connection.execute(query.encode())).fetchall()
    return (time.perf_counter() - began) * 1000


async def _measure_backlog(url: str, rows: int) -> dict[str, float]:
    """Every row has changed: claims, status and the sidecar's rate with that many events, and when most are done."""
    execute(
        url,
        f"update sidecar_internal.watches set fingerprint = '{_FINGERPRINT}', encoder = 'instant'",
        f"insert into sidecar_internal.events_1 (k1) select i from generate_series(1, {rows}) i",
        "vacuum analyze sidecar_internal.events_1",
        "checkpoint",
    )
    figures = {}
    with psycopg.connect(url) as connection:
        row = connection.execute("select pg_total_relation_size('sidecar_internal.events_1')::float8").fetchone()
        assert row is not None
        figures["event_bytes"] = row[0] / rows
    async with opened(url) as database:
        async with database.connection() as connection_:
            (watch,) = await load_watches(connection_)
        times = await Claims(url, database, watch, 256).times_ms(60)
        figures |= {**_of_times("claim", times), "claim_p95_ms": percentile(times, 0.95)}
    figures |= await _measure_readers(url, "_with_backlog")
    # Nine tenths are done, as completions do them: the front of the queue is dead rows until the next VACUUM.
    execute(
        url,
        "alter table sidecar_internal.events_1 set (autovacuum_enabled = off)",
        "delete from sidecar_internal.events_1 where gen <"
        " (select min(gen) + (max(gen) - min(gen)) * 0.9 from sidecar_internal.events_1)",
    )
    figures |= await _measure_readers(url, "_behind_dead_rows")
    execute(url, "alter table sidecar_internal.events_1 reset (autovacuum_enabled)")
    return figures


async def _value(connection: psycopg.AsyncConnection, query: str, parameters: list[Any] | None = None) -> float:
    row = await (await connection.execute(query.encode(), parameters)).fetchone()
    assert row is not None
    return float(row[0])


def _examine(url: str) -> int:
    """Runs the checks of `sidecar doctor`; returns how many took too long."""
    with connect_as_user(SecretStr(url)) as connection:
        return len(check_database(connection, Limits()).not_checked)

"""Time of a backfill whose index is built afterwards, as the sidecar does it, and of one into a live index."""

from __future__ import annotations

import time
from collections.abc import Sequence

import psycopg

from benchmarks.figure import Figure, of_rounds, ratio_of
from benchmarks.ingest.running import running_ingest
from benchmarks.part import Run
from benchmarks.scratch import execute, scratch_database
from tests.encoders import HashEncoder
from tests.servers import Server
from tests.waiting import wait_until_async

SMALL = ((8_000, 1152),)
FULL = ((100_000, 1152),)
_TIMEOUT_S = 3600.0
_DONE = """
    select not exists (select from sidecar_internal.scans where finished_at is null)
       and not exists (select from sidecar_internal.events_1)
       and exists (select from pg_index i join pg_class c on c.oid = i.indexrelid join pg_am a on a.oid = c.relam
                   where i.indrelid = 'docs'::regclass and i.indisvalid and a.amname = 'hnsw')
"""


async def measure_index_build(run: Run) -> list[Figure]:
    """From the first claim to the last vector in a valid index. The device takes no time: the database is the limit.

    With --full, 100,000 rows, once: ten minutes on a quiet machine. The smaller a backfill, the larger the part of what
    is not the index's: the first claim, and the seconds until the build begins.
    """
    sizes, rounds = (FULL, 1) if run.full else (SMALL, run.rounds)
    return [figure for size in sizes for figure in await _compare(run.server, *size, rounds)]


async def _compare(server: Server, rows: int, dimensions: int, rounds: int) -> list[Figure]:
    after_s: list[float] = []
    live_s: list[float] = []
    for _ in range(rounds):
        after_s.append(await _backfill_s(server, rows, dimensions, is_live=False))
        live_s.append(await _backfill_s(server, rows, dimensions, is_live=True))
    backfill = f"backfill of {rows:,} rows of {dimensions} dimensions"
    return [
        of_rounds(f"{backfill}, index built afterwards", _rates(rows, after_s), "rows/s"),
        of_rounds(f"{backfill}, into a live index", _rates(rows, live_s), "rows/s", is_baseline=True),
        ratio_of(f"{backfill}, index built afterwards / live", live_s, after_s, ">= 4"),
    ]


def _rates(rows: int, seconds: Sequence[float]) -> list[float]:
    return [rows / each for each in seconds]


async def _backfill_s(server: Server, rows: int, dimensions: int, *, is_live: bool) -> float:
    with scratch_database(server) as url:
        kind = "none" if is_live else "halfvec"
        index = f"create index on docs using hnsw ((embedding::halfvec({dimensions})) halfvec_cosine_ops)"
        execute(
            url,
            "create table docs (id bigint generated always as identity primary key, body text)",
            f"insert into docs (body) select 'document number ' || i from generate_series(1, {rows}) i",
            "select sidecar.watch('docs', source => 'body', target => 'embedding',"
            f" index => '{kind}', dimensions => {dimensions})",
            *([index] if is_live else []),
            "vacuum analyze docs",
            "checkpoint",
        )
        async with await psycopg.AsyncConnection.connect(url, autocommit=True) as connection:

            async def is_done() -> bool:
                return await (await connection.execute(_DONE.encode())).fetchone() == (True,)

            began = time.perf_counter()
            async with running_ingest(url, HashEncoder(dimensions=dimensions)):
                await wait_until_async(is_done, f"{rows} vectors in an index", _TIMEOUT_S)
                took_s = time.perf_counter() - began
            cursor = await connection.execute(b"select count(embedding) from docs")
            assert await cursor.fetchone() == (rows,), "rows are without a vector"
            return took_s

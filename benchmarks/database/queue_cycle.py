"""Claim → read → complete without a model, and complete with vectors compared with a bare bulk write."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from benchmarks.figure import Figure, in_chunks, of_rounds, ratio_of
from benchmarks.scratch import DIMENSIONS, FINGERPRINT, execute, new_lease, only_watch, opened, scratch_database
from sidecar.ingest.writer import rows_per_write
from sidecar.postgres.completion import EMPTY, RowOutcome, RowResult, complete
from sidecar.postgres.database import Connection, Database
from sidecar.postgres.events import ClaimRequest, Event, Lease, Queue, claim
from sidecar.postgres.rows import ReadLimits, key_parameters, read_rows
from sidecar.postgres.vectors import pack_vectors, vector_digest
from sidecar.postgres.watches import Watch
from tests.servers import Server

BATCH = 256
MAX_BYTES = 64 * 1024 * 1024
ROUNDS = 5


@dataclass(frozen=True, slots=True)
class _Batch:
    rows: int
    seconds: float


async def measure_queue_cycle(server: Server, rows: int) -> list[Figure]:
    """rows/s of the queue alone; then the ratio of `complete` to a bare write, batch by batch in turns."""
    with scratch_database(server) as url:
        alone = await _cycle_without_vectors(url, rows)
    figures = [of_rounds("claim + read + complete, no vectors, batch 256", alone, "rows/s", ">= 20000")]
    for place, companion in (("in-row", False), ("companion", True)):
        with scratch_database(server) as url:
            bare, ours, cycle = await _against_bare_write(url, rows, companion)
        figures += [
            of_rounds(f"bare bulk write of vectors, {place}", bare, "rows/s", is_baseline=True),
            of_rounds(f"complete with vectors, {place}", ours, "rows/s"),
            ratio_of(f"complete with vectors / bare bulk write, {place}", ours, bare, ">= 0.75"),
            of_rounds(f"claim + read + complete with vectors, {place}", cycle, "rows/s"),
        ]
    return figures


def _prepare(url: str, rows: int, companion: bool) -> None:
    where = ", companion => 'docs_embedding'" if companion else ""
    execute(
        url,
        "create table docs (id bigint generated always as identity primary key, body text)",
        f"select sidecar.watch('docs', source => 'body', target => 'embedding', index => 'none'{where})",
        "update sidecar_internal.scans set finished_at = now()",
        f"insert into docs (body) select 'document number ' || i from generate_series(1, {rows}) i",
        "vacuum analyze docs",
        "checkpoint",
    )


async def _cycle_without_vectors(url: str, rows: int) -> list[float]:
    _prepare(url, rows, companion=False)
    async with opened(url) as database, database.connection() as connection:
        watch = await only_watch(connection)
        started = time.perf_counter()
        done = 0
        batches: list[_Batch] = []
        while batch := await _claim_and_read(database, connection, watch):
            events, lease, _ = batch
            results = [RowResult(e.key or (), (e.gen,), RowOutcome.EMPTY, EMPTY) for e in events]
            await _complete(connection, watch, lease, results)
            done += len(events)
            ended = time.perf_counter()
            batches.append(_Batch(len(events), ended - started))
            started = ended
        assert done == rows, f"{done} of {rows} rows came through"
        return _rates(batches)


async def _against_bare_write(url: str, rows: int, companion: bool) -> tuple[list[float], list[float], list[float]]:
    """rows/s of a bare write, of `complete`, and of the whole cycle around it."""
    _prepare(url, rows, companion)
    vectors = np.random.default_rng(0).standard_normal((BATCH, DIMENSIONS)).astype(np.float32)
    packed = pack_vectors(list(vectors), "vector")
    bare: list[_Batch] = []
    ours: list[_Batch] = []
    cycle: list[_Batch] = []
    async with opened(url) as database, database.connection() as connection:
        watch = await only_watch(connection)
        await _prepare_bare(connection)
        while True:
            started = time.perf_counter()
            batch = await _claim_and_read(database, connection, watch)
            if batch is None:
                break
            events, lease, contents = batch
            results = [
                _result(e, content, packed[i]) for i, (e, content) in enumerate(zip(events, contents, strict=True))
            ]
            before = time.perf_counter()
            await _complete(connection, watch, lease, results)
            after = time.perf_counter()
            await _bare_write(connection, watch, [e.key or () for e in events], packed)
            bare.append(_Batch(len(events), time.perf_counter() - after))
            ours.append(_Batch(len(events), after - before))
            cycle.append(_Batch(len(events), after - started))
    return _rates(bare), _rates(ours), _rates(cycle)


def _rates(batches: Sequence[_Batch]) -> list[float]:
    """Rows per second of consecutive rounds."""
    rows = in_chunks([batch.rows for batch in batches], ROUNDS)
    seconds = in_chunks([batch.seconds for batch in batches], ROUNDS)
    return [sum(some) / sum(took) for some, took in zip(rows, seconds, strict=True)]


async def _prepare_bare(connection: Connection) -> None:
    """Tables of the same shape that are not watched, written to in the same session."""
    await connection.execute(
        "create table public.bare (id bigint primary key, body text, embedding public.vector(1152))"
    )
    await connection.execute(
        "create table public.bare_companion (id bigint primary key, embedding public.vector(1152))"
    )
    await connection.execute("insert into public.bare select id, body from public.docs")
    await connection.execute("vacuum analyze public.bare")


async def _bare_write(
    connection: Connection, watch: Watch, keys: Sequence[tuple[str, ...]], packed: list[bytes]
) -> None:
    """Write all rows of the batch in one statement."""
    statement = (
        """insert into public.bare_companion select u.id, u.v
           from unnest($1::public.vector[], $2::text[]::bigint[]) as u(v, id)
           on conflict (id) do update set embedding = excluded.embedding"""
        if watch.has_companion
        else """update public.bare t set embedding = u.v
           from unnest($1::public.vector[], $2::text[]::bigint[]) as u(v, id) where t.id = u.id"""
    )
    await connection.execute(statement, packed[: len(keys)], *key_parameters(keys))


async def _claim_and_read(
    database: Database, connection: Connection, watch: Watch
) -> tuple[list[Event], Lease, list[bytes]] | None:
    lease = new_lease()
    events = await claim(connection, watch, ClaimRequest(Queue.LIVE, BATCH), [0], lease)
    if not events:
        return None
    keys = [e.key for e in events if e.key is not None]
    contents = [
        row.content or b"" async for page in read_rows(database, watch, keys, ReadLimits(MAX_BYTES)) for row in page
    ]
    return events, lease, contents


def _result(event: Event, content: bytes, packed: bytes) -> RowResult:
    return RowResult(
        event.key or (),
        (event.gen,),
        RowOutcome.VECTOR,
        hashlib.sha256(content).digest(),
        packed_vector=packed,
        vector_digest=vector_digest(packed),
    )


async def _complete(connection: Connection, watch: Watch, lease: Lease, results: Sequence[RowResult]) -> None:
    size = rows_per_write(watch)
    for i in range(0, len(results), size):
        await complete(connection, watch, FINGERPRINT, lease, results[i : i + size])

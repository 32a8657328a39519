"""Vectors stored as `vector` and as `halfvec`, and kept in each of the ways that Postgres has for wide columns.

Bytes, WAL, rates of writing and reading, and what the shorter numbers cost in recall. Everything is measured in turns
with its baseline, `vector` as pgvector stores it: EXTERNAL, out of line and never compressed.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from benchmarks.figure import Figure, of_rounds, ratio_of
from benchmarks.scratch import DIMENSIONS, FINGERPRINT, execute, new_lease, opened, scratch_database
from sidecar.ingest.writer import rows_per_write
from sidecar.postgres.completion import RowOutcome, RowResult, complete
from sidecar.postgres.database import Connection
from sidecar.postgres.events import ClaimRequest, Queue, claim
from sidecar.postgres.rows import key_parameters
from sidecar.postgres.vectors import NUMBER_BYTES, Storage, pack_vectors, vector_digest
from sidecar.postgres.watches import Watch, load_watches
from tests.servers import Server

BATCH = 256
BASELINE = "vector"


@dataclass(frozen=True, slots=True)
class Column:
    """A type of vectors with a way to store the column; `mode` None: pgvector's own, EXTERNAL."""

    storage: Storage
    mode: str | None = None

    @property
    def name(self) -> str:
        return self.storage if self.mode is None else f"{self.storage} {self.mode.upper()}"

    @property
    def table(self) -> str:
        return f"{self.storage}_{self.mode or 'default'}"


COLUMNS = [Column(storage, mode) for storage in NUMBER_BYTES for mode in (None, "main", "extended", "plain")]


@dataclass(slots=True)
class Cost:
    """What writing some rows took."""

    rows: int = 0
    seconds: float = 0.0
    wal_bytes: float = 0.0


@dataclass(slots=True)
class Measured:
    """What was measured of one column, or of one watch: a cost and a time of an exact search for each round."""

    writes: list[Cost] = field(default_factory=list)
    search_ms: list[float] = field(default_factory=list)
    bytes_per_row: float = 0.0
    heap_bytes_per_row: float = 0.0


async def measure_storage(server: Server, rows: int, rounds: int) -> list[Figure]:
    """`rows` a round, whole batches, are written to each column; the searches go over the rows of all rounds."""
    figures: list[Figure] = []
    for place in ("companion", "in-row"):
        with scratch_database(server) as url:
            columns = await _measure_columns(url, place, rows, rounds)
        figures += _describe(f"bare write, {place}", columns)
    for place in ("companion", "in-row"):
        with scratch_database(server) as url:
            watches = await _measure_watches(url, place, rows, rounds)
        figures += _describe(f"complete, {place}", watches)
    return figures


def _describe(title: str, measured: Mapping[str, Measured]) -> list[Figure]:
    """On the page goes what pgvector's own way to store a column and PLAIN take; of the others only the rates."""
    baseline = measured[BASELINE]
    figures = []
    for name, m in measured.items():
        own = [
            Figure(f"{title}, {name}, on disk", m.bytes_per_row, "bytes/row"),
            Figure(f"{title}, {name}, of these in the table's own pages", m.heap_bytes_per_row, "bytes/row"),
            of_rounds(f"{title}, {name}, WAL", [cost.wal_bytes / cost.rows for cost in m.writes], "bytes/row"),
        ]
        if m is baseline:
            own.append(of_rounds(f"{title}, {name}", _rates(m), "rows/s"))
        else:
            own += [
                ratio_of(f"{title}, {name} / {BASELINE}, {what}", ours, theirs)
                for what, ours, theirs in (
                    ("rows/s", _rates(m), _rates(baseline)),
                    ("time of an exact search", m.search_ms, baseline.search_ms),
                )
                if ours
            ]
        is_rare = name.endswith(("MAIN", "EXTENDED"))
        sizes_are_known = title.startswith("complete")  # from the bare write
        for figure in own:
            is_detail = (is_rare and not figure.name.endswith("rows/s")) or (sizes_are_known and not figure.rounds)
            figures.append(replace(figure, is_detail=is_detail, is_baseline=m is baseline))
    return figures


def _rates(measured: Measured) -> list[float]:
    return [cost.rows / cost.seconds for cost in measured.writes]


def _vectors(count: int) -> NDArray[np.float32]:
    vectors = np.random.default_rng(0).standard_normal((count, DIMENSIONS))
    unit: NDArray[np.float32] = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)
    return unit


async def _measure_columns(url: str, place: str, rows: int, rounds: int) -> dict[str, Measured]:
    """Batch by batch in turns, so that a busy moment affects all columns."""
    total = rows * (rounds + 1)
    _make_tables(url, place, total)
    packed = {storage: pack_vectors(list(_vectors(BATCH)), storage) for storage in NUMBER_BYTES}
    measured = {column.name: Measured() for column in COLUMNS}
    async with opened(url) as database, database.connection() as connection:
        for first in range(0, total, rows):
            costs = {column: Cost() for column in COLUMNS}
            for begin in range(first, first + rows, BATCH):
                keys = [(str(i),) for i in range(begin, min(begin + BATCH, first + rows))]
                for column in _in_turns(COLUMNS, begin // BATCH):
                    async with _adding_to(costs[column], connection, len(keys)):
                        await _bare_write(connection, place, column, keys, packed[column.storage])
            if first > 0:  # the first round does not count: the files of the tables begin to grow
                for column, cost in costs.items():
                    measured[column.name].writes.append(cost)
        for column in COLUMNS:
            await _measure_size(connection, f"public.{column.table}", total, measured[column.name])
        if place == "companion":
            await _measure_search(connection, measured, rounds)
    return measured


def _make_tables(url: str, place: str, rows: int) -> None:
    for column in COLUMNS:
        kind = f"public.{column.storage}({DIMENSIONS})"
        body = "" if place == "companion" else "body text, "
        execute(url, f"create table {column.table} (id bigint primary key, {body}embedding {kind})")
        if column.mode is not None:
            execute(url, f"alter table {column.table} alter column embedding set storage {column.mode}")
        if place == "in-row":
            numbers = f"generate_series(0, {rows - 1}) i"
            execute(url, f"insert into {column.table} (id, body) select i, 'document number ' || i from {numbers}")
            execute(url, f"vacuum analyze {column.table}")
    execute(url, "checkpoint")


def _in_turns(columns: Sequence[Column], number: int) -> Sequence[Column]:
    """The columns in another order each round."""
    start = number * 3 % len(columns)
    return [*columns[start:], *columns[:start]]


async def _bare_write(
    connection: Connection, place: str, column: Column, keys: Sequence[tuple[str, ...]], packed: list[bytes]
) -> None:
    given = f"unnest($1::public.{column.storage}[], $2::text[]::bigint[]) as u(v, id)"
    statement = (
        f"insert into public.{column.table} select u.id, u.v from {given} on conflict (id) do update "
        "set embedding = excluded.embedding"
        if place == "companion"
        else f"update public.{column.table} t set embedding = u.v from {given} where t.id = u.id"
    )
    await connection.execute(statement, packed[: len(keys)], *key_parameters(keys))


@asynccontextmanager
async def _adding_to(cost: Cost, connection: Connection, rows: int) -> AsyncIterator[None]:
    """Adds to `cost` what the block takes."""
    before = await connection.fetchval("select pg_current_wal_insert_lsn()")
    started = time.perf_counter()
    yield
    cost.seconds += time.perf_counter() - started
    written = "select pg_wal_lsn_diff(pg_current_wal_insert_lsn(), $1::pg_lsn)::float8"
    cost.wal_bytes += await connection.fetchval(written, before)
    cost.rows += rows


async def _measure_size(connection: Connection, table: str, rows: int, into: Measured) -> None:
    """The table with TOAST and primary key, once VACUUM FULL has removed former versions of rows."""
    await connection.execute(f"vacuum full {table}")
    size = "select pg_total_relation_size($1::text::regclass), pg_relation_size($1::text::regclass)"
    total, heap = await connection.fetchrow(size, table) or (0, 0)
    into.bytes_per_row, into.heap_bytes_per_row = total / rows, heap / rows


async def _measure_search(connection: Connection, measured: Mapping[str, Measured], rounds: int) -> None:
    """An exact search, which reads all vectors, from memory."""
    query = "[" + ",".join(map(str, _vectors(1)[0].tolist())) + "]"
    await connection.execute("set max_parallel_workers_per_gather = 0")
    for number in range(rounds + 1):
        for column in _in_turns(COLUMNS, number):
            order = f"order by embedding operator(public.<=>) '{query}'::public.{column.storage} limit 10"
            started = time.perf_counter()
            await connection.fetch(f"select id from public.{column.table} {order}")
            if number > 0:  # the first round fills the cache
                measured[column.name].search_ms.append((time.perf_counter() - started) * 1000)


async def _measure_watches(url: str, place: str, rows: int, rounds: int) -> dict[str, Measured]:
    """`complete` as the sidecar calls it, for a watch of each storage."""
    storages = list(NUMBER_BYTES)
    numbers = f"generate_series(1, {rows * (rounds + 1)}) i"
    for storage in storages:
        companion = f", companion => '{storage}s'" if place == "companion" else ""
        execute(
            url,
            f"create table docs_{storage} (id bigint primary key, body text)",
            f"select sidecar.watch('docs_{storage}', source => 'body', target => 'embedding', index => 'none', "
            f"storage => '{storage}'{companion})",
            "update sidecar_internal.scans set finished_at = now()",
            f"insert into docs_{storage} select i, 'document number ' || i from {numbers}",
            f"vacuum analyze docs_{storage}",
        )
    execute(
        url, f"update sidecar_internal.watches set fingerprint = '{FINGERPRINT}', encoder = fingerprint", "checkpoint"
    )
    vectors = _vectors(BATCH)
    measured: dict[str, Measured] = {storage: Measured() for storage in storages}
    async with opened(url) as database, database.connection() as connection:
        watches = {watch.identifiers.storage: watch for watch in await load_watches(connection)}
        for number in range(rounds + 1):
            costs = {storage: Cost() for storage in storages}
            for batch in range(rows // BATCH):
                for storage in storages if batch % 2 == 0 else storages[::-1]:
                    await _complete(connection, watches[storage], vectors, costs[storage])
            if number > 0:
                for storage, cost in costs.items():
                    measured[storage].writes.append(cost)
        for storage, watch in watches.items():
            table = watch.identifiers.companion or watch.identifiers.table
            await _measure_size(connection, table, rows * (rounds + 1), measured[storage])
    return measured


async def _complete(connection: Connection, watch: Watch, vectors: NDArray[np.float32], cost: Cost) -> None:
    """Claims a batch, and completes it. `cost`: of packing the vectors and completing."""
    lease = new_lease()
    events = await claim(connection, watch, ClaimRequest(Queue.LIVE, BATCH), [0], lease)
    assert len(events) == BATCH, f"{len(events)} rows came through"
    async with _adding_to(cost, connection, BATCH):
        packed = pack_vectors(list(vectors), watch.identifiers.storage)
        results = [
            RowResult(
                event.key or (),
                (event.gen,),
                RowOutcome.VECTOR,
                hashlib.sha256(str(event.key).encode()).digest(),
                packed_vector=packed[i],
                vector_digest=vector_digest(packed[i]),
            )
            for i, event in enumerate(events)
        ]
        size = rows_per_write(watch)
        for i in range(0, BATCH, size):
            report = await complete(connection, watch, FINGERPRINT, lease, results[i : i + size])
            assert len(report.written) == len(results[i : i + size]), report

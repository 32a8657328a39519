"""Vectors stored as `vector` and as `halfvec`, and kept in each of the ways that Postgres has for wide columns.

Bytes, WAL, rates of writing and reading, and what the shorter numbers cost in recall. Everything is measured in turns
with its baseline, `vector` as pgvector stores it: EXTERNAL, out of line and never compressed.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
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
class Measured:
    """What was measured of one column, or of one watch, a number for each round."""

    rows_per_s: list[float] = field(default_factory=list)
    wal_bytes: list[float] = field(default_factory=list)
    search_ms: list[float] = field(default_factory=list)
    scan_ms: list[float] = field(default_factory=list)
    bytes_per_row: float = 0.0


async def measure_storage(server: Server, rows: int, rounds: int) -> list[Figure]:
    """`rows` a round are written to each column; the searches go over the rows of all rounds."""
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
    """Of the ways to store a column only pgvector's own and PLAIN go on the page."""
    baseline = measured[BASELINE]
    figures = []
    for name, m in measured.items():
        is_baseline = m is baseline
        own = [
            Figure(f"{title}, {name}, on disk", m.bytes_per_row, "bytes/row", is_baseline=is_baseline),
            of_rounds(f"{title}, {name}, WAL", m.wal_bytes, "bytes/row", is_baseline=is_baseline),
        ]
        if is_baseline:
            own.append(of_rounds(f"{title}, {name}", m.rows_per_s, "rows/s", is_baseline=True))
        else:
            own += [
                ratio_of(f"{title}, {name} / {BASELINE}, {what}", ours, theirs)
                for what, ours, theirs in (
                    ("rows/s", m.rows_per_s, baseline.rows_per_s),
                    ("time of an exact search", m.search_ms, baseline.search_ms),
                    ("time of a scan for missing vectors", m.scan_ms, baseline.scan_ms),
                )
                if ours
            ]
        is_detail = name.endswith(("MAIN", "EXTENDED"))
        figures += [replace(figure, is_detail=is_detail) for figure in own]
    return figures


def _vectors(count: int) -> NDArray[np.float32]:
    vectors = np.random.default_rng(0).standard_normal((count, DIMENSIONS))
    unit: NDArray[np.float32] = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)
    return unit


async def _measure_columns(url: str, place: str, rows: int, rounds: int) -> dict[str, Measured]:
    _make_tables(url, place, rows * (rounds + 1))
    packed = {storage: pack_vectors(list(_vectors(BATCH)), storage) for storage in NUMBER_BYTES}
    measured = {column.name: Measured() for column in COLUMNS}
    async with opened(url) as database, database.connection() as connection:
        for number in range(rounds + 1):  # the first does not count: the files of the tables begin to grow
            for column in _in_turns(COLUMNS, number):

                async def write(column: Column = column, first: int = number * rows) -> None:
                    for begin in range(first, first + rows, BATCH):
                        keys = [(str(i),) for i in range(begin, min(begin + BATCH, first + rows))]
                        await _bare_write(connection, place, column, keys, packed[column.storage])

                await _time(connection, rows, write, measured[column.name] if number > 0 else Measured())
        for column in COLUMNS:
            measured[column.name].bytes_per_row = await _bytes_per_row(connection, column.table, rows * (rounds + 1))
        if place == "companion":
            await _measure_reading(connection, measured, rounds)
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


async def _time(
    connection: Connection, rows: int, write: Callable[[], Awaitable[float | None]], into: Measured
) -> None:
    """Runs `write`, which may return the seconds that count."""
    before = await connection.fetchval("select pg_current_wal_insert_lsn()")
    started = time.perf_counter()
    own_s = await write()
    taken_s = own_s if own_s is not None else time.perf_counter() - started
    into.rows_per_s.append(rows / taken_s)
    wal = await connection.fetchval("select pg_wal_lsn_diff(pg_current_wal_insert_lsn(), $1::pg_lsn)::float8", before)
    into.wal_bytes.append(wal / rows)


async def _bytes_per_row(connection: Connection, table: str, rows: int) -> float:
    """The table with TOAST and primary key, once VACUUM FULL has removed former versions of rows."""
    await connection.execute(f"vacuum full public.{table}")
    return (
        float(await connection.fetchval("select pg_total_relation_size($1::text::regclass)", f"public.{table}")) / rows
    )


async def _measure_reading(connection: Connection, measured: Mapping[str, Measured], rounds: int) -> None:
    """An exact search, which reads all vectors, and what a sweep does: a scan that reads none of them."""
    query = "[" + ",".join(map(str, _vectors(1)[0].tolist())) + "]"
    await connection.execute("set max_parallel_workers_per_gather = 0")
    for number in range(rounds + 1):
        for column in _in_turns(COLUMNS, number):
            order = f"order by embedding operator(public.<=>) '{query}'::public.{column.storage} limit 10"
            search = f"select id from public.{column.table} {order}"
            scan = f"select count(*) from public.{column.table} where embedding is null"
            for statement, into in ((search, "search_ms"), (scan, "scan_ms")):
                started = time.perf_counter()
                await connection.fetch(statement)
                if number > 0:  # the first round fills the cache
                    getattr(measured[column.name], into).append((time.perf_counter() - started) * 1000)


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
            for storage in storages if number % 2 == 0 else storages[::-1]:

                async def write(watch: Watch = watches[storage]) -> float:
                    return await _complete(connection, watch, vectors, rows)

                await _time(connection, rows, write, measured[storage] if number > 0 else Measured())
        for storage, watch in watches.items():
            table = watch.identifiers.companion or watch.identifiers.table
            measured[storage].bytes_per_row = await _bytes_per_row(
                connection, table.removeprefix("public."), rows * (rounds + 1)
            )
    return measured


async def _complete(connection: Connection, watch: Watch, vectors: NDArray[np.float32], rows: int) -> float:
    """Claims and completes rows. Returns the seconds that packing the vectors and completing took."""
    taken_s = 0.0
    done = 0
    while done < rows:
        lease = new_lease()
        events = await claim(connection, watch, ClaimRequest(Queue.LIVE, min(BATCH, rows - done)), [0], lease)
        assert events, f"{done} of {rows} rows came through"
        started = time.perf_counter()
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
        for i in range(0, len(results), size):
            report = await complete(connection, watch, FINGERPRINT, lease, results[i : i + size])
            assert len(report.written) == len(results[i : i + size]), report
        taken_s += time.perf_counter() - started
        done += len(events)
    return taken_s

"""Queries beside a backlog of pictures: neither lane may starve the other."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from itertools import islice
from statistics import median

import numpy as np
import psycopg

from benchmarks.figure import Figure
from benchmarks.pictures import insert_photos, jpegs
from benchmarks.scratch import execute, scratch_database
from benchmarks.serving.concurrency import CLIENTS, MAX_VIEWS
from benchmarks.serving.device import DeviceTime
from benchmarks.serving.load import Load, closed_loop
from benchmarks.serving.scale import Scale
from benchmarks.serving.server_process import Bench, ServerProcess, server_process
from sidecar.config import Settings
from tests.servers import Server
from tests.waiting import wait_until_async

# Eight views at the default scales: one picture is one micro-batch, and the device can do 50 a second.
_WIDTH, _HEIGHT, _STOCK = 320, 240, 100
_PICTURES_PER_S = 60
_SPARE_S = 1.0
_THINK_S = 0.04
_MAX_WAIT_MICRO_BATCHES = 1.5
_QUIET_S = 0.2
_MIN_SHARE: float = Settings.model_fields["ingest_min_share"].default


@dataclass(frozen=True, slots=True)
class Phase:
    """Queries during a time, and what the device did in it."""

    queries: Load
    device: DeviceTime

    @property
    def ingest_share(self) -> float:
        """Fraction of the device's busy time that ingest had."""
        return self.device.picture_s / (self.device.picture_s + self.device.text_s)

    @property
    def owed_to_ingest_s(self) -> float:
        """Device time that ingest lacks to INGEST_MIN_SHARE; negative if it had more."""
        return _MIN_SHARE * (self.device.picture_s + self.device.text_s) - self.device.picture_s


class PictureTable:
    """A watched table, and a stock of pictures to fill it with."""

    def __init__(self, connection: psycopg.AsyncConnection, server: ServerProcess) -> None:
        self.server = server
        self._connection = connection

    async def fill(self, seconds: float) -> None:
        """Insert more pictures than the device can do in that time. Returns once the first one is encoded."""
        rows = int(_PICTURES_PER_S * (seconds + _SPARE_S))
        before = self.server.record.read().views
        await self._connection.execute(
            "insert into photos (photo) select photo from stock cross join generate_series(1, %s) limit %s",
            [rows, rows],
        )

        async def has_begun() -> bool:
            return self.server.record.read().views > before

        await wait_until_async(has_begun, "the first picture to reach the device", timeout_s=30)

    async def empty(self) -> None:
        """Drop the rest of the backlog. Returns once the device is idle."""
        await self._connection.execute("truncate photos")
        await wait_until_async(self._is_quiet, "the device to be idle", timeout_s=30)

    async def during(self, queries: Awaitable[Load]) -> Phase:
        """Run queries beside the backlog. Raises RuntimeError if the backlog ended first."""
        before = self.server.record.read()
        load = await queries
        device = self.server.record.read().since(before)
        load.check_all_answered()
        cursor = await self._connection.execute("select exists (select from photos where embedding is null)")
        if await cursor.fetchone() != (True,):
            raise RuntimeError("The backlog ended before the queries did.")
        return Phase(load, device)

    async def _is_quiet(self) -> bool:
        before = self.server.record.read()
        await asyncio.sleep(_QUIET_S)
        return self.server.record.read() == before


async def measure_mixed_load(bench: Bench, scale: Scale, server: Server) -> list[Figure]:
    """Idle and loaded phases in turns, then a flood of queries; the backlog outlasts each loaded phase."""
    idle: list[Load] = []
    loaded: list[Phase] = []
    async with _picture_table(replace(bench, pinned=False), server) as table:
        for _ in range(scale.rounds):
            idle.append(await _one_client(table, scale.mixed_s / 2))
            await table.fill(scale.mixed_s)
            loaded.append(await table.during(_one_client(table, scale.mixed_s)))
            await table.empty()
        await table.fill(scale.flood_s)
        flood = await table.during(closed_loop(table.server.port, CLIENTS, scale.flood_s))
    return [*_latency_figures(idle, loaded, bench), *_share_figures(loaded, flood, bench)]


def _one_client(table: PictureTable, duration_s: float) -> Awaitable[Load]:
    """A client that pauses randomly, so that its queries arrive at any moment of a micro-batch."""
    return closed_loop(table.server.port, 1, duration_s, think_s=_THINK_S)


def _latency_figures(idle: Sequence[Load], loaded: Sequence[Phase], bench: Bench) -> list[Figure]:
    idle_p95 = _p95_ms(idle)
    loaded_p95 = _p95_ms([phase.queries for phase in loaded])
    micro_batches = (loaded_p95 - idle_p95) / bench.batch_ms if bench.batch_ms else None
    figures = [
        Figure("one client, text query p95, idle", idle_p95, "ms"),
        Figure("one client, text query p95, during ingest of pictures", loaded_p95, "ms"),
    ]
    if micro_batches is not None:
        name = "one client, text query p95, what ingest adds"
        figures.append(Figure(name, micro_batches, "micro-batches", f"<= {_MAX_WAIT_MICRO_BATCHES}"))
    return figures


def _share_figures(loaded: Sequence[Phase], flood: Phase, bench: Bench) -> list[Figure]:
    """Shares are kept to within one micro-batch, since the last one may have been led by queries."""
    many = f"{CLIENTS} clients"
    figures = [
        Figure(f"{many} during ingest of pictures", flood.queries.answered_per_s, "texts/s"),
        Figure(f"{many} during ingest of pictures, p95", flood.queries.latency_ms(95), "ms"),
        Figure("ingest beside one client", median(phase.ingest_share for phase in loaded), "of the device's time"),
        Figure(f"ingest beside {many}", flood.ingest_share, "of the device's time"),
    ]
    if bench.batch_ms:
        behind = max(flood.owed_to_ingest_s * 1000 / bench.batch_ms, 0)
        name = f"ingest beside {many}, behind its {_MIN_SHARE:.0%} of the device's time"
        figures.append(Figure(name, behind, "micro-batches", "<= 1"))
    return figures


def _p95_ms(loads: Sequence[Load]) -> float:
    """Over all answers of all loads."""
    return float(np.percentile([answer.latency_s for load in loads for answer in load.answers], 95)) * 1000


@asynccontextmanager
async def _picture_table(bench: Bench, server: Server) -> AsyncIterator[PictureTable]:
    with scratch_database(server) as url:
        execute(
            url,
            "create table stock (photo bytea)",
            "create table photos (id bigint generated always as identity primary key, photo bytea)",
        )
        insert_photos(url, "stock", islice(jpegs(_WIDTH, _HEIGHT), _STOCK))
        execute(url, "select sidecar.watch('photos', source => 'photo', target => 'embedding', index => 'none')")
        with server_process(bench, "sidecar", database_url=url, batch_max_views=MAX_VIEWS) as process:
            async with await psycopg.AsyncConnection.connect(url, autocommit=True) as connection:
                yield PictureTable(connection, process)

"""Claims as one sidecar makes them, whose rows are done at once and replaced by new ones."""

from __future__ import annotations

import time
from statistics import median

from sidecar.batching.job import Lane
from sidecar.ingest.claiming import Claimer
from sidecar.ingest.horizon import Horizon
from sidecar.postgres.database import Database
from sidecar.postgres.watches import Watch
from sidecar.settings import Settings


class Claims:
    """`replaced`: rows that were done so far."""

    def __init__(self, url: str, database: Database, watch: Watch, rows: int) -> None:
        self.url = url
        self.replaced = 0
        self._database = database
        self._watch = watch
        self._rows = rows
        self._claimer = Claimer(Settings(), database, Horizon())

    async def p50_ms(self, claims: int) -> float:
        return median(await self.times_ms(claims))

    async def times_ms(self, claims: int) -> list[float]:
        return [await self._claim_ms() for _ in range(claims)]

    async def _claim_ms(self) -> float:
        began = time.perf_counter()
        claim = await self._claimer.claim_batch(self._watch, {Lane.INGEST: self._rows, Lane.BACKFILL: self._rows})
        took_ms = (time.perf_counter() - began) * 1000
        assert claim is not None, "nothing was outstanding"
        gens = [event.gen for event in claim.events]
        async with self._database.connection() as connection:
            await connection.execute("delete from sidecar_internal.events_1 where gen = any($1::bigint[])", gens)
            await connection.execute(
                "insert into sidecar_internal.events_1 (k1) select i from generate_series(1, $1) i", len(gens)
            )
        self.replaced += len(gens)
        return took_ms

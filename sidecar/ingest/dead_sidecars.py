"""Frees what a sidecar that died had in hand, so that its rows need not wait until their leases run out.

Whoever finds one dead (see sidecar/postgres/liveness.py) walks through the queues once, some thousand events at a time,
and passes by what somebody else has locked.
"""

from __future__ import annotations

import asyncio
import logging
import math
import time
from collections.abc import Callable, Sequence
from datetime import datetime
from uuid import UUID

from sidecar.concurrency import Backoff
from sidecar.errors import Contention, DatabaseError, StatementRejected, WatchChanged
from sidecar.ingest.context import Context
from sidecar.postgres.liveness import OtherSidecar, forget_dead, free_leases, list_other_sidecars
from sidecar.postgres.watches import Watch

logger = logging.getLogger(__name__)

INTERVAL_S, SUSPICIOUS_INTERVAL_S = 1.5, 0.5
SILENT_S = 2.5  # heartbeats come every 2 s
# Of the same silence, as this process saw it: after an outage of the server nobody's heartbeat is fresh.
OBSERVED_S = 2.5
EVENTS_AT_ONCE = 5000


class DeadSidecars:
    """`on_freed` is called when events wait again."""

    def __init__(self, context: Context, on_freed: Callable[[], None]) -> None:
        self._context = context
        self._on_freed = on_freed
        self._first_seen: dict[tuple[UUID, datetime], float] = {}  # heartbeat → on the clock of time.monotonic
        self._done: set[tuple[UUID, datetime]] = set()

    async def run(self) -> None:
        """Until cancelled."""
        backoff = Backoff(0.5, 10.0)
        while True:
            try:
                suspects = await self.look()
                backoff.reset()
            except DatabaseError as error:
                self._context.database.report(error)
                await asyncio.sleep(backoff.next_s())
            else:
                await asyncio.sleep(SUSPICIOUS_INTERVAL_S if suspects else INTERVAL_S)

    async def look(self) -> bool:
        """Frees the leases of those that are dead. True if one may be: look again soon. Raises DatabaseError."""
        context = self._context
        await context.catalogue.refresh()
        async with context.database.connection() as connection:
            others = await list_other_sidecars(connection, context.identity.id, SILENT_S)
        suspects = [other for other in others if other.is_unlocked and _beat(other) not in self._done]
        dead = [other for other in suspects if self._observed_s(other) >= OBSERVED_S]
        self._remember(others)
        if dead:
            await self._free(dead)
        return bool(suspects)

    def _observed_s(self, other: OtherSidecar) -> float:
        return time.monotonic() - self._first_seen.get(_beat(other), math.inf)

    def _remember(self, others: Sequence[OtherSidecar]) -> None:
        now = time.monotonic()
        self._first_seen = {_beat(other): self._first_seen.get(_beat(other), now) for other in others}
        self._done &= self._first_seen.keys()

    async def _free(self, dead: Sequence[OtherSidecar]) -> None:
        freed = [await self._free_in(watch, dead) for watch in self._context.catalogue.all]
        if rows := sum(count or 0 for count in freed):
            names = ", ".join(f"process {other.pid} on {other.host}" for other in dead)
            logger.warning("released %d rows that were in flight when their sidecar died: %s", rows, names)
            self._on_freed()
        if None in freed:
            return
        self._done |= {_beat(other) for other in dead}
        async with self._context.database.connection() as connection:
            await forget_dead(connection, dead)

    async def _free_in(self, watch: Watch, dead: Sequence[OtherSidecar]) -> int | None:
        """How many leases; None where something was in the way."""
        freed = 0
        above_gen: int | None = 0
        try:
            while above_gen is not None:
                with self._context.measured("free"):
                    async with self._context.database.connection() as connection:
                        above_gen, count = await free_leases(connection, watch, dead, above_gen, EVENTS_AT_ONCE)
                freed += count
        except (Contention, WatchChanged, StatementRejected) as error:
            logger.info("leases of a dead sidecar on %s wait: %s", watch.label, error)
            return None
        return freed


def _beat(other: OtherSidecar) -> tuple[UUID, datetime]:
    return other.id, other.seen_at

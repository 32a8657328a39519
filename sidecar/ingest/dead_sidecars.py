"""Releases the leases of dead sidecars, so that their rows need not wait until the leases run out.

The sidecar that finds another one dead (see sidecar/postgres/liveness.py) goes through all queues once, some thousand
events at a time, and skips events that are locked.
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
FIRST_RETRY_S, LAST_RETRY_S = 0.5, 10.0
SILENT_S = 2.5  # heartbeats come every 2 s
# How long this process must have seen the same last heartbeat: after an outage of the server no heartbeat is recent.
OBSERVED_S = 2.5
EVENTS_PER_STATEMENT = 5000


class DeadSidecars:
    """Finds dead sidecars and releases their leases; `on_released` is called when events are waiting again."""

    def __init__(self, context: Context, on_released: Callable[[], None]) -> None:
        self._context = context
        self._on_released = on_released
        self._first_seen: dict[tuple[UUID, datetime], float] = {}  # heartbeat → on the clock of time.monotonic
        self._released: set[tuple[UUID, datetime]] = set()  # last heartbeats of the dead that need no more work

    async def run(self) -> None:
        """Checks until cancelled."""
        backoff = Backoff(FIRST_RETRY_S, LAST_RETRY_S)
        while True:
            try:
                suspects = await self.check()
                backoff.reset()
            except DatabaseError as error:
                self._context.database.report(error)
                await asyncio.sleep(backoff.next_s())
            else:
                await asyncio.sleep(SUSPICIOUS_INTERVAL_S if suspects else INTERVAL_S)

    async def check(self) -> bool:
        """Releases the leases of all that are dead. True if one may be dead: check again soon. Raises DatabaseError."""
        context = self._context
        await context.catalogue.refresh()
        async with context.database.connection() as connection:
            others = await list_other_sidecars(connection, context.identity.id, SILENT_S)
        suspects = [other for other in others if other.is_unlocked and _heartbeat(other) not in self._released]
        dead = [other for other in suspects if self._observed_s(other) >= OBSERVED_S]
        self._remember(others)
        if dead:
            await self._release(dead)
        return bool(suspects)

    def _observed_s(self, other: OtherSidecar) -> float:
        return time.monotonic() - self._first_seen.get(_heartbeat(other), math.inf)

    def _remember(self, others: Sequence[OtherSidecar]) -> None:
        now = time.monotonic()
        self._first_seen = {_heartbeat(other): self._first_seen.get(_heartbeat(other), now) for other in others}
        self._released &= self._first_seen.keys()

    async def _release(self, dead: Sequence[OtherSidecar]) -> None:
        released = [await self._release_in(watch, dead) for watch in self._context.catalogue.all]
        if rows := sum(count or 0 for count in released):
            names = ", ".join(f"process {other.pid} on {other.host}" for other in dead)
            logger.warning("released %d rows that were in flight when their sidecar died: %s", rows, names)
            self._on_released()
        if None in released:
            return
        self._released |= {_heartbeat(other) for other in dead}
        async with self._context.database.connection() as connection:
            await forget_dead(connection, dead)

    async def _release_in(self, watch: Watch, dead: Sequence[OtherSidecar]) -> int | None:
        """Releases leases on one watch and counts them; None if the queue was locked or has changed: try again."""
        released = 0
        above_gen: int | None = 0
        try:
            while above_gen is not None:
                with self._context.measured("free"):
                    async with self._context.database.connection() as connection:
                        above_gen, count = await free_leases(connection, watch, dead, above_gen, EVENTS_PER_STATEMENT)
                released += count
        except (Contention, WatchChanged, StatementRejected) as error:
            logger.info("leases of a dead sidecar on %s wait: %s", watch.quoted_name, error)
            return None
        return released


def _heartbeat(other: OtherSidecar) -> tuple[UUID, datetime]:
    return other.id, other.seen_at

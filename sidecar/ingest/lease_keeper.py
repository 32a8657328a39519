"""Keeps the lease of events in flight while they are worked on, and releases what is left at the end."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager

from sidecar.concurrency import background, run_to_completion
from sidecar.errors import Contention, DatabaseError, DatabaseUnavailable, WatchChanged
from sidecar.ingest.context import Context
from sidecar.postgres.events import Lease, release, renew_lease
from sidecar.postgres.watches import Watch

logger = logging.getLogger(__name__)

RELEASE_RETRY_S = 0.1


class LeaseKeeper:
    """The generations in flight under one lease. They leave `held` by `drop`, `release` or `abandon`.

    A renewal that misses an event means that another sidecar has claimed it. It is only removed from `held`: `complete`
    checks the token too and drops the result.
    """

    def __init__(self, context: Context, watch: Watch, lease: Lease, gens: Iterable[int]) -> None:
        self._context = context
        self._watch = watch
        self._lease = lease
        self.held = set(gens)

    @asynccontextmanager
    async def renewing(self) -> AsyncIterator[None]:
        """Renews the lease at a third of its duration during the block, and then releases what is still held."""
        try:
            async with background(self._renew(), f"renew-lease-{self._lease.token}"):
                yield
        finally:
            await run_to_completion(self.release(set(self.held), "interrupted"), f"release-{self._lease.token}")

    def drop(self, gens: Iterable[int]) -> None:
        """Removes generations that are completed or delayed, or handed to another keeper."""
        self.held.difference_update(gens)

    def abandon(self) -> None:
        """Leaves what is still held to the end of its lease, as a crash would: the attempt counts."""
        self.held.clear()
        self._context.liveness.left_leases = True

    async def release(self, gens: Iterable[int], reason: str) -> None:
        """Returns those of `gens` that are held to the queue; the attempt does not count.

        If that fails, they wait until the lease has run out.
        """
        released = sorted(self.held.intersection(gens))
        self.held.difference_update(released)
        if not released:
            return
        try:
            try:
                await self._release(released)
            # One connection of the pool broke, and the next may be good; or the queue is locked, by a transaction that
            # drops it or will soon end.
            except (DatabaseUnavailable, Contention):
                await asyncio.sleep(RELEASE_RETRY_S)
                await self._release(released)
        except WatchChanged as error:
            logger.debug("nothing left to release on %s: %s", self._watch.quoted_name, error)
        except DatabaseError as error:
            self._context.liveness.left_leases = True
            logger.warning("could not release %d events on %s: %s", len(released), self._watch.quoted_name, error)
        else:
            self._context.telemetry.events_done(self._watch.name, {("given_back", reason): len(released)})

    async def _release(self, gens: Sequence[int]) -> None:
        with self._context.measured("release"):
            async with self._context.database.connection() as connection:
                await release(connection, self._watch, gens, self._lease)

    async def _renew(self) -> None:
        while True:
            await asyncio.sleep(self._lease.duration_s / 3)
            if not self.held:
                continue
            asked = set(self.held)
            try:
                with self._context.measured("renew"):
                    async with self._context.database.connection() as connection:
                        renewed = await renew_lease(connection, self._watch, sorted(asked), self._lease)
            except WatchChanged as error:
                logger.debug("nothing left to renew on %s: %s", self._watch.quoted_name, error)
                continue
            except DatabaseError as error:
                logger.warning("could not renew %d leases on %s: %s", len(asked), self._watch.quoted_name, error)
                continue
            if missing := asked - renewed:
                # Events completed during the renewal are missing too; only those still held were claimed by others.
                lost = missing & self.held
                self.held -= lost
                if lost:
                    logger.warning(
                        "lost the lease of %d events on %s to another sidecar", len(lost), self._watch.quoted_name
                    )

"""Keeps the leases of the events in hand alive while the device works on them."""

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

SECOND_TRY_S = 0.1


class LeaseKeeper:
    """Renews at a third of the lease. `held` are the generations in hand; whoever finishes one removes it with `drop`.

    What is still in hand at the end of the block is released.

    A renewal that does not find an event means that another sidecar claimed it: its result will be dropped by complete,
    which looks for the token too, so losing one needs no more than forgetting it.
    """

    def __init__(self, context: Context, watch: Watch, lease: Lease, gens: Iterable[int]) -> None:
        self._context = context
        self._watch = watch
        self._lease = lease
        self.held = set(gens)

    def drop(self, gens: Iterable[int]) -> None:
        self.held.difference_update(gens)

    def leave(self) -> None:
        """What is still in hand is left as by a crash: the attempts count."""
        self.held.clear()
        self._context.liveness.left_leases = True

    async def release(self, gens: Iterable[int], reason: str) -> None:
        """Gives back those of `gens` that are in hand, with their attempt. Where that fails, the lease runs out."""
        released = sorted(self.held.intersection(gens))
        self.held.difference_update(released)
        if not released:
            return
        try:
            try:
                await self._release(released)
            # The connection that broke was one of many: the next one may be good. Whoever locks the queue drops it, or
            # is soon done.
            except (DatabaseUnavailable, Contention):
                await asyncio.sleep(SECOND_TRY_S)
                await self._release(released)
        except WatchChanged as error:
            logger.debug("nothing to release on %s any longer: %s", self._watch.label, error)
        except DatabaseError as error:
            self._context.liveness.left_leases = True
            logger.warning("could not release %d events on %s: %s", len(released), self._watch.label, error)
        else:
            self._context.telemetry.events_done(self._watch.series, {("given_back", reason): len(released)})

    async def _release(self, gens: Sequence[int]) -> None:
        with self._context.measured("release"):
            async with self._context.database.connection() as connection:
                await release(connection, self._watch, gens, self._lease)

    @asynccontextmanager
    async def renewing(self) -> AsyncIterator[None]:
        """Renews the lease for the length of the block, and releases what is still in flight at its end."""
        try:
            async with background(self._renew(), f"renew-lease-{self._lease.token}"):
                yield
        finally:
            await run_to_completion(self.release(set(self.held), "interrupted"), f"release-{self._lease.token}")

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
                logger.debug("nothing to renew on %s any longer: %s", self._watch.label, error)
                continue
            except DatabaseError as error:
                logger.warning("could not renew %d leases on %s: %s", len(asked), self._watch.label, error)
                continue
            if lost := asked - renewed:
                # Those completed in the meantime are missing too; only what is still in hand was taken from us.
                taken = lost & self.held
                self.held -= taken
                if taken:
                    logger.warning(
                        "lost the lease of %d events on %s to another sidecar", len(taken), self._watch.label
                    )

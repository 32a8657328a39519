"""Regular chores beside the worker: heartbeat, reload of the watches, progress, tombstones, and the index keeper."""

from __future__ import annotations

import asyncio
import logging

from sidecar.batching.inputs import Kind
from sidecar.concurrency import background
from sidecar.errors import DatabaseError
from sidecar.ingest.context import Context
from sidecar.ingest.index_keeper import IndexKeeper
from sidecar.postgres.heartbeat import Speed, record_heartbeat
from sidecar.postgres.watches_with_work import delete_tombstones

logger = logging.getLogger(__name__)

INTERVAL_S = 2.0
INDEXED_INTERVAL_S = 5.0  # between searches for missing indexes while there are none
TOMBSTONES_EVERY = 30  # rounds; in the next one already after a mass deletion, of which some are left


class Housekeeper:
    """Does the chores every INTERVAL_S until cancelled. If the database is unavailable, the next round repeats them."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._index_keeper = IndexKeeper(context)
        self._tombstones_left = False

    async def run(self) -> None:
        async with background(self._keep_indexes(), "ingest-index-keeper") as indexes:
            rounds = 0
            while not indexes.done():
                await self._round(rounds)
                rounds += 1
                await asyncio.wait([indexes], timeout=INTERVAL_S)
            indexes.result()

    async def _round(self, number: int) -> None:
        context = self._context
        try:
            speed = Speed(
                texts_per_s=context.embedder.views_per_s(Kind.TEXT),
                picture_views_per_s=context.embedder.views_per_s(Kind.PICTURE),
            )
            async with context.database.connection() as connection:
                await record_heartbeat(connection, context.identity, speed)
            context.database.report_success()  # the heartbeat is a write even where there is nothing else to do
            await context.catalogue.load()  # after the heartbeat: rate limits are shared among the sidecars that live
            context.telemetry.set_watches(watch.name for watch in context.catalogue.all)
            await context.progress.report(context.database)
            if self._tombstones_left or number % TOMBSTONES_EVERY == 0:
                await self._delete_tombstones()
        except DatabaseError as error:
            context.database.report(error)

    async def _delete_tombstones(self) -> None:
        """Deletes tombstones that no older event needs, after a search of whole queues rather than above their floors.

        An event below a floor of a moment ago may just have been claimed, and its row read before the tombstone was
        made.
        """
        floors = {watch.id: 0 for watch in self._context.catalogue.writable()}
        async with self._context.database.connection() as connection:
            deleted = await delete_tombstones(connection, floors)
        self._tombstones_left = deleted.some_left
        for line in deleted.trouble:
            logger.info("%s", line)

    async def _keep_indexes(self) -> None:
        """Maintains the indexes, in a task of its own: the heartbeat must not wait for a build, which takes minutes."""
        while True:
            some_left = False
            try:
                some_left = await self._index_keeper.maintain_all()
            except DatabaseError as error:
                self._context.database.report(error)
            await asyncio.sleep(INTERVAL_S if some_left else INDEXED_INTERVAL_S)

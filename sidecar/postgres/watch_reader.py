"""Reads the status of the watches for metrics and autoscaling, when it is wanted, at a limited rate."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Sequence
from contextlib import suppress

from sidecar.errors import DatabaseError
from sidecar.postgres.database import Database
from sidecar.postgres.status import WatchStatus, read_status
from sidecar.telemetry.metrics.watches import WatchMetrics, WatchReading

logger = logging.getLogger(__name__)

READ_TIMEOUT_S = 30.0
PAUSE_S = 1.0
MAX_SHARE = 0.1  # of the time that one connection may spend reading


class WatchReader:
    """Reads when `refresh` is called, in the task of `run`. Until then the database is not queried.

    `latest` is the last reading; None before the first one, and while the database cannot be read for the reason in
    `trouble`.
    """

    def __init__(self, database: Database, metrics: WatchMetrics) -> None:
        self.latest: Sequence[WatchStatus] | None = None
        self.trouble: str | None = None
        self._database = database
        self._metrics = metrics
        self._wanted = asyncio.Event()
        self._ended = asyncio.Event()
        self._due_at = 0.0  # on the clock of time.monotonic

    async def refresh(self, at_most_s: float) -> None:
        """Waits for a new reading if one is due, up to `at_most_s`; a later one serves the next caller."""
        if time.monotonic() < self._due_at:
            return
        self._ended.clear()
        self._wanted.set()
        with suppress(TimeoutError):
            async with asyncio.timeout(at_most_s):
                await self._ended.wait()

    async def run(self) -> None:
        """Reads on request until cancelled."""
        while True:
            await self._wanted.wait()
            began = time.monotonic()
            await self._read()
            now = time.monotonic()
            self._due_at = now + max((now - began) / MAX_SHARE, PAUSE_S)
            self._wanted.clear()
            self._ended.set()

    async def _read(self) -> None:
        try:
            async with asyncio.timeout(READ_TIMEOUT_S):
                self.latest, self.trouble = await read_status(self._database), None
                self._metrics.set_readings([_reading(status) for status in self.latest])
        except (DatabaseError, TimeoutError) as error:
            logger.debug("no reading of the watches for the metrics: %r", error)
            self.latest, self.trouble = None, str(error) or f"No answer within {READ_TIMEOUT_S:g} s."
            self._metrics.set_database_down()


def _reading(status: WatchStatus) -> WatchReading:
    return WatchReading(
        watch=status.name,
        embedded=status.embedded,
        pending=status.pending,
        failed=status.failed,
        empty=status.empty,
        coverage=None if status.coverage is None else status.coverage / 100,
        oldest_pending_s=0.0 if status.pending == 0 else status.oldest_pending_s,
        broken=status.is_broken,
        paused=status.state == "paused",
        rows_per_s=status.rows_per_s,
        recall=status.recall,
    )

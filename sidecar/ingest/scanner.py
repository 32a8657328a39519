"""Runs the scans of all watches page by page (backfill, sweep, verification, clearing), and requeues delayed events.

A backfill enqueues at most four batches ahead of the worker, so that its events never bury live ones and a pause stops
it there. Watches without a scan cost nothing here: the worker's search has already found which of them have delayed
events that are due.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from sidecar.errors import DatabaseError, StatementRejected, WatchChanged
from sidecar.ingest.claiming import WorkFinder
from sidecar.ingest.context import Context
from sidecar.ingest.pacing import WatchBackoffs
from sidecar.postgres.clearing import clear_page
from sidecar.postgres.database import Connection, reconnect_backoff
from sidecar.postgres.events import return_due
from sidecar.postgres.scans import (
    Page,
    backfill_page,
    outstanding_backfill,
    sweep_page,
    verify_page,
)
from sidecar.postgres.watches import Watch
from sidecar.postgres.watches_with_work import start_sweeps

logger = logging.getLogger(__name__)

BATCHES_AHEAD = 4
SWEEP_PAGE_ROWS = 5000
VERIFY_PAGE_ROWS, VERIFY_PAGE_S = 1000, 0.25  # a page has as many bytes as may be read in that time
CLEAR_PAGE_ROWS = 200  # each row is a write to the user's table, under a lock
BUSY_INTERVAL_S, IDLE_INTERVAL_S = 0.02, 0.5
# Between pages of a sweep, or as long as the page took: it never has more than half of one connection's time.
SWEEP_PAUSE_S = 0.1
START_SWEEPS_INTERVAL_S = 10.0
LONGEST_PAGE_S = 2.0
SMALLEST_PAGE_SHARE = 1 / 256  # of the usual rows


class Scanner:
    """All scans. `on_enqueued` wakes the worker; `on_change` has the watches loaded again."""

    def __init__(
        self, context: Context, finder: WorkFinder, on_enqueued: Callable[[], None], on_change: Callable[[], None]
    ) -> None:
        self._context = context
        self._finder = finder
        self._on_enqueued = on_enqueued
        self._on_change = on_change
        self._watch_backoffs = WatchBackoffs()
        self._page_sizes = PageSizes()
        self._next_sweep: dict[int, float] = {}  # page, by watch, on the clock of time.monotonic; so the next two
        self._next_verify: dict[int, float] = {}
        self._next_clear: dict[int, float] = {}
        self._next_start_sweeps = float("-inf")
        self._without_scan: frozenset[int] = frozenset()  # watches, at the last start of sweeps

    async def run(self) -> None:
        """Runs scans until cancelled. Loads the watches itself: the worker, which does so too, may be busy for long."""
        idle_interval_s = min(IDLE_INTERVAL_S, self._context.settings.poll_interval_s)
        backoff = reconnect_backoff()
        while True:
            try:
                busy = await self._run_all()
                backoff.reset()
            except DatabaseError as error:
                self._context.database.report(error)
                await asyncio.sleep(backoff.next_s())
                continue
            await asyncio.sleep(BUSY_INTERVAL_S if busy else idle_interval_s)

    async def _run_all(self) -> bool:
        """Runs a page of each scan. True if the next round should come soon."""
        await self._context.catalogue.refresh()
        watches = [w for w in self._context.catalogue.writable() if not w.paused]
        # Before the scans, on watches as they were just loaded: one that ends below counts as running until the next
        # load.
        await self._start_sweeps(watches)
        busy = [await self._run(watch) for watch in watches if not self._watch_backoffs.is_waiting(watch.id)]
        return any(busy)

    async def _run(self, watch: Watch) -> bool:
        """Runs a page of each scan of the watch. True if the next round should come soon.

        An error of the watch leaves the others alone. Raises DatabaseError if the database itself is unavailable.
        """
        if watch.scans:
            await self._context.guard.hold()
        try:
            busy = await self._run_pages(watch)
        except (WatchChanged, StatementRejected) as error:
            await self._context.catalogue.report_failure(watch, error)
            self._watch_backoffs.record_failure(watch.id)
            return False
        except DatabaseError as error:
            if not await self._context.database.is_reachable():
                raise
            self._page_sizes.halve(watch.id)
            delay_s = self._watch_backoffs.record_failure(watch.id)
            logger.info("scans of %s wait %.1f s: %s", watch.quoted_name, delay_s, error)
            return True
        self._watch_backoffs.record_success(watch.id)
        return busy

    async def _run_pages(self, watch: Watch) -> bool:
        if "clear" in watch.scans:
            return await self._clear(watch)
        await self._requeue_due(watch)
        if "backfill" in watch.scans:
            return await self._backfill(watch)
        verifying = "verify" in watch.scans and await self._verify(watch)
        return ("sweep" in watch.scans and await self._sweep(watch)) or verifying

    async def _requeue_due(self, watch: Watch) -> None:
        if watch.id not in self._finder.due:
            return
        async with self._context.database.connection() as connection:
            if await return_due(connection, watch):
                self._on_enqueued()
        self._finder.due.discard(watch.id)

    async def _start_sweeps(self, watches: Sequence[Watch]) -> None:
        """Starts sweeps that are due: every few seconds, and at once for a watch whose other scans have just ended."""
        idle = frozenset(watch.id for watch in watches if not watch.scans & {"clear", "backfill", "sweep"})
        self._without_scan &= idle
        if not idle or (idle == self._without_scan and time.monotonic() < self._next_start_sweeps):
            return
        interval_s = self._context.settings.sweep_interval_s
        self._without_scan = idle
        self._next_start_sweeps = time.monotonic() + min(START_SWEEPS_INTERVAL_S, interval_s)
        async with self._context.database.connection() as connection:
            if await start_sweeps(connection, list(idle), interval_s):
                self._on_change()

    async def _clear(self, watch: Watch) -> bool:
        if time.monotonic() < self._next_clear.get(watch.id, 0):
            return True
        async with self._context.database.connection() as connection:
            with self._context.measured("scan"):
                page = await clear_page(connection, watch, self._page_sizes.rows(watch.id, CLEAR_PAGE_ROWS))
        if page is not None:
            self._next_clear[watch.id] = time.monotonic() + page.wait_s
        self._finish_page(watch, "clearing old vectors", page)
        return page is not None

    async def _backfill(self, watch: Watch) -> bool:
        page_rows = self._context.settings.ingest_batch_rows
        max_outstanding = BATCHES_AHEAD * page_rows
        async with self._context.database.connection() as connection:
            if await self._outstanding(connection, watch, max_outstanding) > max_outstanding - page_rows:
                return True
            with self._context.measured("scan"):
                page = await backfill_page(connection, watch, self._page_sizes.rows(watch.id, page_rows))
        if page is not None and page.enqueued:
            self._on_enqueued()
        self._finish_page(watch, "backfill", page)
        return page is not None and not page.last

    async def _sweep(self, watch: Watch) -> bool:
        """Runs one page, once nothing that a sweep would find is outstanding: else it would enqueue a backlog again."""
        if time.monotonic() < self._next_sweep.get(watch.id, 0):
            return True
        async with self._context.database.connection() as connection:
            if await self._outstanding(connection, watch, 1):
                return False
            began = time.monotonic()
            with self._context.measured("scan"), self._page_sizes.timed(watch.id):
                page = await sweep_page(connection, watch, self._page_sizes.rows(watch.id, SWEEP_PAGE_ROWS))
        ended = time.monotonic()
        self._next_sweep[watch.id] = ended + max(SWEEP_PAUSE_S, ended - began)
        if page is not None and page.enqueued:
            logger.warning("the sweep of %s found rows that no event reported: %d", watch.quoted_name, page.enqueued)
            self._on_enqueued()
        if page is None or page.last:
            self._on_change()
        return page is not None and not page.last

    async def _verify(self, watch: Watch) -> bool:
        """Runs one page, throttled, once the events of earlier pages are done."""
        if time.monotonic() < self._next_verify.get(watch.id, 0):
            return True
        settings = self._context.settings
        page_bytes = int(settings.verify_bytes_per_s * VERIFY_PAGE_S)
        async with self._context.database.connection() as connection:
            if await self._outstanding(connection, watch, 1):
                return True
            with self._context.measured("scan"), self._page_sizes.timed(watch.id):
                max_rows = self._page_sizes.rows(watch.id, VERIFY_PAGE_ROWS)
                page = await verify_page(connection, watch, max_rows, settings.verify_bytes_per_s, page_bytes)
        if page is not None:
            self._next_verify[watch.id] = time.monotonic() + page.wait_s
            if page.enqueued:
                logger.warning(
                    "verifying %s found rows that differ from their ledger: %d", watch.quoted_name, page.enqueued
                )
                self._on_enqueued()
        self._finish_page(watch, "verification", page)
        return page is not None and not page.last

    async def _outstanding(self, connection: Connection, watch: Watch, at_most: int) -> int:
        """Counts events of the backfill that are not done, up to `at_most`."""
        horizon = self._context.horizon
        await horizon.refresh(connection, [watch.id])
        return await outstanding_backfill(connection, watch, at_most, above_gen=horizon.floor(watch.id))

    def _finish_page(self, watch: Watch, what: str, page: Page | None) -> None:
        if page is None or page.last:
            self._on_change()
        if page is not None and page.last:
            logger.info("%s of %s: every row is enqueued or done", what, watch.quoted_name)


class PageSizes:
    """Rows per page for each watch: fewer where pages take long, so that a page is bounded in time too.

    `clock` is monotonic, in seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._shares: dict[int, float] = {}  # of the usual rows, by watch

    def rows(self, watch_id: int, usual_rows: int) -> int:
        """The size of the next page, at most `usual_rows`."""
        return max(1, int(usual_rows * self._shares.get(watch_id, 1.0)))

    def halve(self, watch_id: int) -> None:
        """Halves the pages, after one that took too long or failed."""
        self._shares[watch_id] = max(self._shares.get(watch_id, 1.0) / 2, SMALLEST_PAGE_SHARE)

    @contextmanager
    def timed(self, watch_id: int) -> Iterator[None]:
        """Times the block, which runs a page, and adapts the size. A page that raises is the caller's to `halve`."""
        began = self._clock()
        yield
        elapsed_s = self._clock() - began
        if elapsed_s > LONGEST_PAGE_S:
            self.halve(watch_id)
        elif elapsed_s < LONGEST_PAGE_S / 4:
            self._shares[watch_id] = min(self._shares.get(watch_id, 1.0) * 2, 1.0)

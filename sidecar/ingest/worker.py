"""The claim loop: claims batches while slots are free, and sleeps when there is nothing to claim.

    loop ─► search for watches with work ─► claim a batch of each ─► run it as a task ─► loop
              │ none, or no slot is free
              └─► announce sleep ─► claim once more ─► sleep until woken or polled (see wake_up.py)

Several batches are in flight at a time: one is claimed, read and decoded while the device works on another and a third
is being written. Live changes and backfill have as many slots each. While all slots of the backfill are taken, the
worker sleeps as if there were no backfill, and is woken by a change or by the end of a batch.

A failure of the device pauses all claims, a failing statement only the claims from its watch.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import Counter, defaultdict
from collections.abc import Coroutine, Mapping
from contextlib import suppress
from typing import Any

from sidecar.batching.job import ROWS, Lane
from sidecar.concurrency import Backoff, cancel_and_wait
from sidecar.errors import DatabaseError, DecoderUnavailable, DeviceError, StatementRejected, WatchChanged
from sidecar.ingest.batch import Batch
from sidecar.ingest.claiming import Claim, Claimer, WorkFinder
from sidecar.ingest.context import Context
from sidecar.ingest.encoding import RowEncoder
from sidecar.ingest.locked_rows import LockedRows
from sidecar.ingest.pacing import ClaimSize, RateLimiter, WatchBackoffs
from sidecar.ingest.wake_up import WakeUp
from sidecar.postgres.completion import RowResult
from sidecar.postgres.database import reconnect_backoff
from sidecar.postgres.watches import Watch

logger = logging.getLogger(__name__)

MAX_BATCHES_IN_FLIGHT = 4  # of live changes, and as many of a backfill
MAX_LOCKED_ROWS = 1024  # whose write is retried in the background: of live changes, and as many of a backfill
FIRST_DEVICE_PAUSE_S, LAST_DEVICE_PAUSE_S = 0.5, 30.0


class Worker:
    """The claim loop, and the batches that it has started."""

    def __init__(self, context: Context, wake_up: WakeUp, finder: WorkFinder) -> None:
        self._context = context
        self._wake_up = wake_up
        self._finder = finder
        self._claimer = Claimer(
            context.settings, context.database, context.horizon, context.telemetry, context.liveness.new_token
        )
        self._rows = RowEncoder(context.embedder)
        self._claim_sizes: defaultdict[tuple[str, Lane], ClaimSize] = defaultdict(
            lambda: ClaimSize(context.settings.ingest_batch_rows)
        )
        self._rate_limiter = RateLimiter()
        self._watch_backoffs = WatchBackoffs()
        self._device_backoff = Backoff(FIRST_DEVICE_PAUSE_S, LAST_DEVICE_PAUSE_S)
        self._device_pause_s = 0.0  # before each claim, until a batch succeeds
        self._batches_in_flight = Counter[Lane]()
        self._batch_ended = asyncio.Event()
        self._locked_rows = Counter[Lane]()
        self._tasks: set[asyncio.Task[None]] = set()
        self._failed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._stop = asyncio.Event()

    def stop(self) -> None:
        """Ends claiming; `run` then returns once nothing is in flight."""
        self._stop.set()
        self._batch_ended.set()
        self._wake_up.wake()

    def expect_events(self) -> None:
        """Claims from all queues at once, because this process has enqueued or released events."""
        self._claimer.expect_events()
        self._wake_up.wake()

    async def run(self) -> None:
        """Claims until `stop`; returns with nothing left in flight.

        Raises any error of a batch that is neither the database's nor the device's: that ends the process.
        """
        backoff = reconnect_backoff()
        try:
            while not self._stop.is_set():
                try:
                    await self._claim_or_sleep()
                    backoff.reset()
                except DatabaseError as error:
                    self._context.database.report(error)
                    await self._pause(backoff.next_s())
            await self._finish_tasks()
        finally:
            await self._cancel_tasks()

    async def _claim_or_sleep(self) -> None:
        await self._context.catalogue.refresh()
        if self._device_pause_s:
            await self._pause(self._device_pause_s)
        was_notified = self._wake_up.was_notified
        if was_notified:
            logger.debug("woken by a notification")
        self._wake_up.clear()
        if await self._claim_round(was_notified) or self._stop.is_set():
            return
        if self._is_full(Lane.INGEST):  # under load no notifications are asked for
            await self._wait_for_end_of_batch()
        elif not await self._wake_up.announce_sleep(self._claimable_at_once()):
            woken = await self._wake_up.wait(self._rate_limiter.wait_s())
            cause = "notification" if self._wake_up.was_notified else "nudge" if woken else "poll"
            self._context.telemetry.ingest_woke_up(cause)

    def _claimable_at_once(self) -> set[int]:
        """Watches whose next event would be claimed at once: neither at their rate limit nor in backoff."""
        return {
            watch.id
            for watch in self._context.catalogue.claimable()
            if not self._watch_backoffs.is_waiting(watch.id)
            and self._rate_limiter.available_rows(watch.id, watch.rows_per_s)
        }

    async def _claim_round(self, was_notified: bool) -> bool:
        """Claims one batch from each watch that has work. True if more events may be waiting."""
        more = False
        watches = [w for w in self._context.catalogue.claimable() if not self._watch_backoffs.is_waiting(w.id)]
        for watch in await self._finder.watches_with_work(self._claimer.rotated(watches), was_notified):
            await self._wait_for_slot()
            if self._stop.is_set():
                break
            began = time.monotonic()
            rows = {lane: self._rows_to_claim(watch, lane) for lane in ROWS}
            claim = await self._claim(watch, rows) if any(rows.values()) else None
            self._finder.record_claim(watch, may_be_more=claim is not None and claim.may_be_more)
            if claim is not None:
                more = more or claim.may_be_more
                self._wake_up.reset_poll()
                self._rate_limiter.consume(watch.id, len(claim.events))
                self._batches_in_flight[claim.lane] += 1
                self._start(self._run_batch(claim, time.monotonic() - began), f"batch-{watch.id}")
        return more

    async def _claim(self, watch: Watch, rows: Mapping[Lane, int]) -> Claim | None:
        """Claims a batch of the watch; None if there is nothing to claim, or if the watch failed.

        Raises DatabaseError if the database itself is unavailable.
        """
        try:
            return await self._claimer.claim_batch(watch, rows)
        except (WatchChanged, StatementRejected) as error:
            await self._context.catalogue.report_failure(watch, error)
        except DatabaseError as error:
            if not await self._context.database.is_reachable():
                raise
            delay_s = self._watch_backoffs.record_failure(watch.id)
            logger.warning("claims from %s wait %.1f s: %s", watch.quoted_name, delay_s, error)
        return None

    def _is_full(self, lane: Lane) -> bool:
        """Whether all slots of a lane are taken. While live changes fill theirs, a backfill has only one."""
        changes_are_full = self._batches_in_flight[Lane.INGEST] >= MAX_BATCHES_IN_FLIGHT
        slots = 1 if lane is Lane.BACKFILL and changes_are_full else MAX_BATCHES_IN_FLIGHT
        return self._batches_in_flight[lane] >= slots

    def _rows_to_claim(self, watch: Watch, lane: Lane) -> int:
        if self._is_full(lane):
            return 0
        available_rows = self._rate_limiter.available_rows(watch.id, watch.rows_per_s)
        return min(self._claim_sizes[watch.kind, lane].rows(), available_rows)

    async def _wait_for_slot(self) -> None:
        """Waits while the slots of both lanes are taken, or until stopped."""
        while self._is_full(Lane.INGEST) and self._is_full(Lane.BACKFILL) and not self._stop.is_set():
            await self._wait_for_end_of_batch()

    async def _wait_for_end_of_batch(self) -> None:
        """Waits until a batch ends, or until stopped."""
        if not self._stop.is_set():
            self._batch_ended.clear()
            await self._batch_ended.wait()

    async def _run_batch(self, claim: Claim, claim_s: float) -> None:
        started = time.monotonic()
        try:
            with self._context.telemetry.traces.batch(claim.watch.name, len(claim.events), claim_s):
                await Batch(self._context, self._rows, claim, self._retry_locked).run()
            self._device_backoff.reset()
            self._device_pause_s = 0.0
            self._watch_backoffs.record_success(claim.watch.id)
            self._claim_sizes[claim.watch.kind, claim.lane].record(len(claim.events), started)
        except (DeviceError, DecoderUnavailable) as error:
            self._device_pause_s = self._device_backoff.next_s()
            logger.warning("the device failed, %d rows are given back: %s", len(claim.events), error)
        except DatabaseError as error:
            delay_s = self._watch_backoffs.record_failure(claim.watch.id)
            logger.warning(
                "%d rows of %s are given back for %.1f s: %s",
                len(claim.events),
                claim.watch.quoted_name,
                delay_s,
                error,
            )
        finally:
            self._batches_in_flight[claim.lane] -= 1
            self._batch_ended.set()
            self._wake_up.wake()

    async def _retry_locked(self, claim: Claim, results: list[RowResult]) -> None:
        """Writes results of locked rows in the background; reschedules them where too many wait already."""
        locked = LockedRows(self._context, claim.watch, claim.lease, claim.lane, results)
        if self._locked_rows[claim.lane] + len(results) > MAX_LOCKED_ROWS:
            await locked.reschedule()
            return
        self._locked_rows[claim.lane] += len(results)
        self._context.telemetry.adjust_locked_rows(len(results))
        self._start(self._write_locked(locked, claim.lane, len(results)), f"locked-{claim.watch.id}")

    async def _write_locked(self, locked: LockedRows, lane: Lane, rows: int) -> None:
        try:
            await locked.write()
        except DatabaseError as error:
            logger.warning("%d rows that were locked are given back: %s", rows, error)
        finally:
            self._locked_rows[lane] -= rows
            self._context.telemetry.adjust_locked_rows(-rows)

    def _start(self, coroutine: Coroutine[Any, Any, None], name: str) -> None:
        task = asyncio.create_task(coroutine, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._on_task_end)

    def _on_task_end(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None and not self._failed.done():
            self._failed.set_exception(error)
            self.stop()

    async def _pause(self, delay_s: float) -> None:
        """Waits so long, or until stopped."""
        with suppress(TimeoutError):
            await asyncio.wait_for(self._stop.wait(), delay_s)

    async def _finish_tasks(self) -> None:
        """Waits for the tasks for half of the shutdown time; the other half is for releasing what is left."""
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=self._context.settings.shutdown_timeout_s / 2)
        if self._failed.done():
            self._failed.result()

    async def _cancel_tasks(self) -> None:
        await cancel_and_wait(self._tasks)
        if self._failed.done():
            self._failed.exception()  # or it would be logged as never retrieved

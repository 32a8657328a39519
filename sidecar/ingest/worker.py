"""The claim loop: claims batches while there are slots, and dozes when there is nothing to claim.

Several batches are in hand at a time, so that the next one is claimed, read and decoded while the device works on the
current one, and a third is being written. Live changes and backfill have as many slots each: while those of the
backfill are taken, the worker dozes as if there were none, and is woken by a change or by the end of a batch.
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
from sidecar.ingest.pacing import ClaimSize, FailurePauses, RateLimiter
from sidecar.ingest.wake_up import WakeUp
from sidecar.postgres.completion import RowResult
from sidecar.postgres.database import reconnect_backoff
from sidecar.postgres.watches import Watch

logger = logging.getLogger(__name__)

MAX_BATCHES_IN_FLIGHT = 4  # of live changes, and as many of a backfill
MAX_LOCKED_ROWS = 1024  # of each of them
FIRST_DEVICE_PAUSE_S, LAST_DEVICE_PAUSE_S = 0.5, 30.0


class Worker:
    """`run` returns after `stop`, with nothing left in hand."""

    def __init__(self, context: Context, wake_up: WakeUp, finder: WorkFinder) -> None:
        self._context = context
        self._wake_up = wake_up
        self._finder = finder
        self._turns = Claimer(
            context.settings, context.database, context.horizon, context.telemetry, context.liveness.new_token
        )
        self._rows = RowEncoder(context.embedder)
        self._claim_sizes: defaultdict[tuple[str, Lane], ClaimSize] = defaultdict(
            lambda: ClaimSize(context.settings.ingest_batch_rows)
        )
        self._caps = RateLimiter()
        self._batches = Counter[Lane]()  # in hand
        self._freed = asyncio.Event()
        self._rests = FailurePauses()
        self._tasks: set[asyncio.Task[None]] = set()
        self._parked_rows = Counter[Lane]()
        self._device_backoff = Backoff(FIRST_DEVICE_PAUSE_S, LAST_DEVICE_PAUSE_S)
        self._device_pause_s = 0.0
        self._failed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._stop = asyncio.Event()

    def stop(self) -> None:
        """No claims from now on."""
        self._stop.set()
        self._freed.set()
        self._wake_up.wake()

    def look_everywhere(self) -> None:
        """The scanner enqueued something: backfill, or delayed events that are due."""
        self._turns.look_everywhere()
        self._wake_up.wake()

    async def run(self) -> None:
        """Raises what a batch raised that is nobody's fault but ours; such an end is the end of the process."""
        backoff = reconnect_backoff()
        try:
            while not self._stop.is_set():
                try:
                    await self._claim_or_doze()
                    backoff.reset()
                except DatabaseError as error:
                    self._context.database.report(error)
                    await self._pause(backoff.next_s())
            await self._finish_in_hand()
        finally:
            await self._cancel_in_hand()

    async def _claim_or_doze(self) -> None:
        await self._context.catalogue.refresh()
        if self._device_pause_s:
            await self._pause(self._device_pause_s)
        was_notified = self._wake_up.was_notified
        if was_notified:
            logger.debug("woken by a notification")
        self._wake_up.clear()
        if await self._claim_round(was_notified) or self._stop.is_set():
            return
        if self._is_full(Lane.INGEST):  # under load nobody is asked for notifications
            await self._wait_for_end_of_batch()
        elif not await self._wake_up.announce_sleep(self._wakeable()):
            rung = await self._wake_up.wait(self._caps.wait_s())
            cause = "notification" if self._wake_up.was_notified else "nudge" if rung else "poll"
            self._context.telemetry.ingest_woke_up(cause)

    def _wakeable(self) -> set[int]:
        """The watches whose rows would be claimed at once: not those that are at their cap, or at rest."""
        return {
            watch.id
            for watch in self._context.catalogue.workable()
            if not self._rests.is_resting(watch.id) and self._caps.free_rows(watch.id, watch.rows_per_s)
        }

    async def _claim_round(self, was_notified: bool) -> bool:
        """One batch of each watch that has work. True if more may be waiting."""
        more = False
        watches = [w for w in self._context.catalogue.workable() if not self._rests.is_resting(w.id)]
        for watch in await self._finder.worth_a_claim(self._turns.order(watches), was_notified):
            await self._wait_for_slot()
            if self._stop.is_set():
                break
            began = time.monotonic()
            rows = {lane: self._rows_to_claim(watch, lane) for lane in ROWS}
            claim = await self._claim(watch, rows) if any(rows.values()) else None
            self._finder.record_claim(watch, may_be_more=claim is not None and claim.may_be_more)
            if claim is not None:
                more = more or claim.may_be_more
                self._wake_up.found_work()
                self._caps.take(watch.id, len(claim.events))
                self._batches[claim.lane] += 1
                self._start(self._work(claim, time.monotonic() - began), f"batch-{watch.id}")
        return more

    async def _claim(self, watch: Watch, rows: Mapping[Lane, int]) -> Claim | None:
        """An error of one watch is that watch's: the round goes on. Raises DatabaseError where the database is gone."""
        try:
            return await self._turns.claim_batch(watch, rows)
        except (WatchChanged, StatementRejected) as error:
            await self._context.catalogue.report_change(watch, error)
        except DatabaseError as error:
            if not await self._context.database.is_reachable():
                raise
            logger.warning("claims from %s wait %.1f s: %s", watch.label, self._rests.begin(watch.id), error)
        return None

    def _is_full(self, lane: Lane) -> bool:
        """While changes fill their slots, a backfill has one at least."""
        slots = (
            1
            if lane is Lane.BACKFILL and self._batches[Lane.INGEST] >= MAX_BATCHES_IN_FLIGHT
            else MAX_BATCHES_IN_FLIGHT
        )
        return self._batches[lane] >= slots

    def _rows_to_claim(self, watch: Watch, lane: Lane) -> int:
        if self._is_full(lane):
            return 0
        return min(
            self._claim_sizes[watch.kind, lane].rows_to_claim(), self._caps.free_rows(watch.id, watch.rows_per_s)
        )

    async def _wait_for_slot(self) -> None:
        """Changes come first, and only a look tells whether there are some: a slot of theirs is waited for."""
        while self._is_full(Lane.INGEST) and self._is_full(Lane.BACKFILL) and not self._stop.is_set():
            await self._wait_for_end_of_batch()

    async def _wait_for_end_of_batch(self) -> None:
        """Or until stopped."""
        if not self._stop.is_set():
            self._freed.clear()
            await self._freed.wait()

    async def _work(self, claim: Claim, claim_s: float) -> None:
        started = time.monotonic()
        try:
            with self._context.telemetry.traces.batch(claim.watch.series, len(claim.events), claim_s):
                await Batch(self._context, self._rows, claim, self._park).run()
            self._device_backoff.reset()
            self._device_pause_s = 0.0
            self._rests.end(claim.watch.id)
            self._claim_sizes[claim.watch.kind, claim.lane].record(len(claim.events), started)
        except (DeviceError, DecoderUnavailable) as error:
            self._device_pause_s = self._device_backoff.next_s()
            logger.warning("the device failed, %d rows are given back: %s", len(claim.events), error)
        except DatabaseError as error:
            rest_s = self._rests.begin(claim.watch.id)
            logger.warning(
                "%d rows of %s are given back for %.1f s: %s", len(claim.events), claim.watch.label, rest_s, error
            )
        finally:
            self._batches[claim.lane] -= 1
            self._freed.set()
            self._wake_up.wake()

    async def _park(self, claim: Claim, results: list[RowResult]) -> None:
        locked = LockedRows(self._context, claim.watch, claim.lease, claim.lane, results)
        if self._parked_rows[claim.lane] + len(results) > MAX_LOCKED_ROWS:
            await locked.put_off()
            return
        self._parked_rows[claim.lane] += len(results)
        self._context.telemetry.adjust_locked_rows(len(results))
        self._start(self._wait_and_write(locked, claim.lane, len(results)), f"parked-{claim.watch.id}")

    async def _wait_and_write(self, locked: LockedRows, lane: Lane, rows: int) -> None:
        try:
            await locked.wait_and_write()
        except DatabaseError as error:
            logger.warning("%d rows that were locked are given back: %s", rows, error)
        finally:
            self._parked_rows[lane] -= rows
            self._context.telemetry.adjust_locked_rows(-rows)

    def _start(self, coroutine: Coroutine[Any, Any, None], name: str) -> None:
        task = asyncio.create_task(coroutine, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None and not self._failed.done():
            self._failed.set_exception(error)
            self.stop()

    async def _pause(self, delay_s: float) -> None:
        """Or until stopped."""
        with suppress(TimeoutError):
            await asyncio.wait_for(self._stop.wait(), delay_s)

    async def _finish_in_hand(self) -> None:
        """Half of the shutdown time is for finishing what is in hand; the other half for giving it back."""
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=self._context.settings.shutdown_timeout_s / 2)
        if self._failed.done():
            self._failed.result()

    async def _cancel_in_hand(self) -> None:
        await cancel_and_wait(self._tasks)
        if self._failed.done():
            self._failed.exception()

"""Admission control: reserve capacity of a lane, reject with Overloaded, or block until there is room."""

from __future__ import annotations

import asyncio
import math
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial

from sidecar.batching.device_thread import DeviceThread, FinishedBatch
from sidecar.batching.inputs import Kind
from sidecar.batching.job import Job, Lane
from sidecar.batching.lane_queue import LaneQueue
from sidecar.batching.lanes import LaneQueues
from sidecar.batching.micro_batch import MicroBatch
from sidecar.errors import DeviceError, Overloaded
from sidecar.telemetry.telemetry import Telemetry

_SMOOTHING = 0.2  # weight of the newest micro-batch: about the last ten of them count
_MAX_RETRY_AFTER_S = 60


class Admission:
    """Rejects requests that find their lane full.

    Rows block instead, in order of arrival, and so do inputs of a request that holds a Reservation: no request is
    rejected halfway.

    Used on the event loop only. Only the loop adds to a lane, so that what it reads there without the lock is never
    less than what waits.
    """

    def __init__(
        self, queues: LaneQueues, changed: threading.Condition, threads: Sequence[DeviceThread], telemetry: Telemetry
    ) -> None:
        self._queues = queues
        self._changed = changed
        self._threads = threads
        self._telemetry = telemetry
        self._rates = LaneRates()
        self._turns = {lane: asyncio.Lock() for lane in Lane}  # held by the job that is unblocked next
        self._blocked_jobs = 0
        self._capacity_freed = asyncio.Event()
        self._last_end_s = 0.0  # of a micro-batch on any device

    @property
    def has_blocked_jobs(self) -> bool:
        """May be read by any thread."""
        return self._blocked_jobs > 0

    def reject_if_full(self, lane: Lane, items: int) -> None:
        """Raises Overloaded if that many items do not fit into the lane now, DeviceError if the batcher has ended.

        Cheap: called most often under overload. Rows are never rejected.
        """
        self._reject_if_short(lane, items, self._queues[lane].ahead_of_new)

    @contextmanager
    def preparing(self, lane: Lane, items: int) -> Iterator[None]:
        """Holds capacity for `items` while they are prepared. Raises Overloaded. For rows none is held: they block."""
        self.reject_if_full(lane, items)
        held = 0 if lane.is_of_rows else items
        self._queues[lane].preparing += held
        try:
            yield
        except asyncio.CancelledError:
            self._telemetry.job_dropped(lane.value)
            raise
        finally:
            self._queues[lane].preparing -= held
            self._capacity_freed.set()

    @contextmanager
    def reserve(self, lane: Lane, items: int) -> Iterator[Reservation]:
        """Reserves capacity for a request that is prepared in parts. Raises Overloaded."""
        self.reject_if_full(lane, items)
        reservation = Reservation(self._queues[lane], items, partial(self._telemetry.job_dropped, lane.value))
        try:
            yield reservation
        finally:
            reservation.release()

    async def enqueue(self, job: Job, *, may_block: bool) -> None:
        """Puts a job into its lane. If the lane is full, blocks for a job of rows or with `may_block`.

        Raises Overloaded, DeviceError.
        """
        if may_block or job.lane.is_of_rows:
            await self._block_until_fits(job)
        else:
            # Capacity was held for it while it was prepared, which blocked jobs may not take.
            self._reject_if_short(job.lane, job.waiting, ahead=0)
        self._push(job)

    async def _block_until_fits(self, job: Job) -> None:
        queue = self._queues[job.lane]
        queue.blocked += job.waiting
        self._blocked_jobs += 1
        try:
            async with self._turns[job.lane]:
                while queue.shortfall(job.waiting) and not self._closed:
                    self._capacity_freed.clear()
                    await self._capacity_freed.wait()
        finally:
            self._blocked_jobs -= 1
            queue.blocked -= job.waiting

    def drop(self, job: Job) -> None:
        """Removes what no device has taken yet of a job whose caller was cancelled, if anything."""
        waited_s = time.monotonic() - job.enqueued_s if job.enqueued_s else None
        with self._changed:
            waiting = job.waiting
            was_queued = self._queues.drop(job)
        if waiting or was_queued:
            self._telemetry.job_dropped(job.lane.value, waiting, waited_s)
        self._capacity_freed.set()

    def rejection(self, lane: Lane, shortfall: int, message: str) -> Overloaded:
        """The error for a request that cannot be taken until `shortfall` items have left a lane. Counts a rejection."""
        self._telemetry.request_refused(lane.value)
        return Overloaded(message, self._rates.retry_after_s(lane, self._queues[lane].kinds(), shortfall))

    def notify_freed(self) -> None:
        """Has blocked jobs check again whether they fit."""
        self._capacity_freed.set()

    def record(self, finished: FinishedBatch) -> None:
        """Updates the rates at which lanes drain."""
        began_s = max(finished.began_s, self._last_end_s)
        self._last_end_s = max(finished.ended_s, self._last_end_s)
        self._rates.add(finished.batch, self._last_end_s - began_s)

    def _reject_if_short(self, lane: Lane, items: int, ahead: int) -> None:
        if lane.is_of_rows:
            return
        self._raise_if_closed()
        queue = self._queues[lane]
        if not (shortfall := queue.shortfall(items, ahead)):
            return
        used, noun = queue.waiting + queue.preparing + ahead, "pairs" if lane is Lane.RERANK else "views"
        message = (
            f"The {lane.value} queue is full: {used} {noun} are waiting, {items} more do not fit. Try again later."
        )
        raise self.rejection(lane, shortfall, message)

    def _push(self, job: Job) -> None:
        with self._changed:
            self._raise_if_closed()
            job.enqueued_s = time.monotonic()
            self._queues.push(job)
            # All: the one that is woken might not take it, because it gathers queries or is in trouble.
            self._changed.notify_all()

    @property
    def _closed(self) -> bool:
        """Whether no device takes jobs any more."""
        return all(thread.closed for thread in self._threads)

    def _raise_if_closed(self) -> None:
        if self._closed:
            raise DeviceError("The batcher has stopped; the process is shutting down.")


class Reservation:
    """Capacity reserved for a whole request, released part by part as its inputs become ready to be enqueued.

    New requests are rejected because of it. It delays no job of a request admitted before, least of all its own.
    `on_dropped` is called for each part whose caller is cancelled while it is being prepared.
    """

    def __init__(self, queue: LaneQueue, items: int, on_dropped: Callable[[], object]) -> None:
        self._queue = queue
        self._items = items
        self._on_dropped = on_dropped
        queue.reserved += items

    @contextmanager
    def preparing(self, items: int) -> Iterator[None]:
        """Releases the capacity of one part once it has been prepared, or that has failed."""
        try:
            yield
        except asyncio.CancelledError:
            self._on_dropped()
            raise
        finally:
            self._release(min(items, self._items))

    def release(self) -> None:
        """Releases what is left."""
        self._release(self._items)

    def _release(self, items: int) -> None:
        self._items -= items
        self._queue.reserved -= items


class LaneRates:
    """How fast items of each lane and kind leave while some wait, including the time of other lanes in between.

    By the clock, not by device time: two devices are twice as fast as one.
    """

    def __init__(self) -> None:
        self._rates: dict[tuple[Lane, Kind], DrainRate] = {}
        self._elapsed_s: dict[tuple[Lane, Kind], float] = {}  # since it last had items in a micro-batch

    def add(self, batch: MicroBatch, duration_s: float) -> None:
        """`duration_s`: since the batch began, or since the one before ended on another device if that was later."""
        self._elapsed_s = {key: self._elapsed_s.get(key, 0.0) + duration_s for key in batch.waiting}
        for lane in Lane:
            if items := batch.items_of(lane):
                key = lane, batch.kind
                self._rates.setdefault(key, DrainRate()).add(items, self._elapsed_s.pop(key))

    def retry_after_s(self, lane: Lane, kinds: Sequence[Kind], items: int) -> int:
        """Whole seconds, 1 to 60, until that many items will have left a lane in which these kinds wait.

        One second while nothing has been measured.
        """
        rates = [rate.per_s for kind in kinds or list(Kind) if (rate := self._rates.get((lane, kind)))]
        per_s = sum(rate for rate in rates if rate)
        return min(max(math.ceil(items / per_s), 1), _MAX_RETRY_AFTER_S) if per_s else 1


class DrainRate:
    """Items per second: an exponential moving average over recent micro-batches."""

    def __init__(self) -> None:
        self._seconds_per_item: float | None = None

    def add(self, items: int, duration_s: float) -> None:
        """Counts `items` that left in `duration_s`, as the caller measures it."""
        newest = duration_s / items
        if self._seconds_per_item is None:
            self._seconds_per_item = newest
        else:
            self._seconds_per_item += _SMOOTHING * (newest - self._seconds_per_item)

    @property
    def per_s(self) -> float | None:
        """None while nothing has been measured."""
        return 1 / self._seconds_per_item if self._seconds_per_item else None

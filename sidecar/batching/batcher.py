"""The lanes, and behind them a thread for each device.

Callers put jobs into four bounded lanes: QUERY, RERANK, INGEST (rows that changed) and BACKFILL. The devices' threads
take items from them themselves, at the last moment: there is no hop through the event loop between two micro-batches,
and a query that arrives while one runs is in the next. Inputs are decoded and tokenised before their job is enqueued,
in other processes and threads.

All devices hold the same model and take from the same lanes, under one lock. No device has a queue of its own: one that
is free takes at once, and a query goes to the one that is free first.

A job:

    PREPARING   its inputs are being decoded or tokenised. Capacity is held for it (`preparing`), or for its whole
                request (`reserve`). A full lane rejects it here, or before its body is read (`reject_if_full`): no work
                was spent on it.
    BLOCKED     the lane is full, and the job is of rows, or of a request that holds or held capacity (`may_block`).
                Blocked jobs are enqueued in order as items leave the lane, before any new request.
    WAITING     in its lane.
    RUNNING     devices have taken some or all of its items, the rest still wait. Its slices may run on several devices
                at once and end in any order: the rows are put together by index.
    RETRIED     a slice of it failed on one device while another works. That one encodes it once more, before what
                waits in the lanes, and alone: an input on which devices fail then fails no other job.
    DONE        answered, or failed: with DeviceOutOfMemory if a single item of it did not fit; with DeviceError if the
                device failed in its micro-batch, or the batcher ended. An item for which the model computes no finite
                numbers is answered with NaN, and does not affect others in its micro-batch. What waits of a job that
                failed is dropped; what runs of it elsewhere is ignored.
    DROPPED     its caller was cancelled, by a deadline or because the client disconnected. Its capacity is free at
                once; devices take no more of a RUNNING job. Nothing is reported to the caller.

The thread of a device (device_thread.py):

    IDLE        nothing waits. The first job to arrive is dispatched at once.
    GATHERING   the device came free less than `window_s` ago from a micro-batch that answered more queries than wait
                now, and nothing else has anything to do. These callers are about to come back: without this, 32 that
                each wait for their answer fall into step as batches of 1, 31, 1, 31 … Left when as many wait as
                before (less those that other devices took meanwhile), when `window_s` is over, or when other work
                arrives. It holds back this device only: one that has been idle for longer takes the query at once.
    RUNNING     a micro-batch is on the device. What arrives meanwhile accumulates; up to `max_views` of it go next.
    HALVING     the micro-batch did not fit into the device's memory: its halves are tried, down to single items. What
                did fit is the limit for that kind from now on; twice as much is tried again later (micro_batch.py).
    PROBING     several in a row failed: a known input tells whether the device is the cause (device_health.py). While
                it is, that input is tried every second.
    OUT         the device fails, hangs or is lost while another works: it takes nothing until it has recovered. The
                micro-batch on a device that hangs is abandoned: its slices are RETRIED, late results are ignored.
    CLOSED      `run` was cancelled, all devices were given up, or an encoder raised something that is not a
                DeviceError. Every pending job fails with it.

Which micro-batch is next:

    Lane        queries before pairs before rows that changed before backfill. But RERANK and the rows are each
                guaranteed a share of the device's time while others wait too, and BACKFILL a share of that of the
                rows; they lead when they are due (scheduling.py). While queries wait, one micro-batch of the others
                lies between two that queries lead, the one that ran when a query came or one that was due after it; or
                several, all but the last shorter than what all shares are worth. A row that changed waits for the
                micro-batch that runs, and perhaps for one of the backfill that was due, however much of it is queued.
    Kind        texts, pictures or pairs of one model, never mixed. In QUERY and RERANK kinds take turns: a text waits
                for one micro-batch of pictures, however many there are. INGEST and BACKFILL keep to their oldest job.
    Items       QUERY and RERANK: half of the budget by age, the rest to the jobs that need least. A text does not wait
                for a request of 256, and that request has half of every micro-batch. INGEST and BACKFILL: in order of
                arrival.
    Filling up  the rest of the budget goes to the other lanes, in order, for items of the same group.

How much of it, with several devices:

    As much as fits into `max_views`, unless other devices are idle. Then the items of the kind that wait are divided
    among them and this one, at least 8 each: nothing else would use these devices, and the answer comes sooner. While
    all are busy nothing is divided, since a full micro-batch costs less device time per item. Measured with four
    devices of 4 ms and 2 ms a view, against one device taking all: two callers of 32 views each were answered in 39
    ms instead of 75 (1.7 times the views), requests of 32 that came at random in 46 instead of 70 with the devices
    busy for 40 % of the time, and in 91 instead of 75 at 80 %. With less than 8 each, no answer came sooner and more
    device time was used: for up to 8 items it hardly depends on their number.

An item that equals another in the micro-batch is encoded once, and takes none of the budget. Lanes decide when an item
is encoded, never what its vector is.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from contextlib import AbstractContextManager

import numpy as np

from sidecar.batching.admission import Admission, DrainRate, Reservation
from sidecar.batching.device_health import known_input
from sidecar.batching.device_thread import DeviceThread, FinishedBatch
from sidecar.batching.devices import Devices
from sidecar.batching.encoder import PairScorer, PreparedPair, PreparedText
from sidecar.batching.inputs import Inputs, Kind, PairInputs, TextInputs, ViewInputs
from sidecar.batching.job import Job, Lane
from sidecar.batching.lane_queue import LaneDepth
from sidecar.batching.lanes import BatchSettings, LaneQueues
from sidecar.batching.micro_batch import NOT_FINITE, Rows
from sidecar.batching.preparation import PreparationThreads
from sidecar.errors import DeviceError, Overloaded
from sidecar.pictures.picture import DecodedPicture
from sidecar.telemetry.telemetry import Telemetry

_LAST_BATCH_WAIT_S = 0.5
_MIN_LENGTH_OF_MEAN = 1e-4  # below it, only rounding errors give the direction


class Batcher:
    """Encodes texts and pictures, and scores pairs, for many callers on one device or more.

    Nothing is answered unless `run` is running.
    """

    def __init__(self, devices: Devices, settings: BatchSettings, telemetry: Telemetry | None = None) -> None:
        self.telemetry = telemetry or Telemetry()
        self.devices = devices
        self.preparation = PreparationThreads()
        self.max_views = settings.max_views
        self._encoder = devices.encoder
        self._queues = LaneQueues(settings, len(devices))
        self._changed = threading.Condition()  # its lock guards the queues, from which the devices' threads take
        self._threads = [DeviceThread(device, devices, self._queues, self._changed, settings) for device in devices]
        self._jobs: set[Job] = set()  # unanswered; used on the event loop only
        self._admission = Admission(self._queues, self._changed, self._threads, self.telemetry)
        self._full_rates = [{kind: DrainRate() for kind in Kind} for _ in devices]
        self._full_items = settings.max_views / 2

    def views_per_s(self, kind: Kind) -> float | None:
        """Items per second in micro-batches that are at least half full, on all devices that work together.

        A device without such a micro-batch counts as the mean of the others; None before the first of all.
        """
        measured = [rate for rates in self._full_rates if (rate := rates[kind].per_s)]
        if not measured:
            return None
        return sum(measured) / len(measured) * max(len(self.devices.working), 1)

    def waiting(self, lane: Lane) -> int:
        """Number of items that wait in a lane."""
        with self._changed:
            return self._queues.waiting(lane)

    def depth(self, lane: Lane) -> LaneDepth:
        """Numbers of items of a lane, by state."""
        with self._changed:
            queue = self._queues[lane]
            running = sum(batch.items_of(lane) for thread in self._threads if (batch := thread.running) is not None)
            return LaneDepth(self._queues.waiting(lane), queue.preparing + queue.reserved, running, queue.capacity)

    def reject_if_full(self, lane: Lane, items: int = 1) -> None:
        """Raises Overloaded if that many items do not fit into the lane now. Rows are never rejected."""
        self._admission.reject_if_full(lane, items)

    def preparing(self, lane: Lane, items: int) -> AbstractContextManager[None]:
        """Holds capacity for about `items` while they are prepared. Raises Overloaded. For rows none is held."""
        return self._admission.preparing(lane, items)

    def reserve(self, lane: Lane, items: int) -> AbstractContextManager[Reservation]:
        """Reserves capacity for a request of about `items` that is prepared in parts. Raises Overloaded."""
        return self._admission.reserve(lane, items)

    def rejection(self, lane: Lane, shortfall: int, message: str) -> Overloaded:
        """The error for a request that cannot be taken until `shortfall` items have left a lane. Counts a rejection."""
        return self._admission.rejection(lane, shortfall, message)

    async def encode_texts(self, texts: Sequence[PreparedText], lane: Lane, *, may_block: bool = False) -> Rows:
        """(n, dimensions) float32, unit length; NaN in the row of a text for which the model has no finite vector.

        With `may_block`, a full lane blocks instead of rejecting. Raises Overloaded, DeviceError, DeviceOutOfMemory.
        """
        if not texts:
            return np.empty((0, self._encoder.dimensions), np.float32)
        return await self._enqueue_and_wait(TextInputs(texts), lane, may_block=may_block)

    async def encode_picture(
        self, picture: DecodedPicture, lane: Lane, digest: bytes | None = None, *, may_block: bool = False
    ) -> Rows:
        """The weighted mean of the views' vectors: (dimensions,) float32, unit length.

        All NaN if a view has no finite vector, or if the views cancel each other out. Summed in the order of the views
        in float32, however they were split over micro-batches. Views of pictures with the same `digest` of their bytes
        are encoded once. With `may_block`, a full lane blocks instead of rejecting.

        Raises Overloaded, DeviceError, DeviceOutOfMemory; ValueError for views of a size the model does not read.
        """
        size = self._encoder.view_size
        if not len(picture.views) or picture.views.shape[1:] != (size, size, 3):
            raise ValueError(f"Views must be (n, {size}, {size}, 3) with n > 0; these are {picture.views.shape}.")
        vectors = await self._enqueue_and_wait(ViewInputs(picture.views, digest), lane, may_block=may_block)
        mean = (vectors * picture.weights[:, None]).sum(axis=0, dtype=np.float32)
        length = np.linalg.norm(mean)
        if not length > _MIN_LENGTH_OF_MEAN:
            return np.full_like(mean, np.nan)
        return np.asarray(mean / length, np.float32)

    async def score_pairs(self, scorer: PairScorer, pairs: Sequence[PreparedPair], *, may_block: bool = False) -> Rows:
        """(n,) float32 raw scores in the order of the pairs; NaN for pairs that have no finite score.

        With `may_block`, a full lane blocks instead of rejecting. Raises Overloaded, DeviceError, DeviceOutOfMemory.
        """
        if not pairs:
            return np.empty(0, np.float32)
        return await self._enqueue_and_wait(PairInputs(pairs, scorer), Lane.RERANK, may_block=may_block)

    async def check_device(self, kind: Kind, lane: Lane) -> None:
        """Encodes a known input, to tell a failing device from a failing input. Raises DeviceError for the device."""
        rows = await self._enqueue_and_wait(known_input(self._encoder, kind), lane, may_block=True)
        if np.isnan(rows).any():
            raise DeviceError(f"The device fails: {NOT_FINITE}. Try MODEL_PRECISION=fp32.")

    async def run(self) -> None:
        """Runs the devices' threads until cancelled; every unanswered job fails at the end.

        Raises what broke a thread, or DeviceLost once all devices are given up. When cancelled, the running
        micro-batches end first, so that the devices are free; devices in trouble are not waited for.
        """
        loop = asyncio.get_running_loop()
        ended = {thread: asyncio.wrap_future(self._start(thread, loop)) for thread in self._threads}
        try:
            await self.devices.guard(_first_of(list(ended.values())), self._check_devices)
        finally:
            self.preparation.close()
            for thread in self._threads:
                thread.close()
            self._admission.notify_freed()
            try:
                await self._wait_for_last_batches(ended)
            finally:
                self._fail_unanswered()

    def _start(self, thread: DeviceThread, loop: asyncio.AbstractEventLoop) -> Future[None]:
        return thread.start(
            on_taken=lambda: self._wake_blocked_jobs(loop),
            on_finished=lambda finished: loop.call_soon_threadsafe(self._deliver, finished),
        )

    async def _wait_for_last_batches(self, ended: Mapping[DeviceThread, asyncio.Future[None]]) -> None:
        """A thread that hangs cannot be ended; it is a daemon."""
        working = [end for thread, end in ended.items() if thread.device.health.trouble is None]
        if working:
            await asyncio.wait(working)
        await asyncio.wait(ended.values(), timeout=_LAST_BATCH_WAIT_S)
        for end in ended.values():
            if end.done() and not end.cancelled():
                end.exception()  # or one after the first would be logged as never retrieved

    def _check_devices(self) -> None:
        """Frees the jobs on devices that hang, and has all others check what they may take now."""
        hanging = [thread for thread in self._threads if thread.device.health.hangs]
        for thread in hanging:
            if (finished := thread.abandon()) is not None:
                self._deliver(finished)
        if len(self.devices) > 1 and len(self.devices.working) < len(self.devices):
            with self._changed:
                self._changed.notify_all()

    def _wake_blocked_jobs(self, loop: asyncio.AbstractEventLoop) -> None:
        """Has blocked jobs check on `loop` whether they fit now. Called in the device thread."""
        if self._admission.has_blocked_jobs:
            loop.call_soon_threadsafe(self._admission.notify_freed)

    def _fail_unanswered(self) -> None:
        """Fails every job that has no answer yet."""
        for job in self._jobs:
            job.fail(DeviceError("The batcher stopped before the device answered."))

    async def _enqueue_and_wait(self, inputs: Inputs, lane: Lane, *, may_block: bool = False) -> Rows:
        """Makes a job of `inputs`, enqueues it, and waits for its answer: one row per item. Dropped if cancelled.

        Raises Overloaded, DeviceError, DeviceOutOfMemory.
        """
        job = Job(lane, inputs, asyncio.get_running_loop().create_future(), self.telemetry.traces.current_context())
        self._jobs.add(job)
        try:
            await self._admission.enqueue(job, may_block=may_block)
            return await job.answer
        except asyncio.CancelledError:
            self._admission.drop(job)
            raise
        finally:
            self._jobs.remove(job)
            job.answer.cancel()  # otherwise an error that was never retrieved would be logged

    def _deliver(self, finished: FinishedBatch) -> None:
        """Sets the answers of jobs, on the event loop. Reports the micro-batch to admission and telemetry."""
        batch, encoded = finished.batch, finished.encoded
        self._admission.record(finished)
        if encoded.items >= self._full_items:
            self._full_rates[finished.device.number][batch.kind].add(encoded.items, finished.duration_s)
        for part, result in finished.answers:
            if isinstance(result, DeviceError):
                part.job.fail(result)
                self._admission.notify_freed()  # the device's thread dropped the rest of the job
            else:
                part.job.add_rows(part.start, result)
        for _ in range(finished.did_not_fit):
            self.telemetry.device_ran_out_of_memory(batch.kind.value)
        self.telemetry.micro_batch_done(finished.report())


async def _first_of(ends: Sequence[asyncio.Future[None]]) -> None:
    """Waits until a thread ends; raises what broke it."""
    done, _ = await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
    for end in done:
        end.result()

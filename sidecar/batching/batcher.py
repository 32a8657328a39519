"""The one thread that owns the device, and the way to it.

Callers put jobs into two bounded lanes, QUERY and INGEST. The device thread takes work from them itself, at the last
moment: no hop through the event loop lies between two micro-batches, and a query that arrives while one runs is in the
next. Decoding and tokenising are done before a job enters; what is left, copying 32 views of 384 pixels into one array,
takes 0.7 ms.

A job:

    PREPARING   being decoded or tokenised; its place is reserved (`reserved`). A full query lane refuses it here or at
                the door with Overloaded, before work is spent on it.
    AT THE DOOR ingest only: the lane is full. Nothing is lost and nothing grows; jobs enter in order as views leave.
    WAITING     in its lane. Dropped from here when its caller is cancelled, before the device sees it.
    RUNNING     some or all of its views are with the device, the rest still wait.
    DONE        answered, or failed: with DeviceOutOfMemory if a single unit of it did not fit; with DeviceError if the
                device failed in its micro-batch, or the batcher ended.

The device thread (device_thread.py):

    IDLE        nothing waits. The first job to arrive is dispatched at once.
    GATHERING   the device came free less than `window_s` ago from a micro-batch of queries that was larger than what
                waits now, and ingest has nothing to do meanwhile. Its callers are about to come back: without this, 32
                clients that each wait for their answer fall into step as batches of 1, 31, 1, 31 … (measured over HTTP,
                20 ms a micro-batch: 725 answers/s without, 930 with).
                Left when as many wait as before, when `window_s` is over, or when ingest work arrives.
    RUNNING     a micro-batch is on the device; what arrives meanwhile gathers, and up to `max_views` of it go next.
    CLOSED      `run` was cancelled, or the encoder raised something that is not a DeviceError. Every waiter is told.

The lane that leads gives a micro-batch its kind, text or picture, by its oldest job; the other lane fills the room that
is left with the same kind. While both lanes wait queries lead, but ingest leads at least `ingest_min_share` of the
micro-batches. Lanes decide when, never what: a vector does not depend on the lane.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import numpy as np
from numpy.typing import NDArray

from sidecar.batching.device_thread import DeviceThread, Done
from sidecar.batching.drain_rate import DrainRate, LaneRates
from sidecar.batching.encoder import Encoder, PreparedText
from sidecar.batching.job import Job, Kind
from sidecar.batching.lane import Lane
from sidecar.batching.lane_depth import LaneDepth
from sidecar.batching.lane_queues import BatchSettings, LaneQueues
from sidecar.batching.pair_scorer import PairScorer, PreparedPair
from sidecar.batching.work import PairWork, TextWork, ViewWork, Work
from sidecar.errors import DeviceError, Overloaded
from sidecar.pictures.picture import DecodedPicture
from sidecar.telemetry.telemetry import Carried, MicroBatchReport, Telemetry


class Batcher:
    """Encodes texts and pictures, and scores pairs, of many callers on one device.

    `run` must be running for anything to be answered.
    """

    def __init__(self, encoder: Encoder, settings: BatchSettings, telemetry: Telemetry | None = None) -> None:
        self.telemetry = telemetry or Telemetry()
        self._encoder = encoder
        self._queues = LaneQueues(settings)
        self._changed = threading.Condition()  # guards the queues, which the device thread takes from
        self._device = DeviceThread(encoder, self._queues, self._changed, settings)
        self._jobs: set[Job] = set()  # unanswered; the loop's
        self._lane_rates = LaneRates()
        self._full_rates = {kind: DrainRate() for kind in Kind}
        self._full_units = settings.max_views / 2
        self._ingest_door = asyncio.Lock()
        self._at_door = 0
        self._room_freed = asyncio.Event()

    def views_per_s(self, kind: Kind) -> float | None:
        """The device's rate in micro-batches that are at least half full; None while there was none."""
        return self._full_rates[kind].per_s

    def waiting(self, lane: Lane) -> int:
        """Views, or pairs, that wait in a lane."""
        with self._changed:
            return self._queues[lane].waiting

    def depth(self, lane: Lane) -> LaneDepth:
        """What is in a lane."""
        with self._changed:
            queue, batch = self._queues[lane], self._device.running
            running = 0 if batch is None else batch.units_of(lane)
            return LaneDepth(queue.waiting, queue.reserved, running, queue.capacity)

    def refuse_if_full(self, lane: Lane, units: int = 1) -> None:
        """Raises Overloaded if so many units do not fit into the lane now. Ingest waits instead.

        Cheap, for it is asked most when there is least time. It needs no lock: nobody but the loop adds to a lane.
        """
        if lane is Lane.INGEST:
            return
        self._refuse_if_closed()
        queue = self._queues[lane]
        if not (missing := queue.missing_room(units)):
            return
        self.telemetry.request_refused(lane.value)
        used, noun = queue.waiting + queue.reserved, "pairs" if lane is Lane.RERANK else "views"
        message = f"The {lane.value} queue is full: {used} {noun} wait and {units} more do not fit. Try again later."
        raise Overloaded(message, self._lane_rates.pause_s(lane, queue.kinds(), missing))

    @contextmanager
    def reserved(self, lane: Lane, units: int) -> Iterator[None]:
        """Keep room for about `units` while they are being prepared. Raises Overloaded; ingest keeps none and waits."""
        self.refuse_if_full(lane, units)
        kept = 0 if lane is Lane.INGEST else units
        self._queues[lane].reserved += kept
        try:
            yield
        except asyncio.CancelledError:
            self.telemetry.job_dropped(lane.value)
            raise
        finally:
            self._queues[lane].reserved -= kept

    async def encode_texts(self, texts: Sequence[PreparedText], lane: Lane) -> NDArray[np.float32]:
        """(n, dimensions) float32, unit length. Raises Overloaded, DeviceError, DeviceOutOfMemory."""
        if not texts:
            return np.empty((0, self._encoder.dimensions), np.float32)
        return await self._encode(TextWork(texts), lane)

    async def encode_picture(
        self, picture: DecodedPicture, lane: Lane, digest: bytes | None = None
    ) -> NDArray[np.float32]:
        """The weighted mean of the views' vectors: (dimensions,) float32, unit length.

        Summed in the order of the views and normalised in float32, however they were split over micro-batches. Views
        of pictures with the same `digest`, that of their bytes, are encoded once.
        Raises Overloaded, DeviceError, DeviceOutOfMemory; ValueError for views of a size the model does not read.
        """
        size = self._encoder.view_size
        if not len(picture.views) or picture.views.shape[1:] != (size, size, 3):
            raise ValueError(f"Views must be (n, {size}, {size}, 3) with n > 0; these are {picture.views.shape}.")
        vectors = await self._encode(ViewWork(picture.views, digest), lane)
        mean = (vectors * picture.weights[:, None]).sum(axis=0, dtype=np.float32)
        return np.asarray(mean / np.linalg.norm(mean), np.float32)

    async def score_pairs(self, scorer: PairScorer, pairs: Sequence[PreparedPair]) -> NDArray[np.float32]:
        """(n,) float32 in the order of the pairs, as the scorer gives them; by the lane RERANK.

        Raises Overloaded, DeviceError, DeviceOutOfMemory.
        """
        if not pairs:
            return np.empty(0, np.float32)
        return await self._encode(PairWork(pairs, scorer), Lane.RERANK)

    async def run(self) -> None:
        """Drive the device until cancelled. Raises what broke the device thread, after failing all who wait.

        Cancelled, it lets the running micro-batch end first: the device is then nobody's.
        """
        call_soon = asyncio.get_running_loop().call_soon_threadsafe
        ended = asyncio.wrap_future(
            self._device.start(
                on_taken=lambda: call_soon(self._room_freed.set) if self._at_door else None,
                on_done=lambda done: call_soon(self._deliver, done),
            )
        )
        try:
            await asyncio.shield(ended)
        finally:
            self._device.close()
            self._room_freed.set()
            try:
                await asyncio.wait([ended])
            finally:
                for job in self._jobs:
                    job.fail(DeviceError("The batcher ended before the device answered."))

    async def _encode(self, work: Work, lane: Lane) -> NDArray[np.float32]:
        job = Job(lane, work, asyncio.get_running_loop().create_future(), self.telemetry.traces.current())
        self._jobs.add(job)
        try:
            if lane is Lane.INGEST:
                await self._enter_ingest(job)
            else:
                self._enter(job)
            return await job.answer
        except asyncio.CancelledError:
            if job.waiting:
                self._drop(job)
            raise
        finally:
            self._jobs.remove(job)

    def _enter(self, job: Job) -> None:
        self.refuse_if_full(job.lane, job.waiting)
        with self._changed:
            self._refuse_if_closed()
            self._push(job)

    async def _enter_ingest(self, job: Job) -> None:
        self._at_door += 1
        try:
            async with self._ingest_door:
                while not self._pushed_to_ingest(job):
                    self._room_freed.clear()
                    await self._room_freed.wait()
        finally:
            self._at_door -= 1

    def _pushed_to_ingest(self, job: Job) -> bool:
        with self._changed:
            self._refuse_if_closed()
            if self._queues[Lane.INGEST].missing_room(job.waiting):
                return False
            self._push(job)
            return True

    def _push(self, job: Job) -> None:
        job.entered_s = time.monotonic()
        self._queues.push(job)
        self._changed.notify()

    def _refuse_if_closed(self) -> None:
        if self._device.closed:
            raise DeviceError("The batcher has ended; the process is on its way down.")

    def _drop(self, job: Job) -> None:
        self.telemetry.job_dropped(job.lane.value)
        with self._changed:
            self._queues.drop(job)
        self._room_freed.set()

    def _deliver(self, done: Done) -> None:
        batch = done.batch
        self._lane_rates.add(batch, done.duration_s)
        if done.encoded_units >= self._full_units:
            self._full_rates[batch.kind].add(done.encoded_units, done.duration_s)
        for part, result in done.outcomes:
            if isinstance(result, DeviceError):
                part.job.fail(result)
                self._room_freed.set()  # by what the device thread dropped of it
            else:
                part.job.accept(result)
        for _ in range(done.did_not_fit):
            self.telemetry.device_ran_out_of_memory(batch.kind.value)
        self.telemetry.micro_batch_done(_report(done))


def _report(done: Done) -> MicroBatchReport:
    carried = [
        Carried(part.job.lane.value, len(part), done.began_s - part.job.entered_s, part.job.trace)
        for part in done.batch.parts
    ]
    kind = done.batch.kind.value
    return MicroBatchReport(kind, done.encoded_units, done.duration_s, carried, done.error, done.ended_s)

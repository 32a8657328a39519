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
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import numpy as np
from numpy.typing import NDArray

from sidecar.batching.device_thread import DeviceThread
from sidecar.batching.drain_rate import DrainRate
from sidecar.batching.encoder import Encoder, PreparedText
from sidecar.batching.job import Job, Kind, Units
from sidecar.batching.lane import Lane
from sidecar.batching.lane_queues import BatchSettings, LaneQueues
from sidecar.batching.micro_batch import Outcome
from sidecar.errors import DeviceError, Overloaded
from sidecar.pictures.picture import DecodedPicture
from sidecar.telemetry.telemetry import Telemetry


class Batcher:
    """Encodes texts and pictures of many callers on one device. `run` must be running for anything to be answered."""

    def __init__(self, encoder: Encoder, settings: BatchSettings, telemetry: Telemetry | None = None) -> None:
        self.telemetry = telemetry or Telemetry()
        self._encoder = encoder
        self._queues = LaneQueues(settings)
        self._changed = threading.Condition()  # guards the queues, which the device thread takes from
        self._device = DeviceThread(encoder, self._queues, self._changed, settings.window_s)
        self._jobs: set[Job] = set()  # unanswered; the loop's
        self._drain_rate = DrainRate()
        self._full_rates = {kind: DrainRate() for kind in Kind}
        self._full_views = settings.max_views / 2
        self._ingest_door = asyncio.Lock()
        self._room_freed = asyncio.Event()

    def views_per_s(self, kind: Kind) -> float | None:
        """The device's rate in micro-batches that are at least half full; None while there was none."""
        return self._full_rates[kind].per_s

    def waiting(self, lane: Lane) -> int:
        """Views that wait in a lane."""
        with self._changed:
            return self._queues.waiting(lane)

    @contextmanager
    def reserved(self, lane: Lane, units: int) -> Iterator[None]:
        """Keep room for about `units` while they are being prepared. Raises Overloaded if the query lane is full."""
        if lane is Lane.INGEST:
            yield
            return
        self._reserve(units)
        try:
            yield
        finally:
            with self._changed:
                self._queues.reserve(lane, -units)

    async def encode_texts(self, texts: Sequence[PreparedText], lane: Lane) -> NDArray[np.float32]:
        """(n, dimensions) float32, unit length. Raises Overloaded, DeviceError, DeviceOutOfMemory."""
        if not texts:
            return np.empty((0, self._encoder.dimensions), np.float32)
        return await self._encode(texts, lane)

    async def encode_picture(self, picture: DecodedPicture, lane: Lane) -> NDArray[np.float32]:
        """The weighted mean of the views' vectors: (dimensions,) float32, unit length.

        Summed in the order of the views and normalised in float32, however they were split over micro-batches.
        Raises Overloaded, DeviceError, DeviceOutOfMemory; ValueError for views of a size the model does not read.
        """
        size = self._encoder.view_size
        if not len(picture.views) or picture.views.shape[1:] != (size, size, 3):
            raise ValueError(f"Views must be (n, {size}, {size}, 3) with n > 0; these are {picture.views.shape}.")
        vectors = await self._encode(picture.views, lane)
        mean = (vectors * picture.weights[:, None]).sum(axis=0, dtype=np.float32)
        return np.asarray(mean / np.linalg.norm(mean), np.float32)

    async def run(self) -> None:
        """Drive the device until cancelled. Raises what broke the device thread, after failing all who wait.

        Cancelled, it lets the running micro-batch end first: the device is then nobody's.
        """
        call_soon = asyncio.get_running_loop().call_soon_threadsafe
        ended = asyncio.wrap_future(
            self._device.start(
                on_taken=lambda: call_soon(self._room_freed.set),
                on_done=lambda outcomes, duration_s: call_soon(self._deliver, outcomes, duration_s),
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

    async def _encode(self, units: Units, lane: Lane) -> NDArray[np.float32]:
        job = Job(lane, units, asyncio.get_running_loop().create_future())
        self._jobs.add(job)
        try:
            if lane is Lane.INGEST:
                await self._enter_ingest(job)
            else:
                self._enter_query(job)
            return await job.answer
        finally:
            self._jobs.remove(job)
            self._drop(job)  # if the caller was cancelled; else nothing of it is left

    def _enter_query(self, job: Job) -> None:
        with self._changed:
            self._refuse_if_closed()
            self._refuse_if_full(job.waiting)
            self._queues.push(job)
            self._changed.notify()

    async def _enter_ingest(self, job: Job) -> None:
        async with self._ingest_door:
            while not self._pushed_to_ingest(job):
                self._room_freed.clear()
                await self._room_freed.wait()

    def _pushed_to_ingest(self, job: Job) -> bool:
        with self._changed:
            self._refuse_if_closed()
            if self._queues.missing_room(Lane.INGEST, job.waiting):
                return False
            self._queues.push(job)
            self._changed.notify()
            return True

    def _reserve(self, units: int) -> None:
        with self._changed:
            self._refuse_if_closed()
            self._refuse_if_full(units)
            self._queues.reserve(Lane.QUERY, units)

    def _refuse_if_closed(self) -> None:
        if self._device.closed:
            raise DeviceError("The batcher has ended; the process is on its way down.")

    def _refuse_if_full(self, units: int) -> None:
        if missing := self._queues.missing_room(Lane.QUERY, units):
            waiting = self._queues.waiting(Lane.QUERY)
            message = f"The query queue is full: {waiting} views wait and {units} more do not fit. Try again later."
            raise Overloaded(message, self._drain_rate.time_for(missing))

    def _drop(self, job: Job) -> None:
        with self._changed:
            self._queues.drop(job)
        if job.lane is Lane.INGEST:
            self._room_freed.set()

    def _deliver(self, outcomes: Sequence[Outcome], duration_s: float) -> None:
        views = sum(len(part) for part, _ in outcomes)
        self._drain_rate.add(views, duration_s)
        if views >= self._full_views:
            self._full_rates[outcomes[0][0].job.kind].add(views, duration_s)
        for part, result in outcomes:
            if isinstance(result, DeviceError):
                part.job.fail(result)
            else:
                part.job.accept(result)

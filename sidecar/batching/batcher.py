"""The one thread that owns the device, and the way to it.

Callers put jobs into four bounded lanes, QUERY, RERANK, INGEST (rows that changed) and BACKFILL. The device thread
takes work from them itself, at the last moment: no hop through the event loop lies between two micro-batches, and a
query that arrives while one runs is in the next. Decoding and tokenising are done before a job enters, in other
processes and threads.

A job:

    PREPARING   being decoded or tokenised; its place is `reserved`, or that of its whole request (`admitted`). A full
                lane refuses it here, or before its body is read (`refuse_if_full`): no work was spent on it.
    AT THE DOOR the lane is full, but it is of rows, or of a request that was let in, with less or with a promise. Jobs
                enter in order as views leave, before any new request.
    WAITING     in its lane.
    RUNNING     some or all of its units are with the device, the rest still wait.
    DONE        answered, or failed: with DeviceOutOfMemory if a single unit of it did not fit; with DeviceError if the
                device failed in its micro-batch, or the batcher ended. A unit that the model makes no finite numbers of
                is answered with NaN, and those beside it with theirs.
    DROPPED     its caller was cancelled, by a deadline or because the client has gone. Its room is free at once; of a
                RUNNING job the device gets no more. Nobody hears of it.

The device thread (device_thread.py):

    IDLE        nothing waits. The first job to arrive is dispatched at once.
    GATHERING   the device came free less than `window_s` ago from a micro-batch that answered more queries than wait
                now, and nothing else has anything to do. These callers are about to come back: without this, 32 that
                each wait for their answer fall into step as batches of 1, 31, 1, 31 … Left when as many wait as
                before, when `window_s` is over, or when other work arrives.
    RUNNING     a micro-batch is on the device; what arrives meanwhile gathers, and up to `max_views` of it go next.
    HALVING     … it did not fit into the device's memory: its halves are tried, down to single units. What did fit is
                the limit of that kind from now on; twice as much is tried again later (size_limits.py).
    PROBING     several in a row failed: a known input tells whether it is the device (device_health.py). While it is,
                that is tried every second.
    CLOSED      `run` was cancelled, the device was given up, or the encoder raised something that is not a DeviceError.
                Every pending job fails with it.

Which micro-batch is next:

    The lane    queries before pairs before rows that changed before backfill. But RERANK and the rows are each
                guaranteed a share of the device's time while others wait too, and BACKFILL a share of that of the
                rows; they lead when they are due (device_shares.py). While queries wait, one micro-batch of the others
                lies between two that queries lead, the one that ran when a query came or one that was due after it; or
                several, all but the last shorter than what all shares are worth. A row that changed waits for the
                micro-batch that runs, and perhaps for one of the backfill that was due, however much of it is queued.
    The kind    texts, pictures or pairs of one model, never mixed. In QUERY and RERANK kinds take turns: a text waits
                for one micro-batch of pictures, however many there are. INGEST and BACKFILL keep to their oldest job.
    The units   QUERY and RERANK: half of the room by age, the rest to the jobs that need least. A text does not wait
                for a request of 256, and that one has half of every micro-batch. The others: in order of arrival.
    The rest    of the room is filled by the other lanes, in order, with work of the same kind.

A unit that is the same as another in the micro-batch is encoded once, and takes no room. Lanes decide when, never what:
a vector does not depend on the lane.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Sequence
from contextlib import AbstractContextManager

import numpy as np

from sidecar.batching.admission import Admission, DrainRate, Place
from sidecar.batching.device_health import DeviceHealth, probe_work
from sidecar.batching.device_thread import DeviceThread, Done
from sidecar.batching.encoder import Encoder, PairScorer, PreparedPair, PreparedText
from sidecar.batching.inputs import Kind, PairWork, TextWork, ViewWork, Work
from sidecar.batching.job import Job, Lane
from sidecar.batching.lane_queue import LaneDepth
from sidecar.batching.lanes import BatchSettings, LaneQueues
from sidecar.batching.micro_batch import NOT_FINITE, Rows
from sidecar.batching.preparation import PreparationThreads
from sidecar.errors import DeviceError, Overloaded
from sidecar.pictures.picture import DecodedPicture
from sidecar.telemetry.telemetry import Telemetry

_LAST_CALL_S = 0.5
_MIN_LENGTH_OF_MEAN = 1e-4  # below it the direction is what rounding left


class Batcher:
    """Encodes texts and pictures, and scores pairs, of many callers on one device.

    `run` must be running for anything to be answered.
    """

    def __init__(
        self,
        encoder: Encoder,
        settings: BatchSettings,
        telemetry: Telemetry | None = None,
        health: DeviceHealth | None = None,
    ) -> None:
        self.telemetry = telemetry or Telemetry()
        self.health = health or DeviceHealth()
        self.preparation = PreparationThreads()
        self.max_views = settings.max_views
        self._encoder = encoder
        self._queues = LaneQueues(settings)
        self._changed = threading.Condition()  # guards the queues, which the device thread takes from
        self._device = DeviceThread(encoder, self._queues, self._changed, settings, self.health)
        self._jobs: set[Job] = set()  # unanswered; the loop's
        self._admission = Admission(self._queues, self._changed, self._device, self.telemetry)
        self._full_rates = {kind: DrainRate() for kind in Kind}
        self._full_units = settings.max_views / 2

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
            return LaneDepth(queue.waiting, queue.reserved + queue.promised, running, queue.capacity)

    def refuse_if_full(self, lane: Lane, units: int = 1) -> None:
        """Raises Overloaded if so many units do not fit into the lane now. Rows wait instead."""
        self._admission.refuse_if_full(lane, units)

    def reserved(self, lane: Lane, units: int) -> AbstractContextManager[None]:
        """Keep room for about `units` while they are being prepared. Raises Overloaded; rows keep none and wait."""
        return self._admission.reserved(lane, units)

    def admitted(self, lane: Lane, units: int) -> AbstractContextManager[Place]:
        """Let in a request of about `units` as a whole, whose parts come one after another. Raises Overloaded."""
        return self._admission.admitted(lane, units)

    def overloaded(self, lane: Lane, missing: int, message: str) -> Overloaded:
        """To be raised for a request that is refused until `missing` units have left a lane. Counts the refusal."""
        return self._admission.overloaded(lane, missing, message)

    async def encode_texts(self, texts: Sequence[PreparedText], lane: Lane, *, admitted: bool = False) -> Rows:
        """(n, dimensions) float32, unit length; NaN in the row of a text that the model has no finite vector for.

        Arguments and errors as of `encode_picture`.
        """
        if not texts:
            return np.empty((0, self._encoder.dimensions), np.float32)
        return await self._encode(TextWork(texts), lane, admitted=admitted)

    async def encode_picture(
        self, picture: DecodedPicture, lane: Lane, digest: bytes | None = None, *, admitted: bool = False
    ) -> Rows:
        """The weighted mean of the views' vectors: (dimensions,) float32, unit length.

        All NaN where one of the views has no finite vector, or where they cancel each other out.
        Summed in the order of the views in float32, however they were split over micro-batches. Views of pictures with
        the same `digest` of their bytes are encoded once. `admitted`: its request was let in; it waits for room.
        Raises Overloaded, DeviceError, DeviceOutOfMemory; ValueError for views of a size the model does not read.
        """
        size = self._encoder.view_size
        if not len(picture.views) or picture.views.shape[1:] != (size, size, 3):
            raise ValueError(f"Views must be (n, {size}, {size}, 3) with n > 0; these are {picture.views.shape}.")
        vectors = await self._encode(ViewWork(picture.views, digest), lane, admitted=admitted)
        mean = (vectors * picture.weights[:, None]).sum(axis=0, dtype=np.float32)
        length = np.linalg.norm(mean)
        if not length > _MIN_LENGTH_OF_MEAN:
            return np.full_like(mean, np.nan)
        return np.asarray(mean / length, np.float32)

    async def score_pairs(self, scorer: PairScorer, pairs: Sequence[PreparedPair], *, admitted: bool = False) -> Rows:
        """(n,) float32 in the order of the pairs, as the scorer gives them; NaN for those that have no finite score.

        Errors as above; the lane is RERANK.
        """
        if not pairs:
            return np.empty(0, np.float32)
        return await self._encode(PairWork(pairs, scorer), Lane.RERANK, admitted=admitted)

    async def check_device(self, kind: Kind, lane: Lane) -> None:
        """Is the device, rather than an input, to blame? Raises DeviceError if it fails on a known input as well."""
        rows = await self._encode(probe_work(self._encoder, kind), lane, admitted=True)
        if np.isnan(rows).any():
            raise DeviceError(f"The device fails: {NOT_FINITE}. Try MODEL_PRECISION=fp32.")

    async def run(self) -> None:
        """Drive the device until cancelled. Raises what broke the device thread, after failing all who wait; DeviceLost
        once the device is given up.

        Cancelled, it lets the running micro-batch end first: the device is then free. It does not wait for a device
        that is in trouble.
        """
        call_soon = asyncio.get_running_loop().call_soon_threadsafe
        ended = asyncio.wrap_future(
            self._device.start(
                on_taken=lambda: call_soon(self._admission.room_freed) if self._admission.someone_waits else None,
                on_done=lambda done: call_soon(self._deliver, done),
            )
        )
        try:
            await self.health.watched(asyncio.shield(ended))
        finally:
            self.preparation.close()
            self._device.close()
            self._admission.room_freed()
            try:
                # A thread that hangs cannot be ended; it is a daemon's.
                await asyncio.wait([ended], timeout=None if self.health.trouble is None else _LAST_CALL_S)
            finally:
                for job in self._jobs:
                    job.fail(DeviceError("The batcher ended before the device answered."))

    async def _encode(self, work: Work, lane: Lane, *, admitted: bool = False) -> Rows:
        job = Job(lane, work, asyncio.get_running_loop().create_future(), self.telemetry.traces.current_context())
        self._jobs.add(job)
        try:
            await self._admission.enter(job, admitted=admitted)
            return await job.answer
        except asyncio.CancelledError:
            if job.waiting:
                self._admission.drop(job)
            raise
        finally:
            self._jobs.remove(job)
            job.answer.cancel()  # or its error, if nobody has fetched it, would be logged

    def _deliver(self, done: Done) -> None:
        batch = done.batch
        self._admission.learn(done)
        if done.encoded.units >= self._full_units:
            self._full_rates[batch.kind].add(done.encoded.units, done.duration_s)
        for part, result in done.encoded.outcomes:
            if isinstance(result, DeviceError):
                part.job.fail(result)
                self._admission.room_freed()  # by what the device thread dropped of it
            else:
                part.job.accept(result)
        for _ in range(done.did_not_fit):
            self.telemetry.device_ran_out_of_memory(batch.kind.value)
        self.telemetry.micro_batch_done(done.report())

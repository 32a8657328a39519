"""The doors of the lanes: who is let in, who is refused, and who waits outside."""

from __future__ import annotations

import asyncio
import math
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial

from sidecar.batching.device_thread import DeviceThread, Done
from sidecar.batching.inputs import Kind
from sidecar.batching.job import Job, Lane
from sidecar.batching.lane_queue import LaneQueue
from sidecar.batching.lanes import LaneQueues
from sidecar.batching.micro_batch import MicroBatch
from sidecar.errors import DeviceError, Overloaded
from sidecar.telemetry.telemetry import Telemetry


class Admission:
    """Requests that find their lane full are refused. Rows stand at the door instead, in order of arrival, and so
    does what belongs to a request that was let in already: nobody is refused halfway.

    Used on the event loop only. Nobody else adds to a lane: what it reads without the lock is never too little.
    """

    def __init__(
        self, queues: LaneQueues, changed: threading.Condition, device: DeviceThread, telemetry: Telemetry
    ) -> None:
        self._queues = queues
        self._changed = changed
        self._device = device
        self._telemetry = telemetry
        self._rates = LaneRates()
        self._doors = {lane: asyncio.Lock() for lane in Lane}
        self._at_doors = 0
        self._room_freed = asyncio.Event()

    @property
    def someone_waits(self) -> bool:
        """Whether anybody stands at a door. Any thread may ask."""
        return self._at_doors > 0

    def refuse_if_full(self, lane: Lane, units: int) -> None:
        """Raises Overloaded if so many units do not fit into the lane now, DeviceError if nothing ever will.

        Cheap, for it is asked most when there is least time.
        """
        self._refuse_if_missing(lane, units, self._queues[lane].before_new)

    @contextmanager
    def reserved(self, lane: Lane, units: int) -> Iterator[None]:
        """Keep room for `units` during the block. Raises Overloaded. Rows keep none: they will wait."""
        self.refuse_if_full(lane, units)
        kept = 0 if lane.is_of_rows else units
        self._queues[lane].reserved += kept
        try:
            yield
        except asyncio.CancelledError:
            self._telemetry.job_dropped(lane.value)
            raise
        finally:
            self._queues[lane].reserved -= kept
            self._room_freed.set()

    @contextmanager
    def admitted(self, lane: Lane, units: int) -> Iterator[Place]:
        """A place for a request that comes part by part, for the length of the block. Raises Overloaded."""
        self.refuse_if_full(lane, units)
        place = Place(self._queues[lane], units, on_dropped=partial(self._telemetry.job_dropped, lane.value))
        try:
            yield place
        finally:
            place.give_up()

    async def enter(self, job: Job, *, admitted: bool) -> None:
        """Put a job into its lane: at once, or once there is room for one of rows or of an admitted request.

        Raises Overloaded, DeviceError.
        """
        if admitted or job.lane.is_of_rows:
            await self._wait_at_door(job)
        else:
            self._refuse_if_missing(job.lane, job.waiting, 0)  # it had a place, which nobody at the door may take
        self._push(job)

    async def _wait_at_door(self, job: Job) -> None:
        queue = self._queues[job.lane]
        queue.at_door += job.waiting
        self._at_doors += 1
        try:
            async with self._doors[job.lane]:
                while queue.missing_room(job.waiting) and not self._device.closed:
                    self._room_freed.clear()
                    await self._room_freed.wait()
        finally:
            self._at_doors -= 1
            queue.at_door -= job.waiting

    def drop(self, job: Job) -> None:
        """The caller has gone before the device had all of its job."""
        waited_s = time.monotonic() - job.entered_s if job.entered_s else None
        self._telemetry.job_dropped(job.lane.value, job.waiting, waited_s)
        with self._changed:
            self._queues.drop(job)
        self._room_freed.set()

    def overloaded(self, lane: Lane, missing: int, message: str) -> Overloaded:
        """To be raised for a request that is refused until `missing` units have left a lane. Counts the refusal."""
        self._telemetry.request_refused(lane.value)
        return Overloaded(message, self._rates.pause_s(lane, self._queues[lane].kinds(), missing))

    def room_freed(self) -> None:
        """Who stands at a door may look again."""
        self._room_freed.set()

    def learn(self, done: Done) -> None:
        """How fast lanes drain."""
        self._rates.add(done.batch, done.duration_s)

    def _refuse_if_missing(self, lane: Lane, units: int, before: int) -> None:
        if lane.is_of_rows:
            return
        self._refuse_if_closed()
        queue = self._queues[lane]
        if not (missing := queue.missing_room(units, before)):
            return
        used, noun = queue.waiting + queue.reserved + before, "pairs" if lane is Lane.RERANK else "views"
        message = f"The {lane.value} queue is full: {used} {noun} wait and {units} more do not fit. Try again later."
        raise self.overloaded(lane, missing, message)

    def _push(self, job: Job) -> None:
        with self._changed:
            self._refuse_if_closed()
            job.entered_s = time.monotonic()
            self._queues.push(job)
            self._changed.notify()

    def _refuse_if_closed(self) -> None:
        if self._device.closed:
            raise DeviceError("The batcher has ended; the process is on its way down.")


class Place:
    """Promised to a request as a whole, and given back as its parts are prepared: they stand at the door then.

    New requests are refused for it. Nobody who was let in is held up by it, least of all the request's own parts.
    `on_dropped` is called for each part whose caller goes away while it is being prepared.
    """

    def __init__(self, queue: LaneQueue, units: int, on_dropped: Callable[[], object]) -> None:
        self._queue = queue
        self._units = units
        self._on_dropped = on_dropped
        queue.promised += units

    @contextmanager
    def part(self, units: int) -> Iterator[None]:
        """Give back the room of one part when it has been prepared, or has failed."""
        try:
            yield
        except asyncio.CancelledError:
            self._on_dropped()
            raise
        finally:
            self._give_back(min(units, self._units))

    def give_up(self) -> None:
        """Nothing more will come."""
        self._give_back(self._units)

    def _give_back(self, units: int) -> None:
        self._units -= units
        self._queue.promised -= units


_SMOOTHING = 0.2  # weight of the newest micro-batch: about the last ten of them count
_LONGEST_PAUSE_S = 60


class DrainRate:
    """Units a second, an exponential mean over recent micro-batches."""

    def __init__(self) -> None:
        self._seconds_per_unit: float | None = None

    def add(self, units: int, duration_s: float) -> None:
        newest = duration_s / units
        if self._seconds_per_unit is None:
            self._seconds_per_unit = newest
        else:
            self._seconds_per_unit += _SMOOTHING * (newest - self._seconds_per_unit)

    @property
    def per_s(self) -> float | None:
        """None while nothing has been measured."""
        return 1 / self._seconds_per_unit if self._seconds_per_unit else None


class LaneRates:
    """How fast the work of each lane and kind leaves, while it waits: what goes before and between is counted in."""

    def __init__(self) -> None:
        self._rates: dict[tuple[Lane, Kind], DrainRate] = {}
        self._elapsed_s: dict[tuple[Lane, Kind], float] = {}  # since it had a part in a micro-batch

    def add(self, batch: MicroBatch, duration_s: float) -> None:
        self._elapsed_s = {key: self._elapsed_s.get(key, 0.0) + duration_s for key in batch.waited}
        for lane in Lane:
            if units := batch.units_of(lane):
                key = lane, batch.kind
                self._rates.setdefault(key, DrainRate()).add(units, self._elapsed_s.pop(key))

    def pause_s(self, lane: Lane, kinds: Sequence[Kind], units: int) -> int:
        """Whole seconds, 1 to 60, until so many units of a lane in which these kinds wait will have left.

        One second where nothing has been measured.
        """
        rates = [rate.per_s for kind in kinds or list(Kind) if (rate := self._rates.get((lane, kind)))]
        per_s = sum(rate for rate in rates if rate)
        return min(max(math.ceil(units / per_s), 1), _LONGEST_PAUSE_S) if per_s else 1

"""The bounded queues between callers and the device, and the choice of what goes next."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass

from sidecar.batching.job import Job, Kind
from sidecar.batching.lane import Lane
from sidecar.batching.micro_batch import MicroBatch, Part

_ROUNDING = 1e-9


@dataclass(frozen=True, slots=True)
class BatchSettings:
    """`max_views` bounds a micro-batch; `window_s` is how long queries may gather (see batcher.py).

    The queues are bounded in views; `ingest_min_share` is ingest's part of the micro-batches while both lanes wait.
    """

    max_views: int
    window_s: float
    query_queue_views: int
    ingest_queue_views: int
    ingest_min_share: float


class LaneQueues:
    """Jobs in order of arrival, per lane. Not thread-safe: the batcher holds its lock around every call."""

    def __init__(self, settings: BatchSettings) -> None:
        self._max_views = settings.max_views
        self._capacity: Mapping[Lane, int] = {
            Lane.QUERY: settings.query_queue_views,
            Lane.INGEST: settings.ingest_queue_views,
        }
        self._ingest_share = settings.ingest_min_share
        self._ingest_credit = 0.0  # micro-batches that ingest may lead, earned while both lanes wait
        self._jobs: dict[Lane, deque[Job]] = {lane: deque() for lane in Lane}
        self._reserved = dict.fromkeys(Lane, 0)
        self._waiting = dict.fromkeys(Lane, 0)

    def waiting(self, lane: Lane) -> int:
        """Views that wait for the device."""
        return self._waiting[lane]

    def missing_room(self, lane: Lane, units: int) -> int:
        """How many views must leave the lane before `units` more fit; 0: they fit now.

        Whatever its size, a job is let into an empty lane: it could never run otherwise.
        """
        used = self._waiting[lane] + self._reserved[lane]
        return min(max(used + units - self._capacity[lane], 0), used)

    def reserve(self, lane: Lane, units: int) -> None:
        """Count `units` (negative: no longer) as if they waited: their texts or pictures are being prepared."""
        self._reserved[lane] += units

    def push(self, job: Job) -> None:
        self._jobs[job.lane].append(job)
        self._waiting[job.lane] += job.waiting

    def drop(self, job: Job) -> None:
        """Forget what the device has not been given of a job; nothing happens if it has it all."""
        if job.waiting and job in self._jobs[job.lane]:
            self._jobs[job.lane].remove(job)
            self._waiting[job.lane] -= job.waiting

    def next_lane(self) -> Lane | None:
        """The lane that leads the next micro-batch; None if nothing waits."""
        query, ingest = (self._waiting[lane] > 0 for lane in (Lane.QUERY, Lane.INGEST))
        if query and ingest:
            ingest_is_due = self._ingest_credit + self._ingest_share >= 1 - _ROUNDING
            return Lane.INGEST if ingest_is_due else Lane.QUERY
        if query:
            return Lane.QUERY
        return Lane.INGEST if ingest else None

    def next_kind(self, lane: Lane) -> Kind:
        """The kind of the lane's oldest job, which the next micro-batch of that lane is made of."""
        return self._jobs[lane][0].kind

    def count(self, lane: Lane, kind: Kind) -> int:
        """Views of one kind that wait in a lane, at most a micro-batch of them."""
        count = 0
        for job in self._jobs[lane]:
            if job.kind is kind:
                count += job.waiting
            if count >= self._max_views:
                return self._max_views
        return count

    def take(self, lane: Lane) -> MicroBatch:
        """Hand out the oldest units of the lane that leads; the other lane fills the room that is left."""
        other = Lane.INGEST if lane is Lane.QUERY else Lane.QUERY
        if self._waiting[other]:
            self._ingest_credit += self._ingest_share - (lane is Lane.INGEST)
        kind = self.next_kind(lane)
        parts = self._take_units(lane, kind, self._max_views)
        return MicroBatch(parts + self._take_units(other, kind, self._max_views - sum(map(len, parts))))

    def _take_units(self, lane: Lane, kind: Kind, room: int) -> list[Part]:
        parts: list[Part] = []
        for job in [job for job in self._jobs[lane] if job.kind is kind]:
            if room == 0:
                break
            part = Part(job, job.taken, job.taken + min(room, job.waiting))
            job.taken = part.stop
            if not job.waiting:
                self._jobs[lane].remove(job)
            self._waiting[lane] -= len(part)
            room -= len(part)
            parts.append(part)
        return parts

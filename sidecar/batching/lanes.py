"""All lanes together: their settings, their queues, and the next micro-batch."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

from sidecar.batching.inputs import Kind
from sidecar.batching.job import Job, JobSlice, Lane
from sidecar.batching.lane_queue import BatchBudget, LaneQueue
from sidecar.batching.micro_batch import MicroBatch
from sidecar.batching.scheduling import LaneScheduler
from sidecar.config import Settings


@dataclass(frozen=True, slots=True)
class BatchSettings:
    """Settings of lanes and micro-batches. `max_views` bounds a micro-batch.

    `window_s` is how long queries may gather (see batcher.py).

    Queues are bounded in views (pairs); INGEST and BACKFILL have the same bound, one each. Shares are fractions of the
    device's time while other lanes wait, too.
    """

    max_views: int
    window_s: float
    query_queue_views: int
    ingest_queue_views: int
    ingest_min_share: float
    rerank_queue_pairs: int = 1024
    rerank_min_share: float = 0.2
    backfill_min_share: float = 0.1  # of the time that INGEST and BACKFILL have together

    @classmethod
    def from_settings(cls, settings: Settings) -> BatchSettings:
        return cls(
            max_views=settings.batch_max_views,
            window_s=settings.batch_window_ms / 1000,
            query_queue_views=settings.query_queue_views,
            ingest_queue_views=settings.ingest_queue_views,
            ingest_min_share=settings.ingest_min_share,
            rerank_queue_pairs=settings.rerank_queue_pairs,
            rerank_min_share=settings.rerank_min_share,
            backfill_min_share=settings.backfill_min_share,
        )


@dataclass(frozen=True, slots=True)
class _Retry:
    """A slice that failed on a device, to be tried once more on another."""

    part: JobSlice
    failed_on: int


class LaneQueues:
    """One queue per lane, for all devices. Not thread-safe: the batcher holds its lock around every call."""

    def __init__(self, settings: BatchSettings, devices: int = 1) -> None:
        self._lanes: Mapping[Lane, LaneQueue] = {
            Lane.QUERY: LaneQueue(settings.query_queue_views, in_order=False),
            Lane.RERANK: LaneQueue(settings.rerank_queue_pairs, in_order=False),
            Lane.INGEST: LaneQueue(settings.ingest_queue_views, in_order=True),
            Lane.BACKFILL: LaneQueue(settings.ingest_queue_views, in_order=True),
        }
        self._scheduler = LaneScheduler(
            {Lane.RERANK: settings.rerank_min_share, Lane.INGEST: settings.ingest_min_share},
            settings.backfill_min_share,
            devices,
        )
        self._retries: list[_Retry] = []
        self.idle_devices = 0

    def __getitem__(self, lane: Lane) -> LaneQueue:
        return self._lanes[lane]

    def push(self, job: Job) -> None:
        self._lanes[job.lane].push(job)

    def drop(self, job: Job) -> bool:
        """Removes the items of a job that no device has taken, and its retries; False if there are none."""
        job.dropped = True
        kept = [retry for retry in self._retries if retry.part.job is not job]
        has_retries, self._retries = len(kept) < len(self._retries), kept
        return self._lanes[job.lane].drop(job) or has_retries

    def waiting(self, lane: Lane) -> int:
        """Number of items that wait for a device."""
        return self._lanes[lane].waiting + sum(len(each.part) for each in self._retries if each.part.job.lane is lane)

    def items_of(self, kind: Kind) -> int:
        """Number of items of a kind that wait, in all lanes."""
        return sum(queue.items_of(kind) for queue in self._lanes.values())

    @contextmanager
    def idle(self) -> Iterator[None]:
        """Counts a device that waits, because nothing else does."""
        self.idle_devices += 1
        try:
            yield
        finally:
            self.idle_devices -= 1

    def retry(self, part: JobSlice, failed_on: int) -> None:
        """Has a slice that failed on the device of that number tried once more, before what waits in the lanes."""
        self._retries.append(_Retry(part, failed_on))
        self._retries.sort(key=lambda retry: retry.part.job.lane.rank)

    def take_retry(self, may_take: Callable[[int], bool]) -> MicroBatch | None:
        """The next slice to be retried, alone: an input on which devices fail then fails no other job.

        `may_take` is called with the number of the device on which the slice failed.
        """
        retry = next((retry for retry in self._retries if may_take(retry.failed_on)), None)
        if retry is None:
            return None
        self._retries.remove(retry)
        lane = retry.part.job.lane
        waiting = self._waiting() | {(lane, retry.part.job.kind)}
        return self._begin(MicroBatch([retry.part], lane, waiting, is_retry=True))

    def others_wait(self, lane: Lane) -> bool:
        """Whether any other lane has items."""
        return any(queue.waiting for other, queue in self._lanes.items() if other is not lane)

    def next_lane(self) -> Lane | None:
        """The lane that leads the next micro-batch; None if all are empty."""
        waiting = [lane for lane, queue in self._lanes.items() if queue.waiting]
        return self._scheduler.choose(waiting) if waiting else None

    def take(self, leader: Lane, size: int) -> MicroBatch:
        """Takes items of the leading lane's next group; other lanes, in order, fill what is left of `size`."""
        waiting = self._waiting()
        job = self._lanes[leader].next_job()
        budget = BatchBudget(size)
        slices = self._lanes[leader].take(job.inputs.group, budget)
        self._lanes[leader].end_turn(job.kind)
        for lane, queue in self._lanes.items():
            if lane is not leader:
                slices += queue.take(job.inputs.group, budget)
        return self._begin(MicroBatch(slices, leader, waiting))

    def charge(self, batch: MicroBatch, duration_s: float) -> None:
        """Accounts for the device time of a finished micro-batch."""
        self._scheduler.charge(batch, duration_s)

    def _waiting(self) -> frozenset[tuple[Lane, Kind]]:
        return frozenset((lane, kind) for lane, queue in self._lanes.items() for kind in queue.kinds())

    def _begin(self, batch: MicroBatch) -> MicroBatch:
        self._scheduler.begin(batch)
        return batch

"""All lanes together: their settings, their queues, and the next micro-batch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from sidecar.batching.job import Job, Lane
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


class LaneQueues:
    """One queue per lane. Not thread-safe: the batcher holds its lock around every call."""

    def __init__(self, settings: BatchSettings) -> None:
        self._lanes: Mapping[Lane, LaneQueue] = {
            Lane.QUERY: LaneQueue(settings.query_queue_views, in_order=False),
            Lane.RERANK: LaneQueue(settings.rerank_queue_pairs, in_order=False),
            Lane.INGEST: LaneQueue(settings.ingest_queue_views, in_order=True),
            Lane.BACKFILL: LaneQueue(settings.ingest_queue_views, in_order=True),
        }
        self._scheduler = LaneScheduler(
            {Lane.RERANK: settings.rerank_min_share, Lane.INGEST: settings.ingest_min_share},
            settings.backfill_min_share,
        )

    def __getitem__(self, lane: Lane) -> LaneQueue:
        return self._lanes[lane]

    def push(self, job: Job) -> None:
        self._lanes[job.lane].push(job)

    def drop(self, job: Job) -> bool:
        """Removes the items of a job that the device has not taken; False if there are none."""
        return self._lanes[job.lane].drop(job)

    def others_wait(self, lane: Lane) -> bool:
        """Whether any other lane has items."""
        return any(queue.waiting for other, queue in self._lanes.items() if other is not lane)

    def next_lane(self) -> Lane | None:
        """The lane that leads the next micro-batch; None if all are empty."""
        waiting = [lane for lane, queue in self._lanes.items() if queue.waiting]
        return self._scheduler.choose(waiting) if waiting else None

    def take(self, leader: Lane, size: int) -> MicroBatch:
        """Takes items of the leading lane's next group; other lanes, in order, fill what is left of `size`."""
        waiting = frozenset((lane, kind) for lane, queue in self._lanes.items() for kind in queue.kinds())
        job = self._lanes[leader].next_job()
        budget = BatchBudget(size)
        slices = self._lanes[leader].take(job.inputs.group, budget)
        self._lanes[leader].end_turn(job.kind)
        for lane, queue in self._lanes.items():
            if lane is not leader:
                slices += queue.take(job.inputs.group, budget)
        return MicroBatch(slices, leader, waiting)

    def charge(self, batch: MicroBatch, duration_s: float) -> None:
        """Accounts for the device time of a finished micro-batch."""
        self._scheduler.charge(batch, duration_s)

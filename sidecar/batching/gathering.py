"""When it pays to let the device wait a moment for queries that are about to come."""

from __future__ import annotations

import time

from sidecar.batching.job import Kind
from sidecar.batching.lane import Lane
from sidecar.batching.lane_queues import LaneQueues
from sidecar.batching.micro_batch import MicroBatch


class Gathering:
    """See GATHERING in batcher.py. Used by the device thread only."""

    def __init__(self, window_s: float) -> None:
        self._window_s = window_s
        self._answered = dict.fromkeys(Kind, 0)  # callers, in the last micro-batch that queries led
        self._device_free_since = 0.0

    def dispatched(self, batch: MicroBatch) -> None:
        if batch.leader is Lane.QUERY:
            ended = (part for part in batch.parts if part.ends_job and part.job.lane is Lane.QUERY)
            self._answered[batch.kind] = sum(1 for _ in ended)

    def device_is_free(self) -> None:
        self._device_free_since = time.monotonic()

    def pause_s(self, lane: Lane, queues: LaneQueues) -> float:
        """How much longer the work of a lane may wait for more; 0 or less: dispatch it now."""
        if lane is not Lane.QUERY or queues.others_wait(lane):
            return 0.0
        queue = queues[lane]
        kind = queue.next_job().kind
        if len(queue.kinds()) > 1 or queue.jobs_of(kind) >= self._answered[kind]:
            return 0.0
        return self._device_free_since + self._window_s - time.monotonic()

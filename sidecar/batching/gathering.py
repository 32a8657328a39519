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
        self._last_query_batch = dict.fromkeys(Kind, 0)
        self._device_free_since = 0.0

    def dispatched(self, lane: Lane, batch: MicroBatch) -> None:
        if lane is Lane.QUERY:
            queries = (len(part) for part in batch.parts if part.job.lane is Lane.QUERY)
            self._last_query_batch[batch.kind] = sum(queries)

    def device_is_free(self) -> None:
        self._device_free_since = time.monotonic()

    def pause_s(self, lane: Lane, queues: LaneQueues) -> float:
        """How much longer the work of a lane may wait for more; 0 or less: dispatch it now."""
        if lane is Lane.INGEST or queues.waiting(Lane.INGEST):
            return 0.0
        kind = queues.next_kind(lane)
        if queues.count(lane, kind) >= self._last_query_batch[kind]:
            return 0.0
        return self._device_free_since + self._window_s - time.monotonic()

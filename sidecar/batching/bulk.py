"""Bulk requests: those of more items than a lane should hold of one request."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import TypeVar

from sidecar.batching.admission import Reservation
from sidecar.batching.batcher import Batcher
from sidecar.batching.job import Lane
from sidecar.concurrency import running_tasks
from sidecar.telemetry.request_context import request_is_large

_MAX_ITEMS = 256  # of a request that is enqueued as a whole: a quarter of the lane, by default
_CHUNKS_PER_LANE = 8
_MAX_WAITING_LANES = 16  # 16,384 items by default: eight requests of 2,048 texts

Content = TypeVar("Content")
Answer = TypeVar("Answer")


class BulkRequests:
    """Keeps bulk requests outside their lane, and enqueues them a chunk of one micro-batch at a time, in turns.

    All of them together occupy at most half of the lane, so that small requests find room in it however many items wait
    outside; and in the lane half of each micro-batch goes to the jobs that need least. Rejects new bulk requests while
    too many items wait. Used on the event loop only.
    """

    def __init__(self, batcher: Batcher, lane: Lane) -> None:
        capacity = batcher.depth(lane).capacity
        self._batcher = batcher
        self._lane = lane
        self._max_items = min(_MAX_ITEMS, capacity)
        self._chunk_items = max(min(batcher.max_views, capacity // _CHUNKS_PER_LANE), 1)
        self._max_chunks = max(capacity // 2 // self._chunk_items, 1)
        self._chunks = asyncio.Semaphore(self._max_chunks)  # first in, first out
        self._max_waiting = _MAX_WAITING_LANES * capacity
        self._waiting = 0

    def is_bulk(self, items: int) -> bool:
        """Whether a request of this size is too large to be enqueued as a whole."""
        return items > self._max_items

    @contextmanager
    def reserve(self, items: int) -> Iterator[Reservation]:
        """Admits a request of this size. Raises Overloaded."""
        if self._waiting and (shortfall := self._waiting + items - self._max_waiting) > 0:
            message = (
                f"Large requests of {self._waiting} in all are waiting, and {items} more do not fit. Try again later."
            )
            raise self._batcher.rejection(self._lane, shortfall, message)
        with self._batcher.reserve(self._lane, 1) as reservation:  # its chunks block until they fit
            self._waiting += items
            request_is_large.set(True)
            try:
                yield reservation
            finally:
                self._waiting -= items

    async def encode(
        self, contents: Sequence[Content], encode_chunk: Callable[[Sequence[Content]], Awaitable[Iterable[Answer]]]
    ) -> list[Answer]:
        """The answers, in order. The first error of a chunk cancels the others, and is raised."""
        size = self._chunk_items
        chunks = [contents[start : start + size] for start in range(0, len(contents), size)]
        answers: list[Iterable[Answer]] = [()] * len(chunks)
        remaining = iter(enumerate(chunks))

        async def encode_chunks() -> None:
            for index, chunk in remaining:
                async with self._chunks:
                    answers[index] = await encode_chunk(chunk)

        workers = {f"bulk {number}": encode_chunks() for number in range(min(self._max_chunks, len(chunks)))}
        async with running_tasks(workers) as tasks:
            await asyncio.gather(*tasks)
        return [answer for chunk in answers for answer in chunk]

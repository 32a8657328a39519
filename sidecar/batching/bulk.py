"""Requests of more units than a lane should hold at a time."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import TypeVar

from sidecar.batching.admission import Place
from sidecar.batching.batcher import Batcher
from sidecar.batching.job import Lane
from sidecar.telemetry.request_context import request_is_large

_MAX_UNITS = 256  # of a request that stands in the lane as a whole: a quarter of it, by default
_PARTS_OF_LANE = 8
_LANES_OUTSIDE = 16  # 16,384 units by default: eight requests of 2,048 texts

Unit = TypeVar("Unit")
Answer = TypeVar("Answer")


class BulkRequests:
    """Bulk requests wait outside their lane, and enter it a micro-batch at a time, turn by turn.

    All of them together have half of the lane, so that small requests find room in it however much waits outside; and
    in the lane half of each micro-batch goes to those who need least. They are refused once a good many wait already.
    Used on the event loop only.
    """

    def __init__(self, batcher: Batcher, lane: Lane) -> None:
        capacity = batcher.depth(lane).capacity
        self._batcher = batcher
        self._lane = lane
        self._max_units = min(_MAX_UNITS, capacity)
        self._part_units = max(min(batcher.max_views, capacity // _PARTS_OF_LANE), 1)
        self._parts_at_once = max(capacity // 2 // self._part_units, 1)
        self._in_lane = asyncio.Semaphore(self._parts_at_once)  # first come, first served
        self._max_waiting = _LANES_OUTSIDE * capacity
        self._waiting = 0

    def is_bulk(self, units: int) -> bool:
        """Whether a request of this size is too large to wait in the lane as a whole."""
        return units > self._max_units

    @contextmanager
    def admitted(self, units: int) -> Iterator[Place]:
        """Admits a request of this size for the length of the block. Raises Overloaded."""
        if self._waiting and (missing := self._waiting + units - self._max_waiting) > 0:
            message = (
                f"Large requests of {self._waiting} in all wait already, and {units} more do not fit. Try again later."
            )
            raise self._batcher.overloaded(self._lane, missing, message)
        with self._batcher.admitted(self._lane, 1) as place:  # its parts wait for room themselves
            self._waiting += units
            request_is_large.set(True)
            try:
                yield place
            finally:
                self._waiting -= units

    async def encode(
        self, units: Sequence[Unit], encode_part: Callable[[Sequence[Unit]], Awaitable[Iterable[Answer]]]
    ) -> list[Answer]:
        """The answers in order; the first error of a part cancels the others, and is raised."""
        parts = [units[start : start + self._part_units] for start in range(0, len(units), self._part_units)]
        answers: list[Iterable[Answer]] = [()] * len(parts)
        numbered = iter(enumerate(parts))

        async def encode_parts() -> None:
            for index, part in numbered:
                async with self._in_lane:
                    answers[index] = await encode_part(part)

        tasks = [
            asyncio.create_task(encode_parts(), name=f"bulk {number}")
            for number in range(min(self._parts_at_once, len(parts)))
        ]
        try:
            await asyncio.gather(*tasks)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        return [answer for part in answers for answer in part]

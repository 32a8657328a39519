"""Requests of more texts than a lane should hold at a time."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TypeAlias, TypeVar

from sidecar.batching.batcher import Batcher
from sidecar.batching.lane import Lane
from sidecar.batching.place import Place

_MAX_TEXTS = 256  # a quarter of the lane, by default
_PARTS_OF_LANE = 8
_LANES_OUTSIDE = 16  # of texts, 16,384 by default: eight requests of 2,048

Answer = TypeVar("Answer")
EncodePart: TypeAlias = Callable[[Sequence[str], Place], Awaitable[list[Answer]]]


class BulkTexts:
    """Bulk requests wait outside the lane of queries, and enter it a micro-batch at a time, turn by turn.

    All of them together have half of the lane, so that single queries find room in it however many texts wait
    outside; and in the lane half of each micro-batch goes to those who need least. They are refused once a good many
    wait already. Used on the event loop only.
    """

    def __init__(self, batcher: Batcher) -> None:
        capacity = batcher.depth(Lane.QUERY).capacity
        self._batcher = batcher
        self._max_texts = min(_MAX_TEXTS, capacity)
        self._part_texts = max(min(batcher.max_views, capacity // _PARTS_OF_LANE), 1)
        self._parts_at_once = max(capacity // 2 // self._part_texts, 1)
        self._in_lane = asyncio.Semaphore(self._parts_at_once)  # first come, first served
        self._max_waiting = _LANES_OUTSIDE * capacity
        self._waiting = 0

    def is_bulk(self, texts: int) -> bool:
        """Whether a request of so many is too large to stand in the lane as a whole."""
        return texts > self._max_texts

    async def encode(self, texts: Sequence[str], encode_part: EncodePart[Answer]) -> list[Answer]:
        """The answers in order; the first error cancels what is left. Raises Overloaded, and as `encode_part` does."""
        parts = [texts[start : start + self._part_texts] for start in range(0, len(texts), self._part_texts)]
        answers: list[list[Answer]] = [[] for _ in parts]
        numbered = iter(enumerate(parts))
        with self._admitted(len(texts)) as place:

            async def encode_parts() -> None:
                for index, part in numbered:
                    async with self._in_lane:
                        answers[index] = await encode_part(part, place)

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

    @contextmanager
    def _admitted(self, texts: int) -> Iterator[Place]:
        if self._waiting and (missing := self._waiting + texts - self._max_waiting) > 0:
            message = f"{self._waiting} texts of large requests wait and {texts} more do not fit. Try again later."
            raise self._batcher.overloaded(Lane.QUERY, missing, message)
        with self._batcher.admitted(Lane.QUERY, 1) as place:  # its parts wait for room themselves
            self._waiting += texts
            try:
                yield place
            finally:
                self._waiting -= texts

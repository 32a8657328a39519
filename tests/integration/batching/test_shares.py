"""Guaranteed shares on a device that takes real time: 1 ms a text, 2 ms a view, 1 ms a pair."""

from __future__ import annotations

import asyncio
import time
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager

import numpy as np
from numpy.typing import NDArray

from sidecar.batching.batcher import Batcher
from sidecar.batching.devices import Devices
from sidecar.batching.encoder import PreparedPair, PreparedText
from sidecar.batching.job import Lane
from sidecar.batching.lanes import BatchSettings
from sidecar.concurrency import background, running_tasks
from sidecar.pictures.picture import DecodedPicture
from tests.encoders import HashEncoder
from tests.waiting import wait_until_async

SETTINGS = BatchSettings(
    max_views=16,
    window_s=0.0,
    query_queue_views=512,
    ingest_queue_views=512,
    ingest_min_share=0.1,
    rerank_min_share=0.2,
)


class Device(HashEncoder):
    """Encoder and PairScorer in one. `busy_s` is the time spent on each kind of input, `begun` the number of calls."""

    def __init__(self) -> None:
        super().__init__(dimensions=8, view_size=4)
        self.busy_s: dict[str, float] = defaultdict(float)
        self.begun: Counter[str] = Counter()
        self.begun_before_text = 0

    def encode_texts(self, texts: Sequence[PreparedText]) -> NDArray[np.float32]:
        self.begun_before_text = self.begun["views"]
        return self._take("texts", len(texts), 0.001, super().encode_texts(texts))

    def encode_views(self, views: NDArray[np.uint8]) -> NDArray[np.float32]:
        return self._take("views", len(views), 0.002, super().encode_views(views))

    def prepare_pairs(
        self, query: str, documents: Sequence[str], max_document_tokens: int | None = None
    ) -> list[PreparedPair]:
        raise NotImplementedError

    def score_pairs(self, pairs: Sequence[PreparedPair]) -> NDArray[np.float32]:
        return self._take("pairs", len(pairs), 0.001, np.zeros(len(pairs), np.float32))

    def _take(self, what: str, items: int, seconds_each: float, rows: NDArray[np.float32]) -> NDArray[np.float32]:
        self.begun[what] += 1
        began = time.perf_counter()
        time.sleep(items * seconds_each)
        self.busy_s[what] += time.perf_counter() - began
        return rows


@asynccontextmanager
async def loaded(batcher: Batcher, callers: int, submit: Callable[[int], Awaitable[object]]) -> AsyncIterator[None]:
    """A running batcher with that many callers, each submitting again as soon as it is answered."""
    numbers = iter(range(10**9))

    async def call() -> None:
        while True:
            await submit(next(numbers))

    calls = {f"caller {number}": call() for number in range(callers)}
    async with background(batcher.run(), "batcher"), running_tasks(calls):
        yield


def text(number: int) -> PreparedText:
    return PreparedText(np.full(4, number, np.int64), truncated=False, blank=False)


def picture(number: int) -> DecodedPicture:
    views = np.full((8, 4, 4, 3), number % 256, np.uint8)
    return DecodedPicture(views, np.full(8, 1 / 8, np.float32))


async def test_under_a_flood_of_queries_reranking_and_ingest_get_their_shares_of_the_time() -> None:
    device = Device()
    batcher = Batcher(Devices([device]), SETTINGS)

    async def submit(number: int) -> object:
        if number % 60 < 40:
            return await batcher.encode_texts([text(number)], Lane.QUERY)
        if number % 60 < 50:
            pairs = [PreparedPair(np.full(4, number, np.int64), np.full(4, n), truncated=False) for n in range(16)]
            return await batcher.score_pairs(device, pairs)
        return await batcher.encode_picture(picture(number), Lane.INGEST)

    async def was_busy_for_two_seconds() -> bool:
        return sum(device.busy_s.values()) >= 2

    callers = [("texts", 40), ("pairs", 10), ("views", 10)]
    async with loaded(batcher, sum(count for _, count in callers), _same_kind_each_time(submit)):
        await wait_until_async(was_busy_for_two_seconds, "two seconds on the device")
        shares = {what: seconds / sum(device.busy_s.values()) for what, seconds in device.busy_s.items()}
    assert 0.18 <= shares["pairs"] <= 0.26, shares
    assert 0.08 <= shares["views"] <= 0.14, shares


def _same_kind_each_time(submit: Callable[[int], Awaitable[object]]) -> Callable[[int], Awaitable[object]]:
    """Have each task submit for the same kind of input every time: that of its first number."""
    first: dict[asyncio.Task[object] | None, int] = {}

    async def submit_again(number: int) -> object:
        mine = first.setdefault(asyncio.current_task(), number)
        return await submit(number * 60 + mine % 60)

    return submit_again


async def test_a_text_beside_a_backlog_of_pictures_waits_for_one_of_their_micro_batches() -> None:
    device = Device()
    batcher = Batcher(Devices([device]), SETTINGS)

    async def is_busy() -> bool:
        return device.begun["views"] > 2

    async with loaded(batcher, 20, lambda number: batcher.encode_picture(picture(number), Lane.INGEST)):
        await wait_until_async(is_busy, "the backlog to run")
        for number in range(30):
            before = device.begun["views"]
            await batcher.encode_texts([text(number)], Lane.QUERY)
            # The running one had begun before. One more may have been taken at the moment when the text came.
            assert device.begun_before_text - before <= 1

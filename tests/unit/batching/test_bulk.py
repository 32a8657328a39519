"""Requests of thousands of texts: single queries beside them neither wait nor are rejected because of them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any, cast

import numpy as np
import pytest

from sidecar.batching.batcher import Batcher
from sidecar.batching.embedder import Embedded, Embedder
from sidecar.batching.job import Lane
from sidecar.batching.reranker import LazyScorer, Reranker
from sidecar.errors import DeviceError, Overloaded, TextRejected
from sidecar.pictures.decoder.pool import DecoderPool
from tests.unit.batching.conftest import RunningBatcher
from tests.unit.batching.gated_encoder import GatedEncoder, vector_of
from tests.unit.batching.gated_scorer import GatedScorer, score_of
from tests.unit.batching.submitting import QUERY, let_callers_run
from tests.waiting import wait_until_async

LARGE = range(1000, 3048)  # 2,048 texts
DEFAULTS = {"max_views": 32, "query_queue_views": 1024}


class Requests:
    """Tasks that embed labelled texts."""

    def __init__(self, batcher: Batcher, encoder: GatedEncoder, query_cache_bytes: int = 0) -> None:
        decoders = cast(DecoderPool, None)  # no pictures here
        self.embedder = Embedder(encoder, batcher, decoders, query_cache_bytes=query_cache_bytes)
        self.batcher = batcher

    def texts(self, labels: Sequence[int]) -> asyncio.Task[list[Embedded | TextRejected]]:
        embedding = self.embedder.embed_texts([str(label) for label in labels], QUERY)
        return asyncio.create_task(embedding, name=f"{len(labels)} texts from {labels[0]}")

    async def lane_holds(self, views: int) -> None:
        async def holds() -> bool:
            return self.batcher.waiting(QUERY) == views

        await wait_until_async(holds, f"{views} views in the lane")


@asynccontextmanager
async def requests_to(
    running_batcher: RunningBatcher, encoder: GatedEncoder, **changes: int
) -> AsyncIterator[Requests]:
    cache = changes.pop("query_cache_bytes", 0)
    async with running_batcher(encoder, **{**DEFAULTS, **changes}) as batcher:
        yield Requests(batcher, encoder, cache)


def vectors(answers: Sequence[Embedded | TextRejected]) -> Any:
    return np.stack([answer.vector for answer in answers if isinstance(answer, Embedded)])


async def test_a_large_request_is_answered_in_order_in_full_micro_batches(running_batcher: RunningBatcher) -> None:
    encoder = GatedEncoder()
    encoder.release_all()
    async with requests_to(running_batcher, encoder) as requests:
        answers = await requests.texts(LARGE)
    np.testing.assert_array_equal(vectors(answers), [vector_of(label) for label in LARGE])
    assert sum(len(labels) for _, labels in encoder.seen) == len(LARGE)
    full = [labels for _, labels in encoder.seen if len(labels) == 32]
    assert len(full) > 0.8 * len(encoder.seen)


async def test_a_single_query_beside_a_large_request_is_in_the_next_micro_batch(
    running_batcher: RunningBatcher,
) -> None:
    encoder = GatedEncoder()
    async with requests_to(running_batcher, encoder) as requests:
        large = requests.texts(LARGE)
        for label in range(5):
            await encoder.next_call()
            single = requests.texts([label])
            await let_callers_run()
            encoder.release()
            _, labels = await encoder.next_call()
            assert label in labels, "the query waited for more than the micro-batch that ran"
            assert len(labels) == 32, "the large request goes on beside it"
            encoder.release()
            await single
        encoder.release_all()
        assert len(await large) == len(LARGE)


async def test_single_queries_fit_however_many_large_requests_wait(running_batcher: RunningBatcher) -> None:
    encoder = GatedEncoder()
    async with requests_to(running_batcher, encoder) as requests:
        large = [requests.texts(LARGE) for _ in range(4)]
        await encoder.next_call()
        await requests.lane_holds(512 - 32)  # half of the lane, less a chunk on the device
        singles = [requests.texts([label]) for label in range(500)]
        await let_callers_run()
        assert not [single for single in singles if single.done()], "a query was rejected because of a large request"
        encoder.release_all()
        await asyncio.gather(*singles, *large)


async def test_a_large_request_is_enqueued_beside_waiting_queries(running_batcher: RunningBatcher) -> None:
    encoder = GatedEncoder()
    async with requests_to(running_batcher, encoder) as requests:
        singles = [requests.texts([1])]
        await encoder.next_call()
        singles += [requests.texts([2]), requests.texts([3])]
        large = requests.texts(LARGE)
        await requests.lane_holds(2 + 512)
        encoder.release_all()
        assert len(await large) == len(LARGE)
        await asyncio.gather(*singles)


async def test_a_full_lane_rejects_a_large_request_like_any_other(running_batcher: RunningBatcher) -> None:
    encoder = GatedEncoder()
    async with requests_to(running_batcher, encoder, query_queue_views=80) as requests:
        waiting = [requests.texts([1])]
        await encoder.next_call()
        waiting.append(requests.texts(range(2, 82)))
        await requests.lane_holds(80)
        with pytest.raises(Overloaded, match="queue is full"):
            await requests.texts(LARGE)
        encoder.release_all()
        await asyncio.gather(*waiting)


async def test_a_request_larger_than_a_small_lane_does_not_need_it_to_be_empty(running_batcher: RunningBatcher) -> None:
    encoder = GatedEncoder()
    async with requests_to(running_batcher, encoder, query_queue_views=80) as requests:
        waiting = [requests.texts([1]), requests.texts([2])]
        await encoder.next_call()
        large = requests.texts(range(100, 181))
        encoder.release_all()
        assert len(await large) == 81
        await asyncio.gather(*waiting)


async def test_large_requests_take_turns(running_batcher: RunningBatcher) -> None:
    encoder = GatedEncoder()
    async with requests_to(running_batcher, encoder, query_queue_views=80) as requests:
        first, second = requests.texts(range(1000, 1400)), requests.texts(range(2000, 2400))
        encoder.release_all()
        await asyncio.gather(first, second)
    order = [label // 1000 for _, labels in encoder.seen for label in labels]
    halfway = order[: len(order) // 2]
    assert 0.25 < halfway.count(2) / len(halfway) < 0.75


async def test_large_requests_beyond_the_limit_are_rejected_with_a_time_to_wait(
    running_batcher: RunningBatcher,
) -> None:
    encoder = GatedEncoder()
    async with requests_to(running_batcher, encoder, query_queue_views=128) as requests:
        waiting = [requests.texts(range(1000, 2000)) for _ in range(2)]
        await encoder.next_call()
        with pytest.raises(Overloaded, match="of 2000 in all are waiting, and 1000 more do not") as rejected:
            await requests.texts(range(1000, 2000))
        assert rejected.value.retry_after_s >= 1
        single = requests.texts([1])
        encoder.release_all()
        await asyncio.gather(single, *waiting)
        await requests.texts(range(1000, 2000))


async def test_all_chunks_of_a_cancelled_request_are_dropped(running_batcher: RunningBatcher) -> None:
    encoder = GatedEncoder()
    async with requests_to(running_batcher, encoder) as requests:
        large = requests.texts(LARGE)
        await encoder.next_call()
        await requests.lane_holds(512 - 32)
        large.cancel()
        with pytest.raises(asyncio.CancelledError):
            await large
        assert requests.batcher.waiting(QUERY) == 0
        depth = requests.batcher.depth(Lane.QUERY)
        assert (depth.waiting, depth.reserved) == (0, 0)
        encoder.release_all()
        await requests.texts([1])
    assert sum(len(labels) for _, labels in encoder.seen) == 32 + 1


async def test_a_device_error_ends_all_chunks_of_a_request(running_batcher: RunningBatcher) -> None:
    encoder = GatedEncoder(fault=lambda labels: DeviceError("it broke") if 1500 in labels else None)
    encoder.release_all()
    async with requests_to(running_batcher, encoder) as requests:
        with pytest.raises(DeviceError, match="it broke"):
            await requests.texts(LARGE)
        assert requests.batcher.waiting(QUERY) == 0
        await requests.texts([1])
    assert sum(len(labels) for _, labels in encoder.seen) < len(LARGE)


async def test_texts_of_a_large_request_evict_no_query_from_the_cache(running_batcher: RunningBatcher) -> None:
    encoder = GatedEncoder()
    encoder.release_all()
    async with requests_to(running_batcher, encoder, query_cache_bytes=100_000) as requests:
        await requests.texts([1, 2, 3])
        calls = len(encoder.seen)
        await requests.texts([1, *LARGE])  # the cached text is not encoded again
        assert 1 not in [label for _, labels in encoder.seen[calls:] for label in labels]
        calls = len(encoder.seen)
        await requests.texts([3, 2, 1])
    assert len(encoder.seen) == calls


async def test_a_few_documents_beside_a_thousand_are_scored_in_the_next_micro_batch(
    running_batcher: RunningBatcher,
) -> None:
    encoder = GatedEncoder()

    async def load() -> GatedScorer:
        return GatedScorer(encoder)

    def score(labels: Sequence[int]) -> asyncio.Task[Any]:
        scoring = reranker.score("query", [str(label) for label in labels])
        return asyncio.create_task(scoring, name=f"{len(labels)} documents")

    async with running_batcher(encoder, max_views=32, rerank_queue_pairs=1024) as batcher:
        reranker = Reranker("gated", LazyScorer(load), batcher)
        large = score(range(1000, 2000))
        await encoder.next_call()

        async def half_is_in_the_lane() -> bool:
            return batcher.waiting(Lane.RERANK) == 512 - 32

        await wait_until_async(half_is_in_the_lane, "half of the lane to be taken")
        few = [score([label, label + 1]) for label in range(0, 80, 2)]  # 80 pairs: the lane had room for 24

        async def are_in_the_lane() -> bool:
            return batcher.waiting(Lane.RERANK) == 512 - 32 + 80 or any(task.done() for task in few)

        await wait_until_async(are_in_the_lane, "the others to be in the lane")
        encoder.release()
        _, labels = await encoder.next_call()
        assert min(labels) < 80
        encoder.release_all()
        for number, task in enumerate(few):
            np.testing.assert_array_equal(await task, [score_of(2 * number), score_of(2 * number + 1)])
        np.testing.assert_array_equal(await large, [score_of(label) for label in range(1000, 2000)])

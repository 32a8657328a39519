"""Pairs of query and document: their lane, their micro-batches, their scores."""

from __future__ import annotations

import asyncio

import numpy as np
import pytest

from sidecar.batching.encoder import PreparedPair
from sidecar.errors import DeviceOutOfMemory, Overloaded
from tests.unit.batching.conftest import RunningBatcher
from tests.unit.batching.gated_encoder import GatedEncoder
from tests.unit.batching.gated_scorer import GatedScorer, score_of
from tests.unit.batching.submitting import (
    INGEST,
    QUERY,
    RERANK,
    let_callers_run,
    submit_pairs,
    submit_text,
    submit_texts,
)


async def test_scores_come_back_in_the_order_of_the_pairs(running_batcher: RunningBatcher) -> None:
    encoder = GatedEncoder()
    encoder.release_all()
    async with running_batcher(encoder, max_views=3) as batcher:
        scorer = GatedScorer(encoder)
        scores, others = await asyncio.gather(
            submit_pairs(batcher, scorer, 5, 1, 4, 2, 3, 1, 7), submit_pairs(batcher, scorer, 9, 8)
        )
        assert (await batcher.score_pairs(scorer, [])).shape == (0,)
    assert scores.dtype == np.float32
    np.testing.assert_array_equal(scores, [score_of(label) for label in (5, 1, 4, 2, 3, 1, 7)])
    np.testing.assert_array_equal(others, [score_of(label) for label in (9, 8)])


async def test_pairs_of_several_requests_share_a_micro_batch_but_not_with_another_scorer(
    running_batcher: RunningBatcher,
) -> None:
    encoder = GatedEncoder()
    async with running_batcher(encoder) as batcher:
        scorer, other = GatedScorer(encoder), GatedScorer(encoder)
        waiters = [submit_text(batcher, 1)]
        await encoder.next_call()
        waiters += [submit_pairs(batcher, scorer, 2), submit_pairs(batcher, other, 3), submit_pairs(batcher, scorer, 4)]
        await let_callers_run()
        encoder.release_all()
        await asyncio.gather(*waiters)
    assert encoder.seen == [("texts", [1]), ("pairs", [2, 4]), ("pairs", [3])]


async def test_queries_go_before_pairs_and_pairs_before_ingest(running_batcher: RunningBatcher) -> None:
    encoder = GatedEncoder()
    async with running_batcher(encoder, max_views=2) as batcher:
        waiters = [submit_text(batcher, 0, INGEST)]
        await encoder.next_call()
        waiters += [
            submit_text(batcher, 1, INGEST),
            submit_pairs(batcher, GatedScorer(encoder), 2),
            submit_texts(batcher, [3, 4]),
        ]
        await let_callers_run()
        encoder.release_all()
        await asyncio.gather(*waiters)
    assert encoder.seen == [("texts", [0]), ("texts", [3, 4]), ("pairs", [2]), ("texts", [1])]


async def test_a_full_lane_of_pairs_rejects_pairs_and_nothing_else(running_batcher: RunningBatcher) -> None:
    encoder = GatedEncoder()
    async with running_batcher(encoder, rerank_queue_pairs=3) as batcher:
        scorer = GatedScorer(encoder)
        waiters = [submit_text(batcher, 1)]
        await encoder.next_call()
        waiters.append(submit_pairs(batcher, scorer, 2, 3))
        await let_callers_run()
        with batcher.preparing(RERANK, 1):
            with pytest.raises(Overloaded, match="rerank queue is full: 3 pairs are waiting, 1 more do not fit"):
                await submit_pairs(batcher, scorer, 4)
            with pytest.raises(Overloaded):
                batcher.reject_if_full(RERANK)
            batcher.reject_if_full(QUERY)
        batcher.reject_if_full(RERANK)
        encoder.release_all()
        await asyncio.gather(*waiters)


async def test_pairs_that_do_not_fit_into_memory_are_halved(running_batcher: RunningBatcher) -> None:
    encoder = GatedEncoder(lambda labels: DeviceOutOfMemory("too large") if len(labels) > 2 or 9 in labels else None)
    encoder.release_all()
    async with running_batcher(encoder) as batcher:
        scorer = GatedScorer(encoder)
        scores = await submit_pairs(batcher, scorer, 1, 2, 3, 4, 5)
        with pytest.raises(DeviceOutOfMemory):
            await submit_pairs(batcher, scorer, 9)
    np.testing.assert_array_equal(scores, [score_of(label) for label in (1, 2, 3, 4, 5)])


async def test_long_pairs_go_in_smaller_micro_batches(running_batcher: RunningBatcher) -> None:
    def pair(label: int, tokens: int) -> PreparedPair:
        return PreparedPair(np.full(tokens, label, np.int64), np.zeros(tokens, np.int64), truncated=False)

    encoder = GatedEncoder()
    encoder.release_all()
    async with running_batcher(encoder, max_views=8) as batcher:
        scorer = GatedScorer(encoder)
        pairs = [pair(label, 64) for label in range(10)] + [pair(label, 65) for label in range(10, 18)]
        pairs += [pair(label, 512) for label in (20, 21)] + [pair(label, 1000) for label in (30, 31)]
        scores = await batcher.score_pairs(scorer, pairs)
    np.testing.assert_array_equal(scores, [score_of(int(pair.token_ids[0])) for pair in pairs])
    assert [len(labels) for _, labels in encoder.seen] == [8, 5, 4, 1, 1, 1, 1, 1]

"""Reranking: scores of documents, and callers that are rejected or cancelled."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import numpy as np
import pytest
from numpy.typing import NDArray

from sidecar.batching.batcher import Batcher
from sidecar.batching.encoder import PairScale, PairScorer, PreparedPair, pair_logits, sigmoid
from sidecar.batching.job import Lane
from sidecar.batching.reranker import LazyScorer, Reranker
from sidecar.concurrency import cancel_and_wait
from sidecar.errors import DeviceError, Overloaded, TextRejected
from tests.unit.batching.conftest import RunningBatcher
from tests.unit.batching.gated_encoder import GatedEncoder
from tests.unit.batching.submitting import let_callers_run, submit_text
from tests.unit.batching.word_scorer import WordScorer
from tests.waiting import wait_until_async

DOCUMENTS = ["red", "a red bicycle", "a dog", "bicycle a red red"]


@asynccontextmanager
async def reranking(
    running_batcher: RunningBatcher, scorer: PairScorer, encoder: GatedEncoder | None = None, **changes: float
) -> AsyncIterator[tuple[Reranker, Batcher]]:
    encoder = encoder or GatedEncoder()

    async def load() -> PairScorer:
        return scorer

    async with running_batcher(encoder, **changes) as batcher:
        yield Reranker("words", LazyScorer(load), batcher), batcher


async def test_scores_are_in_the_order_of_the_documents(running_batcher: RunningBatcher) -> None:
    async with reranking(running_batcher, WordScorer()) as (reranker, _):
        scored = await reranker.score_documents("a red bicycle", DOCUMENTS)
        assert scored.raw.dtype == np.float32
        np.testing.assert_array_equal(scored.raw, [1, 3, 1, 4])
        assert list(scored.truncated) == [False] * 4
        assert scored.tokens == 4 * 3 + 1 + 3 + 2 + 4
        np.testing.assert_array_equal(await reranker.score("a red bicycle", DOCUMENTS), scored.raw)
        assert (await reranker.score("a", [])).shape == (0,)


async def test_truncated_documents_are_marked_and_may_be_limited_by_the_caller(running_batcher: RunningBatcher) -> None:
    async with reranking(running_batcher, WordScorer()) as (reranker, _):
        scored = await reranker.score_documents("red", ["x x x x x x x red", "x red"])
        assert list(scored.truncated) == [True, False]
        np.testing.assert_array_equal(scored.raw, [0, 1])
        less = await reranker.score_documents("red", ["x red"], max_document_tokens=1)
        assert list(less.truncated) == [True]
        with pytest.raises(TextRejected):
            await reranker.score("red " * 8, ["x"])


async def test_equal_documents_are_scored_once(running_batcher: RunningBatcher) -> None:
    scorer = WordScorer()
    async with reranking(running_batcher, scorer, max_views=1) as (reranker, _):
        raw = await reranker.score("red", ["red dog", "old dog"] * 4)
    np.testing.assert_array_equal(raw, [1, 0] * 4)
    assert scorer.scored == 2


async def test_concurrent_requests_get_the_same_scores_as_single_ones(running_batcher: RunningBatcher) -> None:
    queries = [f"red dog {number}" for number in range(32)]
    documents = [[f"{number}", "red", f"dog {number}", f"{number + 1}"] for number in range(32)]
    async with reranking(running_batcher, WordScorer(), rerank_queue_pairs=1000) as (reranker, _):
        alone = [await reranker.score(*each) for each in zip(queries, documents, strict=True)]
        together = await asyncio.gather(*(reranker.score(*each) for each in zip(queries, documents, strict=True)))
    np.testing.assert_array_equal(together, alone)


@pytest.mark.parametrize("answer", [float("nan"), float("inf")])
async def test_documents_whose_scores_are_not_finite_get_nan(running_batcher: RunningBatcher, answer: float) -> None:
    encoder = GatedEncoder()
    encoder.release_all()
    async with reranking(running_batcher, WordScorer(answer), encoder) as (reranker, _):
        assert np.isnan(await reranker.score("red", DOCUMENTS)).all()


async def test_the_state_is_failing_from_a_device_error_until_the_next_score(running_batcher: RunningBatcher) -> None:
    class Failing(WordScorer):
        fails = True

        def score_pairs(self, pairs: Sequence[PreparedPair]) -> NDArray[np.float32]:
            if self.fails:
                raise DeviceError("no kernel for this model")
            return super().score_pairs(pairs)

    scorer = Failing()
    async with reranking(running_batcher, scorer) as (reranker, _):
        with pytest.raises(DeviceError):
            await reranker.score("red", DOCUMENTS)
        assert reranker.state == "failing: no kernel for this model"
        scorer.fails = False
        await reranker.score("red", DOCUMENTS)
        assert reranker.state == "loaded"


async def test_scores_that_are_not_finite_on_a_failing_device_are_a_device_error(
    running_batcher: RunningBatcher,
) -> None:
    class Overflowing(GatedEncoder):
        def _encode(self, kind: str, labels: list[int]) -> NDArray[np.float32]:
            return super()._encode(kind, labels) * np.float32("inf")

    encoder = Overflowing()
    encoder.release_all()
    async with reranking(running_batcher, WordScorer(float("nan")), encoder) as (reranker, _):
        with pytest.raises(DeviceError, match=r"not finite.* MODEL_PRECISION=fp32"):
            await reranker.score("red", DOCUMENTS)


async def test_a_full_lane_rejects_before_documents_are_prepared(running_batcher: RunningBatcher) -> None:
    encoder = GatedEncoder()
    async with reranking(running_batcher, WordScorer(), encoder, rerank_queue_pairs=4) as (reranker, batcher):
        busy = submit_text(batcher, 1)
        await encoder.next_call()
        waiting = asyncio.create_task(reranker.score("red", DOCUMENTS), name="waiting")
        while batcher.waiting(Lane.RERANK) < 4:
            await asyncio.sleep(0)
        for rejected in (reranker.score("red", ["one more"]), reject_if_full(reranker)):
            with pytest.raises(Overloaded):
                await rejected
        encoder.release_all()
        await asyncio.gather(busy, waiting)
        reranker.reject_if_full()


async def reject_if_full(reranker: Reranker) -> None:
    reranker.reject_if_full()


async def test_the_documents_of_a_cancelled_caller_are_never_scored(running_batcher: RunningBatcher) -> None:
    encoder = GatedEncoder()
    scorer = WordScorer()
    async with reranking(running_batcher, scorer, encoder) as (reranker, batcher):
        busy = submit_text(batcher, 1)
        await encoder.next_call()
        leaving = asyncio.create_task(reranker.score("red", DOCUMENTS), name="leaving")
        while batcher.waiting(Lane.RERANK) < 4:
            await asyncio.sleep(0)
        await cancel_and_wait([leaving])
        assert batcher.waiting(Lane.RERANK) == 0
        encoder.release_all()
        await busy
        await let_callers_run()
    assert scorer.scored == 0


class SlowlyPreparing(WordScorer):
    """Records the number of documents of each call, and blocks until `go`."""

    def __init__(self) -> None:
        super().__init__()
        self.prepared: list[int] = []
        self.go = threading.Event()

    def prepare_pairs(
        self, query: str, documents: Sequence[str], max_document_tokens: int | None = None
    ) -> list[PreparedPair]:
        self.prepared.append(len(documents))
        assert self.go.wait(10)
        return super().prepare_pairs(query, documents, max_document_tokens)


async def test_only_a_few_more_documents_of_a_cancelled_caller_are_tokenised(
    running_batcher: RunningBatcher,
) -> None:
    async def has_begun() -> bool:
        return len(scorer.prepared) == 1

    scorer = SlowlyPreparing()
    documents = [f"{number} red " * 500 for number in range(20)]
    async with reranking(running_batcher, scorer) as (reranker, _):
        leaving = asyncio.create_task(reranker.score("red", documents), name="leaving")
        await wait_until_async(has_begun, "the first documents")
        leaving.cancel()
        await asyncio.wait([leaving])
        scorer.go.set()
        assert len(await reranker.score("red", documents)) == 20
    assert scorer.prepared[0] <= 2
    assert sum(scorer.prepared[1:]) == 20


def test_a_pair_of_text_and_picture_gets_the_probability_the_model_was_trained_for() -> None:
    logits = pair_logits(PairScale(scale=100.0, bias=-10.0), np.array([0.0, 0.1, 0.2, -1.0, 1.0], np.float32))
    np.testing.assert_allclose(logits, [-10, 0, 10, -110, 90], atol=1e-5)
    expected = [4.5397868702434395e-05, 0.5, 0.9999546021312976, 0.0, 1.0]
    np.testing.assert_allclose(sigmoid(logits), expected, atol=1e-6)
    assert sigmoid(np.array([18.0], np.float32))[0] < 1.0
    assert sigmoid(np.array([-1e4, 1e4], np.float32)).tolist() == [0.0, 1.0]

"""Numbers that overflow, and vectors without a direction: only their own inputs are affected."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

import numpy as np
import pytest
from numpy.typing import NDArray

from sidecar.batching.inputs import Kind
from sidecar.errors import DeviceError
from tests.unit.batching.conftest import RunningBatcher
from tests.unit.batching.gated_encoder import DIMENSIONS, PROBE_LABEL, GatedEncoder, vector_of
from tests.unit.batching.gated_scorer import GatedScorer, score_of
from tests.unit.batching.submitting import (
    INGEST,
    QUERY,
    let_callers_run,
    submit_pairs,
    submit_picture,
    submit_text,
    submit_texts,
)

BAD = {
    "NaN": np.full(DIMENSIONS, np.nan, np.float32),
    "one NaN": np.where(np.arange(DIMENSIONS) == 7, np.float32("nan"), vector_of(1)),
    "infinite": np.full(DIMENSIONS, np.inf, np.float32),
    "one infinite": np.where(np.arange(DIMENSIONS) == 7, -np.float32("inf"), vector_of(1)),
    "zero": np.zeros(DIMENSIONS, np.float32),
    "huge": np.full(DIMENSIONS, 1e30, np.float32),
}


class Overflowing(GatedEncoder):
    """Returns the vector in `spoilt` for its label."""

    def __init__(self, spoilt: Mapping[int, NDArray[np.float32]]) -> None:
        super().__init__()
        self.spoilt = dict(spoilt)

    def _encode(self, kind: str, labels: list[int]) -> NDArray[np.float32]:
        super()._encode(kind, labels)
        return np.stack([self.spoilt.get(label, vector_of(label)) for label in labels])


@pytest.mark.parametrize("bad", BAD.values(), ids=BAD)
async def test_a_text_without_a_vector_does_not_affect_other_texts(
    running_batcher: RunningBatcher, bad: NDArray[np.float32]
) -> None:
    encoder = Overflowing({3: bad})
    async with running_batcher(encoder) as batcher:
        blocker = submit_text(batcher, 1)
        await encoder.next_call()
        alone, among, other = submit_text(batcher, 3), submit_texts(batcher, [2, 3, 4]), submit_text(batcher, 5, INGEST)
        await let_callers_run()
        encoder.release_all()
        await blocker
        np.testing.assert_array_equal(await other, [vector_of(5)])
        np.testing.assert_array_equal(await alone, np.full((1, DIMENSIONS), np.nan, np.float32))
        first, second, third = await among
        assert np.isnan(second).all()
        np.testing.assert_array_equal([first, third], [vector_of(2), vector_of(4)])
        metrics = batcher.telemetry.metrics.registry
        assert metrics.get_sample_value("sidecar_results_not_finite_total", {"kind": "text"}) == 1  # encoded once
        assert metrics.get_sample_value("sidecar_device_errors_total", {"kind": "text"}) == 0
    assert len(encoder.seen) == 2


@pytest.mark.parametrize("bad", BAD.values(), ids=BAD)
@pytest.mark.parametrize("max_views", [1, 2, 8])
async def test_a_picture_with_an_invalid_view_has_no_vector_and_does_not_affect_others(
    running_batcher: RunningBatcher, bad: NDArray[np.float32], max_views: int
) -> None:
    encoder = Overflowing({3: bad})
    encoder.release_all()
    async with running_batcher(encoder, max_views=max_views) as batcher:
        spoilt, good = await asyncio.gather(submit_picture(batcher, 1, 2, 3, 4), submit_picture(batcher, 1, 2, 4))
    assert np.isnan(spoilt).all()
    assert np.linalg.norm(good) == pytest.approx(1)


async def test_a_picture_whose_views_cancel_each_other_out_has_no_vector(running_batcher: RunningBatcher) -> None:
    encoder = Overflowing({1: vector_of(2), 3: -vector_of(2)})
    encoder.release_all()
    async with running_batcher(encoder) as batcher:
        cancelling, good = await asyncio.gather(submit_picture(batcher, 1, 3), submit_picture(batcher, 1, 3, 1))
    assert np.isnan(cancelling).all()
    np.testing.assert_allclose(good, vector_of(2), atol=1e-6)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
async def test_a_pair_without_a_score_does_not_affect_other_pairs(running_batcher: RunningBatcher, bad: float) -> None:
    class OverflowingScorer(GatedScorer):
        def score_pairs(self, pairs):  # type: ignore[no-untyped-def]
            scores = super().score_pairs(pairs)
            return np.where(scores == score_of(3), np.float32(bad), scores)

    encoder = GatedEncoder()
    encoder.release_all()
    async with running_batcher(encoder) as batcher:
        scorer = OverflowingScorer(encoder)
        scores, others = await asyncio.gather(submit_pairs(batcher, scorer, 1, 3, 2), submit_pairs(batcher, scorer, 4))
    np.testing.assert_array_equal(scores, np.array([score_of(1), np.nan, score_of(2)], np.float32))
    np.testing.assert_array_equal(others, [score_of(4)])


@pytest.mark.parametrize("kind", [Kind.TEXT, Kind.PICTURE])
async def test_a_known_input_tells_a_failing_device_from_a_failing_input(
    running_batcher: RunningBatcher, kind: Kind
) -> None:
    encoder = Overflowing({})
    encoder.release_all()
    async with running_batcher(encoder, query_queue_views=1) as batcher:
        await batcher.check_device(kind, QUERY)
        encoder.spoilt = {PROBE_LABEL: BAD["NaN"]}
        with pytest.raises(DeviceError, match=r"not finite.* MODEL_PRECISION=fp32"):
            await batcher.check_device(kind, QUERY)

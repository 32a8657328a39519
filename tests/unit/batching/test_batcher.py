"""What reaches the device when, and the answers that callers get."""

from __future__ import annotations

import asyncio

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from sidecar.batching.batcher import Batcher
from sidecar.batching.devices import Devices
from sidecar.concurrency import background
from sidecar.errors import DeviceError
from tests.unit.batching.conftest import SETTINGS, RunningBatcher
from tests.unit.batching.gated_encoder import GatedEncoder, labelled_picture, vector_of
from tests.unit.batching.submitting import INGEST, QUERY, let_callers_run, submit_picture, submit_text, submit_texts


async def test_an_idle_device_gets_the_first_job_at_once(running_batcher: RunningBatcher) -> None:
    encoder = GatedEncoder()
    async with running_batcher(encoder, window_s=60) as batcher:
        waiter = submit_text(batcher, 7)
        assert await encoder.next_call() == ("texts", [7])
        encoder.release()
        np.testing.assert_array_equal(await waiter, [vector_of(7)])


async def test_jobs_that_arrive_while_the_device_is_busy_share_a_micro_batch(running_batcher: RunningBatcher) -> None:
    encoder = GatedEncoder()
    async with running_batcher(encoder, max_views=3) as batcher:
        waiters = [submit_text(batcher, 1)]
        await encoder.next_call()
        waiters += [submit_text(batcher, label) for label in (2, 3, 4, 5)]
        await let_callers_run()
        encoder.release_all()
        answers = await asyncio.gather(*waiters)
    assert [labels for _, labels in encoder.seen] == [[1], [2, 3, 4], [5]]
    np.testing.assert_array_equal(np.concatenate(answers), [vector_of(label) for label in (1, 2, 3, 4, 5)])


async def test_texts_and_pictures_never_share_a_micro_batch(running_batcher: RunningBatcher) -> None:
    encoder = GatedEncoder()
    async with running_batcher(encoder) as batcher:
        waiters = [submit_text(batcher, 1)]
        await encoder.next_call()
        waiters += [submit_picture(batcher, 2, 3), submit_text(batcher, 4), submit_picture(batcher, 5)]
        await let_callers_run()
        encoder.release_all()
        await asyncio.gather(*waiters)
    assert encoder.seen == [("texts", [1]), ("views", [2, 3, 5]), ("texts", [4])]


async def test_queries_go_before_ingest_that_came_first(running_batcher: RunningBatcher) -> None:
    encoder = GatedEncoder()
    async with running_batcher(encoder) as batcher:
        waiters = [submit_text(batcher, 1, INGEST)]
        await encoder.next_call()
        waiters += [submit_picture(batcher, 2, lane=INGEST), submit_text(batcher, 3, QUERY)]
        await let_callers_run()
        encoder.release_all()
        await asyncio.gather(*waiters)
    assert encoder.seen == [("texts", [1]), ("texts", [3]), ("views", [2])]


async def test_ingest_fills_what_queries_leave_of_the_budget(running_batcher: RunningBatcher) -> None:
    encoder = GatedEncoder()
    async with running_batcher(encoder, max_views=3) as batcher:
        waiters = [submit_text(batcher, 1)]
        await encoder.next_call()
        waiters += [submit_texts(batcher, [2, 3, 4], INGEST), submit_text(batcher, 5, QUERY)]
        await let_callers_run()
        encoder.release_all()
        await asyncio.gather(*waiters)
    assert [labels for _, labels in encoder.seen] == [[1], [5, 2, 3], [4]]


async def test_a_picture_split_over_micro_batches_has_the_vector_it_has_alone(running_batcher: RunningBatcher) -> None:
    vectors = []
    for max_views in (2, 3, 8):
        encoder = GatedEncoder()
        encoder.release_all()
        async with running_batcher(encoder, max_views=max_views) as batcher:
            vectors.append(await submit_picture(batcher, 1, 2, 3, 4, 5))
        assert max(len(labels) for _, labels in encoder.seen) == min(max_views, 5)
    assert len({vector.tobytes() for vector in vectors}) == 1


async def test_the_vector_does_not_depend_on_the_lane(running_batcher: RunningBatcher) -> None:
    encoder = GatedEncoder()
    encoder.release_all()
    async with running_batcher(encoder) as batcher:
        query, ingest = await asyncio.gather(
            submit_picture(batcher, 1, 2, 3, lane=QUERY), submit_picture(batcher, 1, 2, 3, lane=INGEST)
        )
    np.testing.assert_array_equal(query, ingest)


@given(st.lists(st.tuples(st.integers(0, 255), st.integers(1, 5)), min_size=1, max_size=12))
def test_a_pictures_vector_is_the_weighted_mean_of_its_views_at_unit_length(views: list[tuple[int, int]]) -> None:
    labels, weights = zip(*views, strict=True)

    async def encode() -> NDArray[np.float32]:
        encoder = GatedEncoder()
        encoder.release_all()
        batcher = Batcher(Devices([encoder]), SETTINGS)
        async with background(batcher.run(), "batcher"):
            return await batcher.encode_picture(labelled_picture(*labels, weights=weights), QUERY)

    vector = asyncio.run(encode())
    expected = np.average([vector_of(label) for label in labels], axis=0, weights=np.array(weights, np.float64))
    expected /= np.linalg.norm(expected)
    assert vector.dtype == np.float32
    assert vector.shape == (GatedEncoder.dimensions,)
    np.testing.assert_allclose(vector, expected, atol=1e-6)


async def test_an_empty_request_does_not_reach_the_device(running_batcher: RunningBatcher) -> None:
    encoder = GatedEncoder()
    async with running_batcher(encoder) as batcher:
        assert (await batcher.encode_texts([], QUERY)).shape == (0, GatedEncoder.dimensions)
    assert encoder.seen == []


async def test_views_of_a_wrong_size_are_rejected_before_they_can_spoil_a_micro_batch(
    running_batcher: RunningBatcher,
) -> None:
    picture = labelled_picture(1)
    wrong = type(picture)(np.zeros((1, 4, 4, 3), np.uint8), picture.weights)
    async with running_batcher(GatedEncoder()) as batcher:
        with pytest.raises(ValueError, match=r"\(1, 4, 4, 3\)"):
            await batcher.encode_picture(wrong, QUERY)


async def test_nothing_is_prepared_once_the_batcher_has_ended(running_batcher: RunningBatcher) -> None:
    async with running_batcher(GatedEncoder()) as batcher:
        assert await batcher.preparation.run(QUERY, lambda: 1) == 1
    with pytest.raises(DeviceError, match="stopped"):
        await batcher.preparation.run(QUERY, lambda: 1)


async def test_rows_have_their_share_of_the_device_beside_queries_that_never_end(
    running_batcher: RunningBatcher,
) -> None:
    encoder = GatedEncoder()
    async with running_batcher(encoder, max_views=1, ingest_min_share=0.5) as batcher:
        queries = [submit_text(batcher, label) for label in range(40)]
        rows = [submit_text(batcher, label, INGEST) for label in range(100, 110)]
        await let_callers_run()
        encoder.release_all()
        await asyncio.gather(*queries, *rows)
    labels = [label for _, (label,) in encoder.seen]
    assert labels.index(100) < 40  # how soon the others follow depends on what the calls happen to take

"""Equal inputs in a micro-batch are encoded once, whatever their callers and lanes."""

from __future__ import annotations

import asyncio
from collections import Counter

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from sidecar.batching.encoder import PreparedPair
from sidecar.errors import DeviceError, DeviceOutOfMemory
from tests.unit.batching.conftest import RunningBatcher, batcher_over
from tests.unit.batching.gated_encoder import GatedEncoder, labelled_picture, vector_of
from tests.unit.batching.gated_scorer import GatedScorer, score_of
from tests.unit.batching.jobs import labelled_pair
from tests.unit.batching.submitting import (
    INGEST,
    QUERY,
    let_callers_run,
    submit_pairs,
    submit_text,
    submit_texts,
)


async def test_a_text_of_several_callers_in_two_lanes_is_encoded_once(running_batcher: RunningBatcher) -> None:
    encoder = GatedEncoder()
    async with running_batcher(encoder) as batcher:
        blocker = submit_text(batcher, 0)
        await encoder.next_call()
        waiters = [submit_texts(batcher, [1, 2, 1]), submit_text(batcher, 2), submit_texts(batcher, [3, 1], INGEST)]
        await let_callers_run()
        encoder.release_all()
        answers = await asyncio.gather(blocker, *waiters)
        saved = batcher.telemetry.metrics.registry.get_sample_value("sidecar_duplicate_views_total", {"kind": "text"})
    assert encoder.seen == [("texts", [0]), ("texts", [1, 2, 3])]
    for answer, labels in zip(answers, ([0], [1, 2, 1], [2], [3, 1]), strict=True):
        np.testing.assert_array_equal(answer, [vector_of(label) for label in labels])
    assert saved == 3


async def test_duplicates_take_none_of_the_budget(running_batcher: RunningBatcher) -> None:
    encoder = GatedEncoder()
    encoder.release_all()
    async with running_batcher(encoder, max_views=2) as batcher:
        await submit_texts(batcher, [1, 1, 2] + [1, 2] * 20)
    assert [labels for _, labels in encoder.seen] == [[1, 2]]


async def test_callers_cannot_change_each_others_vectors(running_batcher: RunningBatcher) -> None:
    encoder = GatedEncoder()
    async with running_batcher(encoder) as batcher:
        blocker = submit_text(batcher, 0)
        await encoder.next_call()
        one, other = submit_text(batcher, 1), submit_text(batcher, 1)
        await let_callers_run()
        encoder.release_all()
        await blocker
        (await one)[:] = 0
        np.testing.assert_array_equal(await other, [vector_of(1)])


async def test_views_are_duplicates_if_their_pictures_have_the_same_digest(running_batcher: RunningBatcher) -> None:
    encoder = GatedEncoder()
    async with running_batcher(encoder) as batcher:
        blocker = submit_text(batcher, 0)
        await encoder.next_call()
        picture, other = labelled_picture(1, 2), labelled_picture(3)
        submitted = [
            asyncio.create_task(batcher.encode_picture(picture, QUERY, b"one"), name="query"),
            asyncio.create_task(batcher.encode_picture(other, QUERY, b"two"), name="other"),
            asyncio.create_task(batcher.encode_picture(picture, INGEST, b"one"), name="row"),
            asyncio.create_task(batcher.encode_picture(picture, INGEST), name="of unknown bytes"),
        ]
        await let_callers_run()
        encoder.release_all()
        query, _, row, unknown = await asyncio.gather(*submitted)
        await blocker
    assert encoder.seen[1:] == [("views", [1, 2, 3, 1, 2])]
    np.testing.assert_array_equal(query, row)
    np.testing.assert_array_equal(query, unknown)


async def test_pairs_are_duplicates_only_if_their_segments_are_equal_too(running_batcher: RunningBatcher) -> None:
    encoder = GatedEncoder()
    async with running_batcher(encoder) as batcher:
        scorer = GatedScorer(encoder)
        blocker = submit_text(batcher, 0)
        await encoder.next_call()
        pair = labelled_pair(1)
        moved = PreparedPair(pair.token_ids, np.array([0, 1, 1], np.int64), truncated=False)
        waiters = [
            submit_pairs(batcher, scorer, 1, 2),
            submit_pairs(batcher, scorer, 2, 1),
            asyncio.create_task(batcher.score_pairs(scorer, [moved]), name="moved"),
        ]
        await let_callers_run()
        encoder.release_all()
        scores = await asyncio.gather(*waiters)
        await blocker
    assert encoder.seen[1:] == [("pairs", [1, 2, 1])] or encoder.seen[1:] == [("pairs", [1, 1, 2])]
    np.testing.assert_array_equal(scores[0], [score_of(1), score_of(2)])
    np.testing.assert_array_equal(scores[1], [score_of(2), score_of(1)])


async def test_duplicates_of_an_item_that_does_not_fit_fail_and_no_others(running_batcher: RunningBatcher) -> None:
    encoder = GatedEncoder(lambda labels: DeviceOutOfMemory("no room for 2") if 2 in labels else None)
    async with running_batcher(encoder) as batcher:
        blocker = submit_text(batcher, 0)
        await encoder.next_call()
        good, bad, also_bad = submit_texts(batcher, [1, 3]), submit_text(batcher, 2), submit_texts(batcher, [1, 2])
        await let_callers_run()
        encoder.release_all()
        await asyncio.gather(blocker, good)
        errors = await asyncio.gather(bad, also_bad, return_exceptions=True)
    assert [type(error) for error in errors] == [DeviceOutOfMemory, DeviceOutOfMemory]
    assert errors[0] is not errors[1]


@given(
    st.lists(st.tuples(st.lists(st.integers(0, 6), min_size=1, max_size=9), st.booleans()), min_size=1, max_size=8),
    st.integers(1, 8),
    st.integers(1, 8),
    st.sets(st.integers(0, 6), max_size=2),
)
def test_every_caller_gets_its_own_vectors_whatever_is_shared(
    requests: list[tuple[list[int], bool]], max_views: int, fits: int, broken: set[int]
) -> None:
    def fault(labels: list[int]) -> Exception | None:
        return DeviceOutOfMemory("full") if len(labels) > fits or broken & set(labels) else None

    async def submit() -> None:
        encoder = GatedEncoder(fault)
        encoder.release_all()
        async with batcher_over(encoder, max_views=max_views) as batcher:
            waiters = [submit_texts(batcher, labels, QUERY if query else INGEST) for labels, query in requests]
            answers = await asyncio.gather(*waiters, return_exceptions=True)
        for (labels, _), answer in zip(requests, answers, strict=True):
            if isinstance(answer, DeviceError):
                assert broken & set(labels)
            else:
                assert not isinstance(answer, BaseException), answer
                np.testing.assert_array_equal(answer, [vector_of(label) for label in labels])
        for _, labels in encoder.seen:
            assert max(Counter(labels).values()) == 1
            assert len(labels) <= max_views

    asyncio.run(submit())

"""Limits learnt from a device that runs out of memory."""

from __future__ import annotations

import asyncio

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from sidecar.batching.inputs import Kind
from sidecar.batching.micro_batch import FIRST_PAUSE_S, LONGEST_PAUSE_S, FitAttempts, SizeLimits
from sidecar.errors import DeviceOutOfMemory
from tests.unit.batching.conftest import RunningBatcher, batcher_over
from tests.unit.batching.gated_encoder import GatedEncoder, vector_of
from tests.unit.batching.submitting import submit_picture, submit_texts

TEXT, PICTURE = Kind.TEXT, Kind.PICTURE


async def test_a_size_that_did_not_fit_is_not_tried_again_with_the_next_micro_batch(
    running_batcher: RunningBatcher,
) -> None:
    encoder = GatedEncoder(lambda labels: DeviceOutOfMemory("too large") if len(labels) > 2 else None)
    encoder.release_all()
    async with running_batcher(encoder) as batcher:
        await submit_texts(batcher, [1, 2, 3, 4, 5, 6, 7])
        before = len(encoder.seen)
        vectors = await submit_texts(batcher, [1, 2, 3, 4, 5])
        reported = batcher.telemetry.metrics.registry.get_sample_value(
            "sidecar_device_out_of_memory_total", {"kind": "text"}
        )
    np.testing.assert_array_equal(vectors, [vector_of(label) for label in (1, 2, 3, 4, 5)])
    assert [len(labels) for _, labels in encoder.seen[before:]] == [2, 2, 1]
    assert reported == sum(len(labels) > 2 for _, labels in encoder.seen)


async def test_pictures_and_texts_have_separate_limits(running_batcher: RunningBatcher) -> None:
    encoder = GatedEncoder(
        lambda labels: DeviceOutOfMemory("too large") if max(labels) > 99 < len(labels) * 50 else None
    )
    encoder.release_all()
    async with running_batcher(encoder) as batcher:
        await submit_picture(batcher, 100, 101, 102, 103)
        before = len(encoder.seen)
        await submit_picture(batcher, 104, 105)
        await submit_texts(batcher, [1, 2, 3, 4])
    assert [len(labels) for _, labels in encoder.seen[before:]] == [1, 1, 4]


def halved(items: int, fits: int) -> FitAttempts:
    """The attempts of a micro-batch on a device with memory for `fits` items, halved until it fits."""
    if items <= fits:
        return FitAttempts(fitted=[items])
    if items == 1:
        return FitAttempts(failed=[1])
    left, right = halved(items // 2, fits), halved(items - items // 2, fits)
    return FitAttempts(left.fitted + right.fitted, [items, *left.failed, *right.failed])


def test_twice_the_limit_is_tried_after_a_pause_and_kept_if_it_fits() -> None:
    limits = SizeLimits(32)
    limits.update(TEXT, halved(32, fits=8), now=0)
    assert limits.limit(TEXT, FIRST_PAUSE_S - 0.1) == 8
    assert limits.limit(TEXT, FIRST_PAUSE_S) == 16
    limits.update(TEXT, FitAttempts(fitted=[16]), now=FIRST_PAUSE_S)
    assert limits.limit(TEXT, FIRST_PAUSE_S + 1) == 16
    assert limits.limit(TEXT, 2 * FIRST_PAUSE_S) == 32
    limits.update(TEXT, FitAttempts(fitted=[32]), now=2 * FIRST_PAUSE_S)
    assert limits.limit(TEXT, 2 * FIRST_PAUSE_S) == 32


def test_each_failed_attempt_doubles_the_pause_up_to_an_hour_and_keeps_the_limit() -> None:
    limits = SizeLimits(32)
    now = 0.0
    limits.update(PICTURE, halved(32, fits=16), now)
    pauses = []
    for _ in range(12):
        began = now
        while limits.limit(PICTURE, now) == 16:
            now += 1
        pauses.append(now - began)
        limits.update(PICTURE, halved(18, fits=16), now)
        assert limits.limit(PICTURE, now) == 16
    assert pauses == [min(FIRST_PAUSE_S * 2**tries, LONGEST_PAUSE_S) for tries in range(12)]
    now += LONGEST_PAUSE_S
    limits.update(PICTURE, FitAttempts(fitted=[32]), now)
    limits.update(PICTURE, halved(32, fits=16), now)
    assert limits.limit(PICTURE, now + FIRST_PAUSE_S) == 32


def test_a_smaller_micro_batch_that_fits_does_not_change_the_limit() -> None:
    limits = SizeLimits(32)
    limits.update(TEXT, halved(32, fits=16), now=0)
    limits.update(TEXT, FitAttempts(fitted=[5]), now=1)
    assert limits.limit(TEXT, 2) == 16


def test_one_item_that_never_fits_does_not_reduce_the_limit_to_one() -> None:
    limits = SizeLimits(8)
    limits.update(TEXT, FitAttempts(fitted=[1, 2, 4], failed=[8, 4, 2, 1]), now=0)
    assert limits.limit(TEXT, 1) == 4


def test_after_a_pair_that_does_not_fit_the_limit_allows_all_lighter_ones() -> None:
    limits = SizeLimits(32)
    limits.update(Kind.PAIR, FitAttempts(failed=[16, 8, 8]), now=0)
    assert limits.limit(Kind.PAIR, 1) == 7
    limits.update(Kind.PAIR, FitAttempts(failed=[1]), now=1)
    assert limits.limit(Kind.PAIR, 2) == 1


@given(st.integers(1, 64), st.lists(st.integers(1, 64), max_size=200), st.integers(1, 64))
def test_the_limit_stays_within_bounds_and_converges_to_what_fits_within_a_factor_of_two(
    max_items: int, waiting: list[int], fits: int
) -> None:
    limits = SizeLimits(max_items)
    now = 0.0
    for items in waiting:
        now += 20
        size = min(items, limits.limit(TEXT, now))
        assert 1 <= size <= max_items
        limits.update(TEXT, halved(size, fits), now)
    limits.update(TEXT, halved(limits.limit(TEXT, now), fits), now)
    limits.update(TEXT, halved(limits.limit(TEXT, now), fits), now)
    assert min(fits, max_items) / 2 <= limits.limit(TEXT, now) <= max(fits, 1)


def test_nothing_is_lost_when_memory_is_short_for_a_while() -> None:
    async def submit() -> None:
        free = iter([8, 1, 2, 8, 4] + [8] * 50)
        encoder = GatedEncoder(lambda labels: DeviceOutOfMemory("full") if len(labels) > next(free) else None)
        encoder.release_all()
        async with batcher_over(encoder) as batcher:
            answers = await asyncio.gather(*(submit_texts(batcher, [10 * n + k for k in range(7)]) for n in range(6)))
        for n, answer in enumerate(answers):
            np.testing.assert_array_equal(answer, [vector_of(10 * n + k) for k in range(7)])

    asyncio.run(submit())

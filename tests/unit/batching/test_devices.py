"""Several devices that take from the same lanes: who takes what, and what happens when one of them fails."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from sidecar.batching import device_health
from sidecar.batching.batcher import Batcher
from sidecar.batching.device_health import HealthLimits
from sidecar.batching.devices import Devices
from sidecar.batching.encoder import ScorerCopies
from sidecar.batching.inputs import Kind
from sidecar.batching.job import Lane
from sidecar.concurrency import background
from sidecar.errors import DeviceError, DeviceLost, DeviceOutOfMemory, ModelError
from tests.unit.batching.conftest import SETTINGS
from tests.unit.batching.gated_encoder import GatedEncoder, labelled_picture, vector_of
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
from tests.waiting import wait_until, wait_until_async

PATIENT = HealthLimits(max_failures=3, timeout_s=600, recovery_s=600)


@asynccontextmanager
async def batcher_on(
    *encoders: GatedEncoder, limits: HealthLimits = PATIENT, **changes: float
) -> AsyncIterator[tuple[Batcher, asyncio.Task[None]]]:
    batcher = Batcher(Devices(encoders, limits), replace(SETTINGS, **changes))  # type: ignore[arg-type]
    async with background(batcher.run(), "batcher") as running:
        try:
            yield batcher, running
        finally:
            for encoder in encoders:
                encoder.release_all()


async def next_of(*encoders: GatedEncoder) -> tuple[GatedEncoder, list[int]]:
    """The encoder that a micro-batch reaches next, with its labels. It blocks."""
    counts = [len(encoder.seen) for encoder in encoders]

    async def has_come() -> bool:
        return any(len(encoder.seen) > count for encoder, count in zip(encoders, counts, strict=True))

    await wait_until_async(has_come, "a micro-batch")
    encoder = next(each for each, count in zip(encoders, counts, strict=True) if len(each.seen) > count)
    return encoder, encoder.seen[-1][1]


async def occupy(batcher: Batcher, *encoders: GatedEncoder) -> list[asyncio.Task[NDArray[np.float32]]]:
    """Has each of the devices run a text of its own, with the labels 100, 101 …, until it is released."""
    waiters = []
    for number in range(len(encoders)):
        expected = next_of(*encoders)
        taken = asyncio.create_task(expected)
        await let_callers_run()
        waiters.append(submit_text(batcher, 100 + number))
        await taken
    return waiters


async def test_a_device_that_is_idle_takes_at_once_what_another_has_no_time_for() -> None:
    one, two = GatedEncoder(), GatedEncoder()
    async with batcher_on(one, two) as (batcher, _):
        first, second = await occupy(batcher, one, two)
        assert [len(one.seen), len(two.seen)] == [1, 1]
        third = submit_text(batcher, 3)
        await let_callers_run()
        assert batcher.depth(QUERY).waiting == 1
        assert batcher.depth(QUERY).running == 2
        two.release()
        await two.next_call()
        assert (await two.next_call())[1] == [3]
        for encoder in (one, two):
            encoder.release_all()
        for waiter, label in ((first, 100), (second, 101), (third, 3)):
            np.testing.assert_array_equal(await waiter, [vector_of(label)])


async def test_what_waits_is_divided_among_idle_devices_and_not_while_they_are_busy() -> None:
    encoders = [GatedEncoder() for _ in range(4)]
    async with batcher_on(*encoders, max_views=32) as (batcher, _):

        async def are_idle() -> bool:
            return batcher._queues.idle_devices == 4

        await wait_until_async(are_idle, "all devices to be idle")
        divided = submit_texts(batcher, range(1, 33))
        for encoder in encoders:
            assert len((await encoder.next_call())[1]) == 8
        whole = submit_texts(batcher, range(33, 65))
        await let_callers_run()
        encoders[2].release()
        assert len((await encoders[2].next_call())[1]) == 32
        for encoder in encoders:
            encoder.release_all()
        np.testing.assert_array_equal(await divided, [vector_of(label) for label in range(1, 33)])
        np.testing.assert_array_equal(await whole, [vector_of(label) for label in range(33, 65)])


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
async def test_a_picture_on_two_devices_has_the_vector_that_it_has_on_one(order: Sequence[int]) -> None:
    labels = list(range(1, 17))
    weights = [1 / label for label in labels]
    alone = GatedEncoder()
    alone.release_all()
    async with batcher_on(alone, max_views=16) as (batcher, _):
        expected = await batcher.encode_picture(labelled_picture(*labels, weights=weights), INGEST)
    encoders = GatedEncoder(), GatedEncoder()
    async with batcher_on(*encoders) as (batcher, _):
        picture = asyncio.create_task(batcher.encode_picture(labelled_picture(*labels, weights=weights), INGEST))
        for encoder in encoders:
            await encoder.next_call()
        for number in order:
            encoders[number].release()
        np.testing.assert_array_equal(await picture, expected)


async def test_two_large_pictures_share_two_devices_in_their_order() -> None:
    encoders = GatedEncoder(), GatedEncoder()
    for encoder in encoders:
        encoder.release_all()
    async with batcher_on(*encoders) as (batcher, _):
        first = submit_picture(batcher, *range(1, 31), lane=INGEST)
        second = submit_picture(batcher, *range(31, 61), lane=INGEST)
        for waiter, labels in ((first, range(1, 31)), (second, range(31, 61))):
            mean = np.stack([vector_of(label) for label in labels]).mean(axis=0)
            np.testing.assert_allclose(await waiter, mean / np.linalg.norm(mean), atol=1e-6)
        assert sorted(label for each in encoders for _, labels in each.seen for label in labels) == list(range(1, 61))


async def test_a_slice_that_fails_on_both_devices_drops_the_rest_of_its_job() -> None:
    def fault(labels: list[int]) -> BaseException | None:
        return DeviceError("bus error") if 3 in labels else None

    encoders = GatedEncoder(fault), GatedEncoder(fault)
    async with batcher_on(*encoders) as (batcher, _):
        job = submit_texts(batcher, range(1, 41))
        for encoder in encoders:
            await encoder.next_call()
            encoder.release_all()
        with pytest.raises(DeviceError, match="bus error"):
            await job
        assert batcher.depth(QUERY).waiting == 0
        np.testing.assert_array_equal(await submit_text(batcher, 50), [vector_of(50)])
    assert sum(3 in labels for each in encoders for _, labels in each.seen) == 2


async def test_a_slice_of_a_job_that_has_failed_is_not_retried_although_its_caller_does_not_know_yet() -> None:
    def fault(_labels: list[int]) -> BaseException | None:
        return DeviceError("bus error")

    one, two, three = encoders = [GatedEncoder(fault) for _ in range(3)]
    async with batcher_on(*encoders) as (batcher, _):
        await let_callers_run()  # starts the devices' threads
        wait_until(lambda: batcher._queues.idle_devices == 3, "all devices to be idle")
        job = submit_texts(batcher, range(24))
        slices = [(await encoder.next_call())[1] for encoder in encoders]

        # From here on the event loop does not run, so the job's answer is not set.
        one.release()
        wait_until(lambda: batcher._queues.waiting(QUERY) == 8, "the first slice to wait for a second try")
        three.release()
        wait_until(lambda: len(three.seen) == 2 and len(one.seen) == 2, "both slices to be tried again")
        assert (three.seen[1][1], one.seen[1][1]) == (slices[0], slices[2])
        three.release()
        wait_until(lambda: batcher._queues.idle_devices == 1, "the job to fail")
        two.release()
        wait_until(lambda: batcher._queues.idle_devices == 2 or len(three.seen) > 2, "the last slice to fail")
        assert (len(three.seen), batcher._queues.waiting(QUERY)) == (2, 0)

        one.release()
        with pytest.raises(DeviceError, match="bus error"):
            await job
    assert sum(len(encoder.seen) for encoder in encoders) == 5


async def test_what_was_on_a_device_that_is_lost_is_encoded_by_another_one_by_one(
    caplog: pytest.LogCaptureFixture,
) -> None:
    encoders = [GatedEncoder(), GatedEncoder()]
    async with batcher_on(*encoders, limits=replace(PATIENT, recovery_s=0.05)) as (batcher, running):
        busy = await occupy(batcher, *encoders)
        innocent = [submit_text(batcher, label) for label in (1, 2)] + [submit_texts(batcher, [3, 4])]
        await let_callers_run()
        lost, other = encoders
        await lost.next_call()
        lost.release()
        assert (await lost.next_call())[1] == [1, 2, 3, 4]
        lost._fault = lambda _labels: DeviceLost("device-side assert")
        lost.release()

        async def is_out() -> bool:
            return [state.trouble for state in batcher.devices.states] == [
                "The device is lost: device-side assert",
                None,
            ]

        await wait_until_async(is_out, "the device to be out")
        other.release_all()
        await asyncio.gather(*busy)
        for waiter, labels in zip(innocent, ([1], [2], [3, 4]), strict=True):
            np.testing.assert_array_equal(await waiter, [vector_of(label) for label in labels])
        assert [labels for _, labels in other.seen][1:] == [[1], [2], [3, 4]]
        assert batcher.devices.trouble is None
        await submit_texts(batcher, range(1, 30))
        assert len(lost.seen) == 2  # takes nothing any more
        assert not running.done()

        async def is_logged() -> bool:
            return any("device:0: The device is lost" in record.message for record in caplog.records)

        await wait_until_async(is_logged, "the log to say so")
    lines = [record.message for record in caplog.records if record.name == device_health.__name__]
    said = "device:0: The device is lost: device-side assert. The process continues with device:1."
    assert lines == [f"{said} Only a restart brings it back."]


async def test_an_input_on_which_devices_fail_fails_no_other_job() -> None:
    def fault(labels: list[int]) -> BaseException | None:
        return DeviceError("bus error") if 3 in labels else None

    encoders = GatedEncoder(fault), GatedEncoder(fault)
    async with batcher_on(*encoders) as (batcher, _):
        await asyncio.gather(batcher.check_device(Kind.TEXT, QUERY), release_soon(*encoders))
        waiters = [submit_text(batcher, label) for label in (1, 2, 3, 4)]
        answers = await asyncio.gather(*waiters, return_exceptions=True)
    assert [isinstance(answer, DeviceError) for answer in answers] == [False, False, True, False]


async def release_soon(*encoders: GatedEncoder) -> None:
    for encoder in encoders:
        encoder.release_all()


async def test_a_view_for_which_one_device_lacks_memory_is_encoded_by_another() -> None:
    full = GatedEncoder(lambda labels: DeviceOutOfMemory("full") if 0 not in labels else None)
    roomy = GatedEncoder()
    await release_soon(full, roomy)
    async with batcher_on(full, roomy) as (batcher, _):
        for label in range(1, 20):
            np.testing.assert_allclose(await submit_picture(batcher, label), vector_of(label), atol=1e-6)
        assert batcher.devices.trouble is None


async def test_a_device_that_computes_nothing_finite_rejects_no_input() -> None:
    class Overflowing(GatedEncoder):
        def _encode(self, kind: str, labels: list[int]) -> NDArray[np.float32]:
            return np.full_like(super()._encode(kind, labels), np.nan)

    broken, sound = Overflowing(), GatedEncoder()
    await release_soon(broken, sound)
    async with batcher_on(broken, sound) as (batcher, _):
        for label in range(1, 40):
            np.testing.assert_array_equal(await submit_text(batcher, label), [vector_of(label)])
        if len(broken.seen) >= 3:  # which of them takes a text is up to the operating system

            async def is_out() -> bool:
                return "not finite" in str(batcher.devices.states[0].trouble)

            await wait_until_async(is_out, "the device to be out")


async def test_a_device_that_recovers_takes_part_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(device_health, "PROBE_INTERVAL_S", 0.01)
    broken = True
    one = GatedEncoder(lambda _labels: DeviceError("bus error") if broken else None)
    two = GatedEncoder()
    async with batcher_on(one, two, limits=replace(PATIENT, max_failures=1, recovery_s=0.01)) as (batcher, running):
        waiters = await occupy(batcher, one, two)
        one.release_all()

        async def is_out() -> bool:
            return batcher.devices.states[0].trouble is not None

        await wait_until_async(is_out, "the device to be out")
        waiting = submit_text(batcher, 5)
        await let_callers_run()
        assert batcher.depth(QUERY).waiting >= 1  # the other one is busy
        assert not running.done()
        broken = False
        np.testing.assert_array_equal(await asyncio.wait_for(waiting, 10), [vector_of(5)])
        assert ("texts", [5]) in one.seen
        two.release_all()
        await asyncio.gather(*waiters)


async def test_what_a_hanging_device_had_is_encoded_by_another_and_its_late_results_are_ignored() -> None:
    one, two = GatedEncoder(), GatedEncoder()
    async with batcher_on(one, two, limits=replace(PATIENT, timeout_s=0.05)) as (batcher, _):
        hanging = submit_picture(batcher, 1, 2)
        hangs, _ = await next_of(one, two)
        other = two if hangs is one else one
        other.release_all()
        expected = (vector_of(1) + vector_of(2)) / 2
        np.testing.assert_allclose(await hanging, expected / np.linalg.norm(expected), atol=1e-6)
        assert batcher.devices.trouble is None
        assert "hangs" in str([state.trouble for state in batcher.devices.states])
        hangs.release_all()

        async def works() -> bool:
            return len(batcher.devices.working) == 2

        await wait_until_async(works, "the device to work again")
        assert batcher.depth(QUERY).running == 0
        np.testing.assert_array_equal(await submit_text(batcher, 3), [vector_of(3)])


async def test_the_last_device_that_works_fails_an_input_at_once() -> None:
    one, two = GatedEncoder(), GatedEncoder()
    async with batcher_on(one, two) as (batcher, _):
        lost, last = list(batcher.devices)
        lost.health.record_loss("device-side assert")
        last.encoder._fault = lambda _labels: DeviceError("bus error")  # type: ignore[attr-defined]
        await release_soon(one, two)
        with pytest.raises(DeviceError, match="bus error"):
            await asyncio.wait_for(submit_text(batcher, 1), 10)
    assert len(one.seen) + len(two.seen) == 1


async def test_nothing_is_retried_twice_because_a_hanging_device_fails_in_the_end() -> None:
    one, two = GatedEncoder(), GatedEncoder()
    async with batcher_on(one, two, limits=replace(PATIENT, timeout_s=0.05)) as (batcher, _):
        hanging = submit_text(batcher, 1)
        hangs, _ = await next_of(one, two)
        other = two if hangs is one else one
        other.release_all()
        await hanging
        hangs._fault = lambda _labels: DeviceError("bus error")
        hangs.release_all()

        async def are_idle() -> bool:
            return batcher._queues.idle_devices == 2

        await wait_until_async(are_idle, "both devices to be idle")
        assert batcher.depth(QUERY).waiting == 0
    assert len(one.seen) + len(two.seen) == 2


async def test_the_process_ends_once_the_last_device_is_given_up() -> None:
    def lose(_labels: list[int]) -> BaseException:
        return DeviceLost("device-side assert")

    encoders = GatedEncoder(lose), GatedEncoder(lose)
    await release_soon(*encoders)
    async with batcher_on(*encoders, limits=replace(PATIENT, recovery_s=0.05)) as (batcher, running):
        with pytest.raises(DeviceError):
            await submit_text(batcher, 1)
        with pytest.raises(DeviceLost, match=r"device:0: The device is lost.*; device:1: The device is lost"):
            await asyncio.wait_for(asyncio.shield(running), 10)
        with pytest.raises(DeviceError, match="stopped"):
            await submit_text(batcher, 2)


async def test_a_caller_that_gives_up_is_not_retried() -> None:
    one, two = GatedEncoder(), GatedEncoder()
    async with batcher_on(one, two) as (batcher, _):
        first, second = await occupy(batcher, one, two)
        one._fault = lambda _labels: DeviceError("bus error")
        one.release()

        async def is_retried() -> bool:
            return batcher.depth(QUERY).waiting == 1

        await wait_until_async(is_retried, "the text to wait for the other device")
        lost = first if one.seen[0][1] == [100] else second
        lost.cancel()
        await let_callers_run()
        assert batcher.depth(QUERY).waiting == 0
        await release_soon(one, two)
        await asyncio.gather(first, second, return_exceptions=True)
    assert len(two.seen) == 1


async def test_a_window_holds_back_no_device_that_has_been_idle() -> None:
    one, two = GatedEncoder(), GatedEncoder()
    async with batcher_on(one, two, window_s=60) as (batcher, _):
        busy = await occupy(batcher, one, two)
        together = [submit_text(batcher, label) for label in (1, 2, 3)]
        await let_callers_run()
        await one.next_call()
        one.release()
        assert (await one.next_call())[1] == [1, 2, 3]
        one.release_all()  # from now on it gathers, until three texts wait
        await asyncio.gather(*together)
        two.release_all()
        await asyncio.gather(*busy)
        np.testing.assert_array_equal(await asyncio.wait_for(submit_text(batcher, 4), 5), [vector_of(4)])


async def test_each_device_scores_pairs_with_its_own_copy() -> None:
    encoders = GatedEncoder(), GatedEncoder()
    scorers = [GatedScorer(encoder) for encoder in encoders]
    copies = ScorerCopies(list(zip(encoders, scorers, strict=True)))
    async with batcher_on(*encoders) as (batcher, _):
        first = submit_pairs(batcher, copies, 1)
        used, _ = await next_of(*encoders)
        second = submit_pairs(batcher, copies, 2)
        other = encoders[1] if used is encoders[0] else encoders[0]
        assert (await other.next_call()) == ("pairs", [2])
        await release_soon(*encoders)
        assert (await first)[0] == pytest.approx(score_of(1))
        assert (await second)[0] == pytest.approx(score_of(2))


async def test_the_rate_is_that_of_all_devices_that_work() -> None:
    encoders = GatedEncoder(), GatedEncoder()
    async with batcher_on(*encoders, max_views=2) as (batcher, _):
        waiters = [submit_texts(batcher, [1, 2, 3, 4, 5, 6], Lane.BACKFILL)]
        await release_soon(*encoders)
        await asyncio.gather(*waiters)
        together = batcher.views_per_s(Kind.TEXT)
        batcher.devices[0].health.record_loss("gone")
        alone = batcher.views_per_s(Kind.TEXT)
        assert together is not None
        assert alone == pytest.approx(together / 2)


def test_different_models_on_two_devices_are_refused() -> None:
    other = GatedEncoder()
    other.fingerprint = "another"
    with pytest.raises(ModelError, match="another, gated"):
        Devices([GatedEncoder(), other])

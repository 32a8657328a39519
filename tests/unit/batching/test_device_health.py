"""A device that fails, hangs or is lost: when it is in trouble, recovers, and is given up."""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from sidecar.batching import device_health
from sidecar.batching.batcher import Batcher
from sidecar.batching.device_health import DeviceHealth, HealthLimits
from sidecar.batching.devices import Devices
from sidecar.concurrency import background, cancel_and_wait
from sidecar.errors import DeviceError, DeviceLost, DeviceOutOfMemory
from tests.unit.batching.conftest import SETTINGS
from tests.unit.batching.gated_encoder import PROBE_LABEL, GatedEncoder, vector_of
from tests.unit.batching.gated_scorer import GatedScorer
from tests.unit.batching.submitting import (
    INGEST,
    let_callers_run,
    submit_pairs,
    submit_picture,
    submit_text,
    submit_texts,
)
from tests.waiting import wait_until_async

PATIENT = HealthLimits(max_failures=3, timeout_s=600, recovery_s=600)
BROKEN = DeviceError("bus error")


@asynccontextmanager
async def batcher_with_limits(
    encoder: GatedEncoder, limits: HealthLimits = PATIENT
) -> AsyncIterator[tuple[Batcher, asyncio.Task[None]]]:
    batcher = Batcher(Devices([encoder], limits), SETTINGS)
    async with background(batcher.run(), "batcher") as running:
        try:
            yield batcher, running
        finally:
            encoder.release_all()


def reason_of(batcher: Batcher) -> str | None:
    return batcher.devices.trouble


async def until_trouble(batcher: Batcher, expected: bool = True) -> None:
    async def is_so() -> bool:
        return (batcher.devices.trouble is not None) is expected

    await wait_until_async(is_so, f"trouble to be {expected}")


async def fail(batcher: Batcher, times: int) -> None:
    for _ in range(times):
        with pytest.raises(DeviceError):
            await submit_text(batcher, 1)


class Failing(GatedEncoder):
    """`fails` returns the error for a kind and the labels of a micro-batch, or None."""

    def __init__(self, fails: Callable[[str, list[int]], BaseException | None]) -> None:
        super().__init__()
        self.fails = fails
        self.release_all()

    def run_micro_batch(self, kind: str, labels: list[int]) -> None:
        super().run_micro_batch(kind, labels)
        if fault := self.fails(kind, labels):
            raise fault


async def test_a_device_fails_after_several_failures_in_a_row_and_not_before(caplog: pytest.LogCaptureFixture) -> None:
    encoder = Failing(lambda _kind, _labels: BROKEN)
    async with batcher_with_limits(encoder) as (batcher, _):
        await fail(batcher, 2)
        await let_callers_run()
        assert reason_of(batcher) is None
        assert all(PROBE_LABEL not in labels for _, labels in encoder.seen)
        await fail(batcher, 1)
        await until_trouble(batcher)
        assert reason_of(batcher) == "The device fails: bus error"

        async def is_logged() -> bool:
            return any(record.levelno == logging.ERROR for record in caplog.records)

        await wait_until_async(is_logged, "the log to say so")
    lines = [record.message for record in caplog.records if record.name == device_health.__name__]
    expected = "The device fails: bus error. Not ready from now on; unless it recovers, the process exits in 600 s."
    assert lines == [expected]


async def test_a_success_in_between_resets_the_count() -> None:
    encoder = Failing(lambda _kind, labels: BROKEN if 1 in labels else None)
    async with batcher_with_limits(encoder) as (batcher, _):
        for _ in range(3):
            await fail(batcher, 2)
            await submit_text(batcher, 2)
    assert all(PROBE_LABEL not in labels for _, labels in encoder.seen)


async def test_an_input_that_always_fails_is_not_a_failure_of_the_device() -> None:
    encoder = Failing(lambda _kind, labels: BROKEN if 1 in labels else None)
    async with batcher_with_limits(encoder) as (batcher, _):
        await fail(batcher, 10)
        assert batcher.devices.trouble is None
        await submit_text(batcher, 2)
    assert sum(labels == [PROBE_LABEL] for _, labels in encoder.seen) == 3


async def test_a_failing_device_recovers_without_any_request(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(device_health, "PROBE_INTERVAL_S", 0.01)
    encoder = Failing(lambda _kind, _labels: BROKEN)
    async with batcher_with_limits(encoder, replace(PATIENT, recovery_s=30)) as (batcher, _):
        await fail(batcher, 3)
        await until_trouble(batcher)
        encoder.fails = lambda _kind, _labels: None
        await until_trouble(batcher, False)
        await submit_text(batcher, 1)
    assert [record.message for record in caplog.records if record.levelno == logging.WARNING] in (
        ["The device is working again."],
        [],  # the test ended before the next check
    )


@pytest.mark.parametrize("kind", ["texts", "views"])
async def test_a_device_fails_if_one_kind_fails_while_the_other_works(kind: str) -> None:
    encoder = Failing(lambda called, _labels: BROKEN if called == kind else None)
    async with batcher_with_limits(encoder) as (batcher, _):
        for number in range(3):
            with pytest.raises(DeviceError):
                await (submit_text(batcher, 1) if kind == "texts" else submit_picture(batcher, 1))
            await (submit_picture(batcher, number) if kind == "texts" else submit_text(batcher, number))
        await until_trouble(batcher)


async def test_a_reranking_model_that_always_fails_is_not_a_failure_of_the_device() -> None:
    encoder = Failing(lambda kind, _labels: BROKEN if kind == "pairs" else None)
    async with batcher_with_limits(encoder) as (batcher, _):
        for _ in range(5):
            with pytest.raises(DeviceError):
                await submit_pairs(batcher, GatedScorer(encoder), 1)
        await submit_text(batcher, 1)
        assert batcher.devices.trouble is None


async def test_a_device_fails_if_pairs_and_the_known_text_fail() -> None:
    encoder = Failing(lambda _kind, _labels: BROKEN)
    async with batcher_with_limits(encoder) as (batcher, _):
        for _ in range(3):
            with pytest.raises(DeviceError):
                await submit_pairs(batcher, GatedScorer(encoder), 1)
        await until_trouble(batcher)


async def test_running_out_of_memory_is_not_a_failure_if_halving_helps() -> None:
    encoder = Failing(lambda _kind, labels: DeviceOutOfMemory("full") if len(labels) > 1 else None)
    async with batcher_with_limits(encoder) as (batcher, _):
        for _ in range(5):
            await submit_texts(batcher, [1, 2, 3, 4])
            await submit_picture(batcher, 1, 2)
        assert batcher.devices.trouble is None
    assert all(PROBE_LABEL not in labels for _, labels in encoder.seen)


async def test_running_out_of_memory_is_a_failure_only_if_not_even_a_text_fits() -> None:
    encoder = Failing(lambda kind, _labels: DeviceOutOfMemory("full") if kind == "views" else None)
    async with batcher_with_limits(encoder) as (batcher, _):
        for _ in range(4):
            with pytest.raises(DeviceOutOfMemory):
                await submit_picture(batcher, 1)
        await submit_text(batcher, 1)
        assert batcher.devices.trouble is None
        encoder.fails = lambda _kind, _labels: DeviceOutOfMemory("full")
        await fail(batcher, 3)
        await until_trouble(batcher)


async def test_numbers_that_are_never_finite_are_a_failure_and_those_of_one_input_are_not() -> None:
    class Overflowing(GatedEncoder):
        broken = False

        def _encode(self, kind: str, labels: list[int]) -> NDArray[np.float32]:
            vectors = super()._encode(kind, labels)
            vectors[[self.broken or label == 3 for label in labels]] = np.nan
            return vectors

    encoder = Overflowing()
    encoder.release_all()
    async with batcher_with_limits(encoder) as (batcher, _):
        for _ in range(5):
            assert np.isnan(await submit_text(batcher, 3)).all()
        await submit_text(batcher, 1)
        assert batcher.devices.trouble is None
        encoder.broken = True
        for _ in range(3):
            await submit_text(batcher, 1)
        await until_trouble(batcher)
        assert "not finite" in str(batcher.devices.trouble)


async def test_a_device_that_does_not_recover_is_given_up_and_every_job_fails() -> None:
    encoder = Failing(lambda _kind, _labels: BROKEN)
    async with batcher_with_limits(encoder, replace(PATIENT, recovery_s=0.05)) as (batcher, running):
        await fail(batcher, 3)
        with pytest.raises(DeviceLost, match="bus error"):
            await asyncio.wait_for(asyncio.shield(running), 10)
        with pytest.raises(DeviceError, match="stopped"):
            await submit_text(batcher, 1)


async def test_a_lost_device_is_given_up_at_once_whatever_later_calls_do() -> None:
    encoder = Failing(lambda _kind, labels: DeviceLost("device-side assert") if 3 in labels else None)
    async with batcher_with_limits(encoder, replace(PATIENT, recovery_s=0.05)) as (batcher, running):
        with pytest.raises(DeviceLost, match="device-side assert"):
            await submit_text(batcher, 3)
        await until_trouble(batcher)
        with suppress(DeviceError):
            await submit_text(batcher, 4)  # may succeed, which is no recovery
        assert batcher.devices.trouble == "The device is lost: device-side assert"
        with pytest.raises(DeviceLost, match="device-side assert"):
            await asyncio.wait_for(asyncio.shield(running), 10)


async def test_a_device_hangs_until_the_long_call_ends() -> None:
    encoder = GatedEncoder()
    async with batcher_with_limits(encoder, replace(PATIENT, timeout_s=0.05)) as (batcher, _):
        hanging = submit_picture(batcher, 1, 2)
        await encoder.next_call()
        await until_trouble(batcher)
        assert batcher.devices.trouble == (
            "The device hangs: a micro-batch of 2 (picture) takes more than 0.05 s (DEVICE_TIMEOUT_S)"
        )
        encoder.release_all()
        await hanging
        await until_trouble(batcher, False)
        np.testing.assert_array_equal(await submit_text(batcher, 3), [vector_of(3)])


async def test_a_hanging_device_is_given_up_although_its_thread_cannot_be_ended() -> None:
    encoder = GatedEncoder()
    limits = HealthLimits(timeout_s=0.05, recovery_s=0.05)
    async with batcher_with_limits(encoder, limits) as (batcher, running):
        hanging, waiting = submit_text(batcher, 1), submit_text(batcher, 2, INGEST)
        await encoder.next_call()
        began_s = time.monotonic()
        with pytest.raises(DeviceLost, match="hangs"):
            await asyncio.wait_for(asyncio.shield(running), 5)
        assert time.monotonic() - began_s < 5
        for waiter in (hanging, waiting):
            with pytest.raises(DeviceError, match="stopped"):
                await waiter
        assert any(thread.name == "sidecar-device" for thread in threading.enumerate())


async def test_a_batcher_cancelled_while_its_device_hangs_does_not_wait_for_it() -> None:
    encoder = GatedEncoder()
    async with batcher_with_limits(encoder, HealthLimits(timeout_s=0.05, recovery_s=600)) as (batcher, running):
        hanging = submit_text(batcher, 1)
        await encoder.next_call()
        await until_trouble(batcher)
        running.cancel()
        await asyncio.wait_for(asyncio.gather(running, return_exceptions=True), 5)
        with pytest.raises(DeviceError, match="stopped"):
            await hanging


async def test_calls_in_other_threads_count_too() -> None:
    health = DeviceHealth(HealthLimits(timeout_s=0.05, recovery_s=0.05))
    free = threading.Event()

    def test_a_model() -> None:
        with health.call("the self-test of a model"):
            assert free.wait(10)

    thread = threading.Thread(target=test_a_model)
    thread.start()
    try:
        with pytest.raises(DeviceLost, match="the self-test of a model takes more than"):
            await health.guard(asyncio.get_running_loop().create_future())
    finally:
        free.set()
        thread.join()
    assert await health.guard(asyncio.sleep(0, "a result")) == "a result"


async def test_a_call_in_another_thread_may_lose_the_device() -> None:
    """For example the self-test of a reranking model, while nothing is embedded."""
    health = DeviceHealth(HealthLimits(recovery_s=600))
    with pytest.raises(DeviceLost, match="misaligned"), health.call("the self-test of a model"):
        raise DeviceLost("CUDA error: misaligned address")
    assert health.trouble == "The device is lost: CUDA error: misaligned address"


async def test_time_in_which_the_process_was_stopped_does_not_count_as_hanging() -> None:
    """With SIGSTOP, a paused machine or a closed laptop the clock goes on, and the device does not."""
    health = DeviceHealth(HealthLimits(timeout_s=0.2, recovery_s=600))
    with health.call("a micro-batch"):
        watching = asyncio.create_task(health.guard(asyncio.get_running_loop().create_future()), name="watching")
        await let_callers_run()
        time.sleep(0.5)  # noqa: ASYNC251 - blocks the whole loop
        looked = asyncio.Event()
        asyncio.get_running_loop().call_later(0.02, looked.set)
        await looked.wait()
        assert health.trouble is None
        await cancel_and_wait([watching])

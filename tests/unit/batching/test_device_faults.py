"""A device that runs out of memory, fails or breaks: the jobs that fail with it, and those that do not."""

from __future__ import annotations

import asyncio
import gc
from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from sidecar.batching.batcher import Batcher
from sidecar.batching.devices import Devices
from sidecar.errors import DeviceError, DeviceOutOfMemory
from tests.unit.batching.conftest import SETTINGS, RunningBatcher
from tests.unit.batching.gated_encoder import GatedEncoder, labelled_text, vector_of
from tests.unit.batching.submitting import INGEST, QUERY, let_callers_run, submit_picture, submit_text, submit_texts


async def test_a_batch_too_large_for_the_device_is_halved_and_nothing_is_lost(running_batcher: RunningBatcher) -> None:
    encoder = GatedEncoder(lambda labels: DeviceOutOfMemory("too large") if len(labels) > 2 else None)
    encoder.release_all()
    async with running_batcher(encoder) as batcher:
        vectors = await submit_texts(batcher, [1, 2, 3, 4, 5, 6, 7])
    np.testing.assert_array_equal(vectors, [vector_of(label) for label in range(1, 8)])
    assert [len(labels) for _, labels in encoder.seen] == [7, 3, 1, 2, 4, 2, 2]


async def test_a_view_that_does_not_fit_even_alone_fails_its_own_job_only(running_batcher: RunningBatcher) -> None:
    encoder = GatedEncoder(lambda labels: DeviceOutOfMemory("no room for 4") if 4 in labels else None)
    async with running_batcher(encoder) as batcher:
        first = submit_text(batcher, 1)
        await encoder.next_call()
        before, huge, after = submit_picture(batcher, 2, 3), submit_picture(batcher, 4, 5), submit_picture(batcher, 6)
        await let_callers_run()
        encoder.release_all()
        await asyncio.gather(first, before, after)
        with pytest.raises(DeviceOutOfMemory, match="no room for 4"):
            await huge


async def test_a_device_error_fails_the_jobs_of_that_micro_batch_and_no_others(running_batcher: RunningBatcher) -> None:
    encoder = GatedEncoder(lambda labels: DeviceError("bus error") if 2 in labels else None)
    async with running_batcher(encoder, max_views=2) as batcher:
        before = submit_text(batcher, 1)
        await encoder.next_call()
        hit = [submit_text(batcher, 2), submit_text(batcher, 3)]
        after = submit_text(batcher, 4)
        await let_callers_run()
        encoder.release_all()
        await asyncio.gather(before, after)
        for waiter in hit:
            with pytest.raises(DeviceError, match="bus error"):
                await waiter


async def test_the_rest_of_a_failed_job_never_reaches_the_device(running_batcher: RunningBatcher) -> None:
    encoder = GatedEncoder(lambda labels: DeviceError("bus error") if 1 in labels else None)
    async with running_batcher(encoder, max_views=1, query_queue_views=1) as batcher:
        failing = submit_picture(batcher, 1, 2, 3)
        await encoder.next_call()
        encoder.release_all()
        with pytest.raises(DeviceError):
            await failing
        assert batcher.waiting(QUERY) == 0
        await submit_text(batcher, 9)
    assert [labels for _, labels in encoder.seen] == [[1], [9]]


async def test_a_blocked_job_gets_the_capacity_of_a_failed_one(
    running_batcher: RunningBatcher,
) -> None:
    encoder = GatedEncoder(lambda labels: DeviceError("bus error") if 1 in labels else None)
    async with running_batcher(encoder, max_views=1, ingest_queue_views=3) as batcher:
        failing = submit_texts(batcher, [1, 2, 3], INGEST)
        await encoder.next_call()
        next_one = submit_texts(batcher, [4, 5], INGEST)
        await let_callers_run()
        encoder.release_all()
        with pytest.raises(DeviceError):
            await failing
        await asyncio.wait_for(next_one, 5)


async def test_an_encoder_that_breaks_ends_the_batcher_and_fails_every_job() -> None:
    encoder = GatedEncoder(lambda _labels: KeyError("a bug in the encoder"))
    batcher = Batcher(Devices([encoder]), SETTINGS)
    running = asyncio.create_task(batcher.run(), name="batcher")
    on_device = submit_text(batcher, 1)
    await encoder.next_call()
    waiting = [submit_picture(batcher, 2), submit_text(batcher, 3, INGEST)]
    await let_callers_run()
    encoder.release_all()
    with pytest.raises(KeyError, match="a bug in the encoder"):
        await running
    for waiter in (on_device, *waiting):
        with pytest.raises(DeviceError, match="stopped"):
            await waiter
    with pytest.raises(DeviceError, match="stopped"):
        await batcher.encode_texts([labelled_text(4)], QUERY)
    with pytest.raises(DeviceError, match="stopped"):
        await batcher.encode_texts([labelled_text(4)], INGEST)


class Panic(BaseException):
    """Like PyO3's exception for a panic in Rust."""


@pytest.mark.parametrize("fault", [Panic, SystemExit])
async def test_a_base_exception_ends_the_batcher_and_is_raised_as_a_runtime_error(fault: type[BaseException]) -> None:
    encoder = GatedEncoder(lambda _labels: fault("in Rust"))
    encoder.release_all()
    batcher = Batcher(Devices([encoder]), SETTINGS)
    running = asyncio.create_task(batcher.run(), name="batcher")
    waiting = submit_text(batcher, 1)
    async with asyncio.timeout(5):
        with pytest.raises(RuntimeError, match="in Rust") as broken:
            await running
        assert isinstance(broken.value.__cause__, fault)
        with pytest.raises(DeviceError, match="stopped"):
            await waiting


async def test_jobs_still_blocked_at_the_end_fail_without_a_log_of_unretrieved_errors() -> None:
    unhandled: list[dict[str, object]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _loop, context: unhandled.append(context))
    encoder = GatedEncoder(lambda _labels: KeyError("a bug in the encoder"))
    batcher = Batcher(Devices([encoder]), replace(SETTINGS, ingest_queue_views=2))
    running = asyncio.create_task(batcher.run(), name="batcher")
    waiters = [submit_texts(batcher, [1, 2], INGEST) for _ in range(20)]
    await encoder.next_call()
    encoder.release_all()
    answers = await asyncio.gather(running, *waiters, return_exceptions=True)
    assert [type(answer) for answer in answers] == [KeyError, *[DeviceError] * 20]
    del answers, waiters
    await let_callers_run()
    gc.collect()
    assert unhandled == []


async def test_a_result_of_the_wrong_shape_is_reported_as_a_bug() -> None:
    class Short(GatedEncoder):
        def _encode(self, kind: str, labels: list[int]) -> NDArray[np.float32]:
            return super()._encode(kind, labels)[:-1]

    encoder = Short()
    encoder.release_all()
    batcher = Batcher(Devices([encoder]), SETTINGS)
    running = asyncio.create_task(batcher.run(), name="batcher")
    with pytest.raises(DeviceError):
        await submit_texts(batcher, [1, 2])
    with pytest.raises(RuntimeError, match="This is a bug"):
        await running


async def test_a_cancelled_batcher_finishes_its_micro_batch_and_fails_the_rest() -> None:
    encoder = GatedEncoder()
    batcher = Batcher(Devices([encoder]), SETTINGS)
    running = asyncio.create_task(batcher.run(), name="batcher")
    on_device = submit_text(batcher, 1)
    await encoder.next_call()
    waiting = submit_picture(batcher, 2)
    await let_callers_run()
    running.cancel()
    await let_callers_run()
    assert not running.done()
    encoder.release()
    np.testing.assert_array_equal(await on_device, [vector_of(1)])
    with pytest.raises(DeviceError, match="stopped"):
        await waiting
    with pytest.raises(asyncio.CancelledError):
        await running

"""The window in which a free device waits for the callers of its last micro-batch to come back."""

from __future__ import annotations

import asyncio

from sidecar.batching.device_thread import BatchWindow
from sidecar.batching.inputs import Kind
from sidecar.batching.job import Lane
from sidecar.batching.lanes import LaneQueues
from tests.unit.batching.conftest import SETTINGS, RunningBatcher
from tests.unit.batching.gated_encoder import GatedEncoder
from tests.unit.batching.jobs import make_job
from tests.unit.batching.submitting import INGEST, let_callers_run, submit_picture, submit_text, submit_texts

FOREVER_S = 60.0


async def test_callers_that_wait_for_their_answers_stay_in_one_micro_batch(running_batcher: RunningBatcher) -> None:
    encoder = GatedEncoder()
    async with running_batcher(encoder, window_s=FOREVER_S) as batcher:
        first = submit_text(batcher, 0)
        await encoder.next_call()
        together = [submit_text(batcher, label) for label in (1, 2, 3)]
        await let_callers_run()
        encoder.release_all()
        await asyncio.gather(first, *together)
        again = [submit_text(batcher, 4)]
        for _ in range(50):  # time enough for the device thread to take it
            await asyncio.to_thread(int)
        again += [submit_text(batcher, label) for label in (5, 6)]
        await asyncio.gather(*again)
    assert [labels for _, labels in encoder.seen] == [[0], [1, 2, 3], [4, 5, 6]]


async def test_without_a_window_the_first_caller_to_come_back_goes_alone(running_batcher: RunningBatcher) -> None:
    encoder = GatedEncoder()
    async with running_batcher(encoder, window_s=0) as batcher:
        first = submit_text(batcher, 0)
        await encoder.next_call()
        together = [submit_text(batcher, label) for label in (1, 2, 3)]
        await let_callers_run()
        encoder.release()
        await encoder.next_call()
        encoder.release()
        await asyncio.gather(first, *together)
        waiter = submit_text(batcher, 4)
        assert await encoder.next_call() == ("texts", [4])
        encoder.release_all()
        await waiter


async def test_the_window_ends_even_if_no_caller_comes_back(running_batcher: RunningBatcher) -> None:
    encoder = GatedEncoder()
    async with running_batcher(encoder, window_s=0.05) as batcher:
        first = submit_text(batcher, 0)
        await encoder.next_call()
        together = [submit_text(batcher, label) for label in (1, 2, 3)]
        await let_callers_run()
        encoder.release_all()
        await asyncio.gather(first, *together)
        await asyncio.wait_for(submit_text(batcher, 4), 5)


async def test_there_is_no_window_while_ingest_could_use_the_device(running_batcher: RunningBatcher) -> None:
    encoder = GatedEncoder()
    async with running_batcher(encoder, window_s=FOREVER_S) as batcher:
        first = submit_text(batcher, 0)
        await encoder.next_call()
        together = [submit_text(batcher, label) for label in (1, 2, 3)]
        await let_callers_run()
        encoder.release_all()
        await asyncio.gather(first, *together)
        query = submit_text(batcher, 4)
        await let_callers_run()
        await asyncio.wait_for(asyncio.gather(query, submit_text(batcher, 5, INGEST)), 5)
    assert [labels for _, labels in encoder.seen][2:] in ([[4, 5]], [[4], [5]])


async def test_there_is_no_window_while_queries_of_another_kind_could_use_the_device(
    running_batcher: RunningBatcher,
) -> None:
    encoder = GatedEncoder()
    async with running_batcher(encoder, window_s=FOREVER_S) as batcher:
        first = submit_text(batcher, 0)
        await encoder.next_call()
        together = [submit_text(batcher, label) for label in (1, 2, 3)]
        together += [submit_picture(batcher, label) for label in (4, 5, 6)]
        await let_callers_run()
        encoder.release_all()
        await asyncio.gather(first, *together)
        lonely = [submit_picture(batcher, 7), submit_text(batcher, 8)]
        done, waiting = await asyncio.wait(lonely, timeout=5, return_when=asyncio.FIRST_COMPLETED)
        assert len(done) == 1
        waiting.pop().cancel()


async def test_a_request_of_many_texts_counts_as_one_caller(running_batcher: RunningBatcher) -> None:
    encoder = GatedEncoder()
    encoder.release_all()
    async with running_batcher(encoder, window_s=FOREVER_S) as batcher:
        await submit_texts(batcher, [1, 2, 3, 4])
        await asyncio.wait_for(submit_text(batcher, 5), 5)


async def test_the_window_does_not_wait_for_a_request_that_is_not_done_yet(running_batcher: RunningBatcher) -> None:
    encoder = GatedEncoder()
    async with running_batcher(encoder, window_s=FOREVER_S, max_views=4) as batcher:
        first = submit_text(batcher, 0)
        await encoder.next_call()
        together = [submit_texts(batcher, [1, 2, 3, 4, 5, 6]), submit_text(batcher, 7)]
        await let_callers_run()
        encoder.release_all()
        await asyncio.wait_for(asyncio.gather(first, *together), 5)
    assert [len(labels) for _, labels in encoder.seen] == [1, 4, 3]


async def test_ingest_has_no_window(running_batcher: RunningBatcher) -> None:
    encoder = GatedEncoder()
    async with running_batcher(encoder, window_s=FOREVER_S) as batcher:
        first = submit_text(batcher, 0, INGEST)
        await encoder.next_call()
        together = [submit_text(batcher, label, INGEST) for label in (1, 2, 3)]
        await let_callers_run()
        encoder.release_all()
        await asyncio.gather(first, *together)
        await asyncio.wait_for(submit_text(batcher, 4, INGEST), 5)


def test_a_window_does_not_wait_for_callers_whose_queries_another_device_has_taken() -> None:
    queues = LaneQueues(SETTINGS, devices=2)

    def push_queries(count: int) -> None:
        for label in range(count):
            queues.push(make_job(Lane.QUERY, Kind.TEXT, [label]))

    window = BatchWindow(FOREVER_S)
    push_queries(3)
    window.record_dispatch(queues.take(Lane.QUERY, 10))
    window.record_device_free(queues)
    push_queries(1)
    assert window.wait_s(Lane.QUERY, queues) > 0  # two more are about to come
    queues.take(Lane.QUERY, 1)
    push_queries(1)
    assert window.wait_s(Lane.QUERY, queues) > 0
    push_queries(1)
    assert window.wait_s(Lane.QUERY, queues) <= 0  # one is on the other device, two are here

"""The pause in which the callers of a large micro-batch come back."""

from __future__ import annotations

import asyncio

from tests.unit.batching.asking import INGEST, ask_picture, ask_text, ask_texts, let_callers_enter
from tests.unit.batching.conftest import RunningBatcher
from tests.unit.batching.gated_encoder import GatedEncoder

FOREVER_S = 60.0


async def test_callers_that_wait_for_their_answers_stay_together(running_batcher: RunningBatcher) -> None:
    encoder = GatedEncoder()
    async with running_batcher(encoder, window_s=FOREVER_S) as batcher:
        first = ask_text(batcher, 0)
        await encoder.next_call()
        together = [ask_text(batcher, label) for label in (1, 2, 3)]
        await let_callers_enter()
        encoder.open()
        await asyncio.gather(first, *together)
        again = [ask_text(batcher, 4)]
        for _ in range(50):  # the device thread has time enough to take it
            await asyncio.to_thread(int)
        again += [ask_text(batcher, label) for label in (5, 6)]
        await asyncio.gather(*again)
    assert [labels for _, labels in encoder.seen] == [[0], [1, 2, 3], [4, 5, 6]]


async def test_without_a_window_the_first_to_come_back_goes_alone(running_batcher: RunningBatcher) -> None:
    encoder = GatedEncoder()
    async with running_batcher(encoder, window_s=0) as batcher:
        first = ask_text(batcher, 0)
        await encoder.next_call()
        together = [ask_text(batcher, label) for label in (1, 2, 3)]
        await let_callers_enter()
        encoder.let_go()
        await encoder.next_call()
        encoder.let_go()
        await asyncio.gather(first, *together)
        waiter = ask_text(batcher, 4)
        assert await encoder.next_call() == ("texts", [4])
        encoder.open()
        await waiter


async def test_the_window_ends_though_nobody_comes_back(running_batcher: RunningBatcher) -> None:
    encoder = GatedEncoder()
    async with running_batcher(encoder, window_s=0.05) as batcher:
        first = ask_text(batcher, 0)
        await encoder.next_call()
        together = [ask_text(batcher, label) for label in (1, 2, 3)]
        await let_callers_enter()
        encoder.open()
        await asyncio.gather(first, *together)
        await asyncio.wait_for(ask_text(batcher, 4), 5)


async def test_nobody_gathers_while_ingest_could_use_the_device(running_batcher: RunningBatcher) -> None:
    encoder = GatedEncoder()
    async with running_batcher(encoder, window_s=FOREVER_S) as batcher:
        first = ask_text(batcher, 0)
        await encoder.next_call()
        together = [ask_text(batcher, label) for label in (1, 2, 3)]
        await let_callers_enter()
        encoder.open()
        await asyncio.gather(first, *together)
        query = ask_text(batcher, 4)
        await let_callers_enter()
        await asyncio.wait_for(asyncio.gather(query, ask_text(batcher, 5, INGEST)), 5)
    assert [labels for _, labels in encoder.seen][2:] in ([[4, 5]], [[4], [5]])


async def test_nobody_gathers_while_queries_of_another_kind_could_use_the_device(
    running_batcher: RunningBatcher,
) -> None:
    encoder = GatedEncoder()
    async with running_batcher(encoder, window_s=FOREVER_S) as batcher:
        first = ask_text(batcher, 0)
        await encoder.next_call()
        together = [ask_text(batcher, label) for label in (1, 2, 3)]
        together += [ask_picture(batcher, label) for label in (4, 5, 6)]
        await let_callers_enter()
        encoder.open()
        await asyncio.gather(first, *together)
        lonely = [ask_picture(batcher, 7), ask_text(batcher, 8)]
        done, waiting = await asyncio.wait(lonely, timeout=5, return_when=asyncio.FIRST_COMPLETED)
        assert len(done) == 1
        waiting.pop().cancel()


async def test_a_request_of_many_texts_counts_as_one_caller_that_may_come_back(running_batcher: RunningBatcher) -> None:
    encoder = GatedEncoder()
    encoder.open()
    async with running_batcher(encoder, window_s=FOREVER_S) as batcher:
        await ask_texts(batcher, [1, 2, 3, 4])
        await asyncio.wait_for(ask_text(batcher, 5), 5)


async def test_a_request_that_is_not_done_yet_is_not_waited_for(running_batcher: RunningBatcher) -> None:
    encoder = GatedEncoder()
    async with running_batcher(encoder, window_s=FOREVER_S, max_views=4) as batcher:
        first = ask_text(batcher, 0)
        await encoder.next_call()
        together = [ask_texts(batcher, [1, 2, 3, 4, 5, 6]), ask_text(batcher, 7)]
        await let_callers_enter()
        encoder.open()
        await asyncio.wait_for(asyncio.gather(first, *together), 5)
    assert [len(labels) for _, labels in encoder.seen] == [1, 4, 3]


async def test_ingest_never_waits_for_more(running_batcher: RunningBatcher) -> None:
    encoder = GatedEncoder()
    async with running_batcher(encoder, window_s=FOREVER_S) as batcher:
        first = ask_text(batcher, 0, INGEST)
        await encoder.next_call()
        together = [ask_text(batcher, label, INGEST) for label in (1, 2, 3)]
        await let_callers_enter()
        encoder.open()
        await asyncio.gather(first, *together)
        await asyncio.wait_for(ask_text(batcher, 4, INGEST), 5)

"""Texts are tokenised inline or in threads."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.batching.encoder import PreparedText
from sidecar.batching.job import Lane
from sidecar.batching.preparation import PreparationThreads, TextPreparation, raise_if_cancelled
from sidecar.errors import DeviceError
from tests.encoders import HashEncoder
from tests.waiting import wait_until_async

PATIENCE_S = 10.0


class RecordingEncoder(HashEncoder):
    """Records the thread and the lengths of each call; a text that begins with "wait" blocks until `go`."""

    def __init__(self) -> None:
        super().__init__()
        self.prepared: list[tuple[str, list[int]]] = []
        self.go = threading.Event()

    def prepare_texts(self, texts: Sequence[str]) -> list[PreparedText]:
        self.prepared.append((threading.current_thread().name, [len(text) for text in texts]))
        if texts and texts[0].startswith("wait"):
            assert self.go.wait(PATIENCE_S)
        return super().prepare_texts(texts)

    @property
    def inline(self) -> list[bool]:
        """For each call, whether it ran on the event loop."""
        return [thread == threading.main_thread().name for thread, _ in self.prepared]


@pytest.fixture
def threads() -> Iterator[PreparationThreads]:
    threads = PreparationThreads()
    yield threads
    threads.close()


def prepare(preparation: TextPreparation, text: str) -> asyncio.Task[list[PreparedText]]:
    return asyncio.create_task(preparation.prepare([text], Lane.QUERY), name=text[:10])


async def reach(encoder: RecordingEncoder, count: int) -> None:
    """Wait until that many calls have begun."""

    async def have_begun() -> bool:
        return len(encoder.prepared) == count

    await wait_until_async(have_begun, f"{count} calls to begin")


async def test_short_texts_are_prepared_inline_and_long_ones_in_a_thread(threads: PreparationThreads) -> None:
    encoder = RecordingEncoder()
    preparation = TextPreparation(encoder, threads)
    await preparation.prepare(["a red bicycle", "a ship"], Lane.QUERY)
    await preparation.prepare(["x" * 201], Lane.QUERY)
    assert encoder.inline == [True, False]


async def test_the_event_loop_never_waits_for_a_tokenizer_that_a_thread_holds(threads: PreparationThreads) -> None:
    encoder = RecordingEncoder()
    preparation = TextPreparation(encoder, threads)
    running = prepare(preparation, "wait" + "x" * 300)
    await reach(encoder, 1)
    await prepare(preparation, "short")
    running.cancel()  # its thread runs on
    await asyncio.wait([running])
    await prepare(preparation, "short")
    assert encoder.inline == [False, False, False]
    encoder.go.set()

    async def is_prepared_inline() -> bool:
        await prepare(preparation, "short")
        return encoder.inline[-1]

    await wait_until_async(is_prepared_inline, "the end of the thread")


async def test_queued_texts_of_cancelled_callers_are_never_prepared(threads: PreparationThreads) -> None:
    encoder = RecordingEncoder()
    preparation = TextPreparation(encoder, threads)
    running = [prepare(preparation, f"wait {number}" + "x" * 300) for number in range(2)]
    await reach(encoder, 2)
    leaving = [prepare(preparation, "left" * 1000) for _ in range(50)]
    staying = prepare(preparation, "short")
    await asyncio.sleep(0)  # all are queued
    for task in leaving:
        task.cancel()
    await asyncio.wait(leaving)
    encoder.go.set()
    await asyncio.gather(staying, *running)
    assert [run for _, run in encoder.prepared[2:]] == [[5]]
    await prepare(preparation, "short")
    assert encoder.inline[-1]  # cancelled texts do not count as busy


async def test_a_query_is_not_prepared_behind_rows_and_documents(threads: PreparationThreads) -> None:
    encoder = RecordingEncoder()
    preparation = TextPreparation(encoder, threads)
    others = [
        asyncio.create_task(preparation.prepare(["wait" + "x" * 300], lane), name=lane.value)
        for lane in (Lane.INGEST, Lane.RERANK) * 5
    ]
    await reach(encoder, 4)  # two threads each; the rest is queued
    await asyncio.wait_for(prepare(preparation, "x" * 300), 5)
    encoder.go.set()
    await asyncio.gather(*others)


async def test_a_query_is_not_prepared_behind_requests_of_many_texts(threads: PreparationThreads) -> None:
    encoder = RecordingEncoder()
    preparation = TextPreparation(encoder, threads)
    many = [
        asyncio.create_task(preparation.prepare([f"wait {number}", "x" * 300], Lane.QUERY), name=f"many {number}")
        for number in range(5)
    ]
    await reach(encoder, 1)  # one of the two threads; the rest is queued
    await asyncio.wait_for(prepare(preparation, "x" * 300), 5)
    assert len(encoder.prepared) == 2
    encoder.go.set()
    await asyncio.gather(*many)


async def test_closed_threads_finish_what_is_queued_and_end() -> None:
    encoder = RecordingEncoder()
    threads = PreparationThreads()
    preparation = TextPreparation(encoder, threads)
    waiting = [prepare(preparation, f"wait {number}" + "x" * 300) for number in range(4)]
    await reach(encoder, 2)
    own = [thread for thread in threading.enumerate() if thread.name.startswith("prepare-query")]
    threads.close()
    with pytest.raises(DeviceError, match="stopped"):
        await prepare(preparation, "x" * 300)
    encoder.go.set()
    assert len(await asyncio.gather(*waiting)) == 4

    async def have_ended() -> bool:
        return not any(thread.is_alive() for thread in own)

    assert own
    await wait_until_async(have_ended, "the threads' end")


@given(st.lists(st.integers(0, 20_000), max_size=20))
def test_no_thread_holds_the_tokenizer_for_more_than_a_few_texts(lengths: list[int]) -> None:
    encoder, threads = RecordingEncoder(), PreparationThreads()
    texts = [chr(97 + index % 26) * length for index, length in enumerate(lengths)]
    prepared = asyncio.run(TextPreparation(encoder, threads).prepare(texts, Lane.QUERY))
    threads.close()
    assert [length for _, run in encoder.prepared for length in run] == lengths
    # No more than the beginning of a long text is read.
    assert all(len(run) == 1 or sum(min(length, 800) for length in run) <= 8_000 for _, run in encoder.prepared)
    expected = HashEncoder().prepare_texts(texts)
    assert [one.token_ids.tobytes() for one in prepared] == [one.token_ids.tobytes() for one in expected]


async def test_a_thread_stops_soon_after_its_caller_was_cancelled(threads: PreparationThreads) -> None:
    """Otherwise a long text would keep the process from ending."""
    ended = threading.Event()
    has_begun = threading.Event()

    def run_forever() -> None:
        try:
            has_begun.set()
            while True:
                raise_if_cancelled()
        finally:
            ended.set()

    job = asyncio.create_task(threads.run(Lane.INGEST, run_forever), name="job")
    await asyncio.to_thread(has_begun.wait, PATIENCE_S)
    assert not ended.is_set()
    job.cancel()
    await asyncio.wait([job])
    assert await asyncio.to_thread(ended.wait, PATIENCE_S)
    await threads.run(Lane.INGEST, raise_if_cancelled)  # the next caller is not cancelled
    raise_if_cancelled()  # outside the threads there is no caller

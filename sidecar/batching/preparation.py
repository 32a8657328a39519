"""Tokenising, where it costs least."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractAsyncContextManager, nullcontext
from functools import partial
from typing import Any, TypeVar

from sidecar.batching.encoder import Encoder, PreparedText
from sidecar.batching.job import ROWS, Lane
from sidecar.errors import DeviceError

# About 2 µs a character. A thread takes 50 µs to reach, and more than a millisecond while another one computes.
_AT_ONCE_CHARS = 200
_TOGETHER_CHARS = 8_000
_MOST_CHARS_READ = 800  # of a text, nearly always


class TextPreparation:
    """Prepares short texts on the spot, if no thread does so at the time; all others in a thread.

    A tokenizer may let in one thread at a time, so nobody keeps it for more than a few texts: a query's text is not
    tokenised behind a whole batch of documents.
    """

    def __init__(self, encoder: Encoder, threads: PreparationThreads) -> None:
        self._encoder = encoder
        self._threads = threads
        self._several = asyncio.Lock()

    async def prepare(self, texts: Sequence[str], lane: Lane) -> list[PreparedText]:
        """One per text, in order. Raises DeviceError once the threads are closed."""
        if not self._threads.busy(Lane.QUERY, *ROWS) and sum(map(len, texts)) <= _AT_ONCE_CHARS:
            return self._encoder.prepare_texts(texts)
        turn: AbstractAsyncContextManager[None] = (
            self._several if lane is Lane.QUERY and len(texts) > 1 else nullcontext()
        )
        prepared: list[PreparedText] = []
        for some in split_texts(texts, _MOST_CHARS_READ):
            async with turn:  # one of the lane's threads is left for a query's single text
                prepared += await self._threads.run(lane, partial(self._encoder.prepare_texts, some))
        return prepared


def split_texts(texts: Sequence[str], most_chars_read: int | None = None) -> Iterator[Sequence[str]]:
    """Runs of texts with no more characters together than a thread should take at once; one text at least.

    `most_chars_read`: no more of a text are looked at.
    """
    start = chars = 0
    for index, text in enumerate(texts):
        read = len(text) if most_chars_read is None else min(len(text), most_chars_read)
        if index > start and chars + read > _TOGETHER_CHARS:
            yield texts[start:index]
            start, chars = index, 0
        chars += read
    if start < len(texts):
        yield texts[start:]


Result = TypeVar("Result")

_THREADS_OF_A_LANE = 2
_of_thread = threading.local()


def check_wanted() -> None:
    """Long preparations call this at intervals. Raises DeviceError in a thread whose caller has gone."""
    caller_has_gone: threading.Event | None = getattr(_of_thread, "caller_has_gone", None)
    if caller_has_gone is not None and caller_has_gone.is_set():
        raise DeviceError("The caller of this preparation has gone.")


class PreparationThreads:
    """A few threads for each lane, started when needed: no query stands behind documents or rows."""

    threads_of_a_lane = _THREADS_OF_A_LANE

    def __init__(self) -> None:
        self._executors = {
            lane: ThreadPoolExecutor(_THREADS_OF_A_LANE, thread_name_prefix=f"prepare-{lane.value}") for lane in Lane
        }
        self._in_hand: dict[Lane, set[Future[Any]]] = {lane: set() for lane in Lane}
        self._closed = False

    def busy(self, *lanes: Lane) -> bool:
        """Whether anything of these lanes runs, or waits to; also for callers that have gone."""
        return any(self._in_hand[lane] for lane in lanes)

    async def run(self, lane: Lane, work: Callable[[], Result]) -> Result:
        """The result of blocking `work`. Cancelled before a thread has begun with it, none ever does; what has begun
        ends where it calls `check_wanted`.

        Raises DeviceError once closed.
        """
        if self._closed:
            raise DeviceError("The batcher has ended; the process is on its way down.")
        caller_has_gone = threading.Event()
        job = self._executors[lane].submit(_run, work, caller_has_gone)
        in_hand = self._in_hand[lane]
        in_hand.add(job)
        job.add_done_callback(in_hand.discard)  # in the thread, if it ends there: adding and discarding are atomic
        try:
            return await asyncio.wrap_future(job)
        finally:
            caller_has_gone.set()

    def close(self) -> None:
        """Nothing more is begun but what somebody waits for already; the threads end with it."""
        self._closed = True
        for executor in self._executors.values():
            executor.shutdown(wait=False)


def _run(work: Callable[[], Result], caller_has_gone: threading.Event) -> Result:
    _of_thread.caller_has_gone = caller_has_gone
    try:
        return work()
    finally:
        _of_thread.caller_has_gone = None

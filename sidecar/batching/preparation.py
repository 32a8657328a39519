"""Preparation of texts for the device: tokenised on the event loop if short, otherwise in threads."""

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

Result = TypeVar("Result")

# Tokenising takes about 2 µs a character. Reaching a thread takes 50 µs, and over a millisecond while another computes.
_INLINE_CHARS = 200
_CHUNK_CHARS = 8_000
_MAX_CHARS_READ = 800  # of a text, nearly always
_THREADS_PER_LANE = 2
_of_thread = threading.local()


class TextPreparation:
    """Tokenises short texts inline unless a thread is tokenising at the time, all others in a thread.

    A tokenizer may admit one thread at a time, so each call gets a few texts only: a query's text is not tokenised
    behind a whole batch of documents.
    """

    def __init__(self, encoder: Encoder, threads: PreparationThreads) -> None:
        self._encoder = encoder
        self._threads = threads
        self._multi_text_query = asyncio.Lock()

    async def prepare(self, texts: Sequence[str], lane: Lane) -> list[PreparedText]:
        """One per text, in order. Raises DeviceError once the threads are closed."""
        if not self._threads.busy(Lane.QUERY, *ROWS) and sum(map(len, texts)) <= _INLINE_CHARS:
            return self._encoder.prepare_texts(texts)
        turn: AbstractAsyncContextManager[None] = (
            self._multi_text_query if lane is Lane.QUERY and len(texts) > 1 else nullcontext()
        )
        prepared: list[PreparedText] = []
        for chunk in split_texts(texts, _MAX_CHARS_READ):
            async with turn:  # leaves one of the lane's threads to queries of a single text
                prepared += await self._threads.run(lane, partial(self._encoder.prepare_texts, chunk))
        return prepared


def split_texts(texts: Sequence[str], max_chars_read: int | None = None) -> Iterator[Sequence[str]]:
    """Chunks of at least one text, with no more characters together than a thread should take in one call.

    `max_chars_read`: characters beyond that number of a text are not read, and do not count.
    """
    start = chars = 0
    for index, text in enumerate(texts):
        read = len(text) if max_chars_read is None else min(len(text), max_chars_read)
        if index > start and chars + read > _CHUNK_CHARS:
            yield texts[start:index]
            start, chars = index, 0
        chars += read
    if start < len(texts):
        yield texts[start:]


class PreparationThreads:
    """A few threads per lane, started when needed: queries do not queue behind documents or rows."""

    threads_per_lane = _THREADS_PER_LANE

    def __init__(self) -> None:
        self._executors = {
            lane: ThreadPoolExecutor(_THREADS_PER_LANE, thread_name_prefix=f"prepare-{lane.value}") for lane in Lane
        }
        self._in_flight: dict[Lane, set[Future[Any]]] = {lane: set() for lane in Lane}
        self._closed = False

    def busy(self, *lanes: Lane) -> bool:
        """Whether any work of these lanes is running or queued, including that of callers that were cancelled."""
        return any(self._in_flight[lane] for lane in lanes)

    async def run(self, lane: Lane, work: Callable[[], Result]) -> Result:
        """The result of blocking `work`.

        If the caller is cancelled, queued work never begins, and running work ends where it calls
        `raise_if_cancelled`. Raises DeviceError once closed.
        """
        if self._closed:
            raise DeviceError("The batcher has stopped; the process is shutting down.")
        cancelled = threading.Event()
        future = self._executors[lane].submit(_run, work, cancelled)
        in_flight = self._in_flight[lane]
        in_flight.add(future)
        future.add_done_callback(in_flight.discard)  # may run in the thread; adding and discarding are atomic
        try:
            return await asyncio.wrap_future(future)
        finally:
            cancelled.set()

    def close(self) -> None:
        """Accept no more work; the threads end once they have done what is queued."""
        self._closed = True
        for executor in self._executors.values():
            executor.shutdown(wait=False)


def raise_if_cancelled() -> None:
    """To be called at intervals by long preparations. Raises DeviceError in a thread whose caller was cancelled."""
    cancelled: threading.Event | None = getattr(_of_thread, "cancelled", None)
    if cancelled is not None and cancelled.is_set():
        raise DeviceError("The caller of this preparation was cancelled.")


def _run(work: Callable[[], Result], cancelled: threading.Event) -> Result:
    _of_thread.cancelled = cancelled
    try:
        return work()
    finally:
        _of_thread.cancelled = None

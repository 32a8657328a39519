"""Tokenising, where it costs least."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from contextlib import AbstractAsyncContextManager, nullcontext
from functools import partial

from sidecar.batching.encoder import Encoder, PreparedText
from sidecar.batching.lane import ROWS, Lane
from sidecar.batching.preparation_threads import PreparationThreads

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

"""Scores documents by how well they answer a query."""

from __future__ import annotations

import asyncio
import contextvars
import logging
import math
import time
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from sidecar.batching.batcher import Batcher
from sidecar.batching.bulk import BulkRequests
from sidecar.batching.encoder import PairScorer, PreparedPair
from sidecar.batching.inputs import Kind
from sidecar.batching.job import Lane
from sidecar.batching.preparation import split_texts
from sidecar.errors import DeviceError, SidecarError
from sidecar.telemetry.telemetry import Stage


@dataclass(frozen=True, slots=True)
class ScoredDocuments:
    """`raw` is (n,) float32 as the model gives them, in the order of the documents; higher is better, any range; NaN
    where the model computes no finite score.

    `truncated` says of each whether the model read only its beginning; `tokens` is what it read in all.
    """

    raw: NDArray[np.float32]
    truncated: Sequence[bool]
    tokens: int


class Reranker:
    """The cross-encoder behind the lane RERANK. `model_id` is known before it is loaded."""

    def __init__(self, model_id: str, loading: ScorerLoading, batcher: Batcher) -> None:
        self.model_id = model_id
        self._loading = loading
        self._batcher = batcher
        self._bulk = BulkRequests(batcher, Lane.RERANK)
        self._fault = ""  # of the device, while it scored the last pairs

    @property
    def state(self) -> str:
        """How far the model is: `not loaded yet`, `loading`, `loaded`, or `failed: …` with the reason.

        `failing: …`: it is loaded, and the device failed on its last pairs.
        """
        return f"failing: {self._fault}" if self._fault else self._loading.state

    def refuse_if_full(self) -> None:
        """Raises Overloaded where no document would be taken now: before work is spent on a request."""
        self._batcher.refuse_if_full(Lane.RERANK)

    async def score(self, query: str, documents: Sequence[str]) -> NDArray[np.float32]:
        """(n,) float32 raw scores in the order of the documents; errors as of `score_documents`."""
        return (await self.score_documents(query, documents)).raw

    async def score_documents(
        self, query: str, documents: Sequence[str], max_document_tokens: int | None = None
    ) -> ScoredDocuments:
        """Loads the model first if need be. Equal documents are scored once, and so have the same score.

        Raises RerankModelFailed, TextRejected (`query_too_long`), Overloaded, DeviceError, DeviceOutOfMemory.
        """
        unique = list(dict.fromkeys(documents))
        try:
            pairs, raw = await self._score(query, unique, max_document_tokens)
        except DeviceError as error:
            self._fault = str(error)
            raise
        self._fault = ""
        raw_of = dict(zip(unique, raw, strict=True))
        return _spread(documents, raw_of, dict(zip(unique, pairs, strict=True)))

    async def _score(
        self, query: str, unique: Sequence[str], max_document_tokens: int | None
    ) -> tuple[list[PreparedPair], list[np.float32]]:
        if self._bulk.is_bulk(len(unique)):
            with self._bulk.admitted(len(unique)):
                scorer, pairs = await self._load_and_prepare(query, unique, max_document_tokens)
                score = partial(self._batcher.score_pairs, scorer, admitted=True)
                raw = await _score_by_length(pairs, lambda ordered: self._bulk.encode(ordered, score))
        else:
            with self._batcher.reserved(Lane.RERANK, len(unique)):
                scorer, pairs = await self._load_and_prepare(query, unique, max_document_tokens)
            raw = await _score_by_length(pairs, partial(self._batcher.score_pairs, scorer))
        if np.isnan(raw).any():
            await self._batcher.check_device(Kind.PAIR, Lane.RERANK)
        return pairs, raw

    async def _load_and_prepare(
        self, query: str, documents: Sequence[str], max_document_tokens: int | None
    ) -> tuple[PairScorer, list[PreparedPair]]:
        scorer = await self._loading.scorer()
        with self._batcher.telemetry.stage(Stage.PREPARE, Lane.RERANK.value, "prepare"):
            return scorer, await self._prepare(scorer, query, documents, max_document_tokens)

    async def _prepare(
        self, scorer: PairScorer, query: str, documents: Sequence[str], max_document_tokens: int | None
    ) -> list[PreparedPair]:
        """A few documents at a time: no thread goes on for long when the caller has gone."""
        pairs: list[PreparedPair] = []
        for some in split_texts(documents):
            prepare = partial(scorer.prepare_pairs, query, some, max_document_tokens)
            pairs += await self._batcher.preparation.run(Lane.RERANK, prepare)
        return pairs


async def _score_by_length(
    pairs: Sequence[PreparedPair], score: Callable[[Sequence[PreparedPair]], Awaitable[Iterable[np.float32]]]
) -> list[np.float32]:
    """In the order of the pairs. Those of about the same length are scored together, so that little is padded."""
    order = sorted(range(len(pairs)), key=lambda index: len(pairs[index].token_ids))
    raw = dict(zip(order, await score([pairs[index] for index in order]), strict=True))
    return [raw[index] for index in range(len(pairs))]


def _spread(
    documents: Sequence[str], raw_of: dict[str, np.float32], pair_of: dict[str, PreparedPair]
) -> ScoredDocuments:
    return ScoredDocuments(
        raw=np.array([raw_of[document] for document in documents], np.float32),
        truncated=[pair_of[document].truncated for document in documents],
        tokens=sum(len(pair.token_ids) for pair in pair_of.values()),
    )


logger = logging.getLogger(__name__)

LoadScorer: TypeAlias = Callable[[], Awaitable[PairScorer]]

_FIRST_PAUSE_S = 5.0
_MAX_PAUSE_S = 300.0


class RerankModelFailed(SidecarError):
    """The reranking model cannot be loaded; `retry_after_s`: when it is tried again, if somebody asks then."""

    def __init__(self, message: str, retry_after_s: float) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class ScorerLoading:
    """The way to a scorer that may not be there yet.

        ABSENT      nobody has asked. The first who asks starts the loading.
        LOADING     in a task that no caller's leaving ends; all who ask wait for it, each until their own deadline.
        LOADED      for good.
        FAILED      who waited is told why, and so is everybody for five seconds, at every further failure for twice as
                    long, at most five minutes; who asks after that starts the loading again.

    A failure is nobody else's: the process goes on, and answers everything but reranking.
    """

    def __init__(self, load: LoadScorer, clock: Callable[[], float] = time.monotonic) -> None:
        self._load = load
        self._scorer: PairScorer | None = None
        self._loading: asyncio.Task[None] | None = None
        self._failure = ""
        self._ended = False
        self._clock = clock
        self._pause_s = _FIRST_PAUSE_S
        self._retry_at = -math.inf

    @property
    def state(self) -> str:
        """`not loaded yet`, `loading`, `loaded`, or `failed: …` with the reason."""
        if self._scorer is not None:
            return "loaded"
        if self._loading is not None:
            return "loading"
        return f"failed: {self._failure}" if self._failure else "not loaded yet"

    def start(self) -> None:
        """Begin to load, unless that was done, or failed a moment ago."""
        if self._ended or self._scorer is not None or self._loading is not None:
            return
        if self._time_left_s() <= 0:
            # Not in the context of the request that happened to ask first: it loads for all who come.
            context = contextvars.Context()
            self._loading = asyncio.create_task(self._run(), name="rerank-model-loading", context=context)

    async def scorer(self) -> PairScorer:
        """Waits for the loading. Raises RerankModelFailed."""
        self.start()
        if self._loading is not None:
            await asyncio.wait([self._loading])
        if self._scorer is None:
            raise RerankModelFailed(f"The reranking model cannot be loaded: {self._failure}", self._time_left_s())
        return self._scorer

    def give_up(self) -> None:
        """The process ends: who waits is told at once, and nothing is loaded any more. May be repeated."""
        self._ended, self._failure = True, "the process is shutting down"
        if self._loading is not None:
            self._loading.cancel()

    async def close(self) -> None:
        """Gives up, and waits for that; the thread that loads is left to itself."""
        self.give_up()
        if self._loading is not None:
            await asyncio.wait([self._loading])

    def _time_left_s(self) -> float:
        return max(self._retry_at - self._clock(), 0)

    async def _run(self) -> None:
        try:
            self._scorer = await self._load()
        except SidecarError as error:
            self._fail(str(error))
        except (asyncio.CancelledError, KeyboardInterrupt):
            raise
        except BaseException:  # a panic of a library in Rust is no Exception
            logger.exception("Loading the reranking model failed.")
            self._fail("something went wrong here; the log has more")
        finally:
            self._loading = None

    def _fail(self, reason: str) -> None:
        logger.error("The reranking model cannot be loaded; who asks after %g s tries again: %s", self._pause_s, reason)
        self._failure = reason
        self._retry_at = self._clock() + self._pause_s
        self._pause_s = min(2 * self._pause_s, _MAX_PAUSE_S)

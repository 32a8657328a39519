"""Reranking: a cross-encoder, loaded on first use, scores documents by how well they answer a query."""

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
from sidecar.concurrency import Backoff
from sidecar.error_lines import describe
from sidecar.errors import DeviceError, RerankModelFailed, SidecarError
from sidecar.telemetry.telemetry import Stage

logger = logging.getLogger(__name__)

LoadScorer: TypeAlias = Callable[[], Awaitable[PairScorer]]

_FIRST_PAUSE_S = 5.0
_MAX_PAUSE_S = 300.0


@dataclass(frozen=True, slots=True)
class ScoredDocuments:
    """`raw` is (n,) float32, the model's scores in the order of the documents: higher is better, any range, NaN where
    the model computes no finite score.

    `truncated`: of which documents the model read only the beginning; `tokens`: how many it read in all.
    """

    raw: NDArray[np.float32]
    truncated: Sequence[bool]
    tokens: int


class Reranker:
    """Scores documents on the lane RERANK. `model_id` is known before the model is loaded."""

    def __init__(self, model_id: str, scorer: LazyScorer, batcher: Batcher) -> None:
        self.model_id = model_id
        self._scorer = scorer
        self._batcher = batcher
        self._bulk = BulkRequests(batcher, Lane.RERANK)
        self._fault = ""  # of the device, when it last scored pairs

    @property
    def state(self) -> str:
        """`not loaded yet`, `loading`, `loaded`, or `failed: …` with the reason.

        `failing: …`: the model is loaded, and the device failed on its last pairs.
        """
        return f"failing: {self._fault}" if self._fault else self._scorer.state

    def reject_if_full(self) -> None:
        """Raises Overloaded if no document fits into the lane now: called before work is spent on a request."""
        self._batcher.reject_if_full(Lane.RERANK)

    async def score(self, query: str, documents: Sequence[str]) -> NDArray[np.float32]:
        """(n,) float32 raw scores in the order of the documents; raises what `score_documents` does."""
        return (await self.score_documents(query, documents)).raw

    async def score_documents(
        self, query: str, documents: Sequence[str], max_document_tokens: int | None = None
    ) -> ScoredDocuments:
        """Scores the documents, loading the model first if necessary. Equal documents are scored once.

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
        return _in_document_order(documents, raw_of, dict(zip(unique, pairs, strict=True)))

    async def _score(
        self, query: str, unique: Sequence[str], max_document_tokens: int | None
    ) -> tuple[list[PreparedPair], list[np.float32]]:
        if self._bulk.is_bulk(len(unique)):
            with self._bulk.reserve(len(unique)):
                scorer, pairs = await self._load_and_prepare(query, unique, max_document_tokens)
                score = partial(self._batcher.score_pairs, scorer, may_block=True)
                raw = await _score_by_length(pairs, lambda ordered: self._bulk.encode(ordered, score))
        else:
            with self._batcher.preparing(Lane.RERANK, len(unique)):
                scorer, pairs = await self._load_and_prepare(query, unique, max_document_tokens)
            raw = await _score_by_length(pairs, partial(self._batcher.score_pairs, scorer))
        if np.isnan(raw).any():
            await self._batcher.check_device(Kind.PAIR, Lane.RERANK)
        return pairs, raw

    async def _load_and_prepare(
        self, query: str, documents: Sequence[str], max_document_tokens: int | None
    ) -> tuple[PairScorer, list[PreparedPair]]:
        scorer = await self._scorer.get()
        with self._batcher.telemetry.stage(Stage.PREPARE, Lane.RERANK.value, "prepare"):
            return scorer, await self._prepare(scorer, query, documents, max_document_tokens)

    async def _prepare(
        self, scorer: PairScorer, query: str, documents: Sequence[str], max_document_tokens: int | None
    ) -> list[PreparedPair]:
        """Tokenises a few documents at a time, so that no thread runs on for long once the caller is cancelled."""
        pairs: list[PreparedPair] = []
        for chunk in split_texts(documents):
            prepare = partial(scorer.prepare_pairs, query, chunk, max_document_tokens)
            pairs += await self._batcher.preparation.run(Lane.RERANK, prepare)
        return pairs


async def _score_by_length(
    pairs: Sequence[PreparedPair], score: Callable[[Sequence[PreparedPair]], Awaitable[Iterable[np.float32]]]
) -> list[np.float32]:
    """Scores in the order of the pairs. Pairs of similar length are scored together, so that little is padded."""
    order = sorted(range(len(pairs)), key=lambda index: len(pairs[index].token_ids))
    raw = dict(zip(order, await score([pairs[index] for index in order]), strict=True))
    return [raw[index] for index in range(len(pairs))]


def _in_document_order(
    documents: Sequence[str], raw_of: dict[str, np.float32], pair_of: dict[str, PreparedPair]
) -> ScoredDocuments:
    return ScoredDocuments(
        raw=np.array([raw_of[document] for document in documents], np.float32),
        truncated=[pair_of[document].truncated for document in documents],
        tokens=sum(len(pair.token_ids) for pair in pair_of.values()),
    )


class LazyScorer:
    """A cross-encoder that is loaded once, on first use.

        ABSENT      not requested yet. The first caller starts the loading.
        LOADING     in its own task, unaffected by cancelled callers; each caller waits up to its own deadline.
        LOADED      for good.
        FAILED      waiting callers get the reason, and so does every caller during a pause of five seconds, doubled
                    with every further failure up to five minutes. The first caller after the pause starts it again.

    A failure affects reranking only; the process goes on to answer everything else.
    """

    def __init__(self, load: LoadScorer, clock: Callable[[], float] = time.monotonic) -> None:
        self._load = load
        self._scorer: PairScorer | None = None
        self._loading: asyncio.Task[None] | None = None
        self._failure = ""
        self._ended = False
        self._clock = clock
        self._pauses = Backoff(_FIRST_PAUSE_S, _MAX_PAUSE_S, jitter=0)
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
        """Starts loading, unless that was done already or a pause after a failure is not over."""
        if self._ended or self._scorer is not None or self._loading is not None:
            return
        if self._pause_left_s() <= 0:
            # Not in the context of the first caller's request: the model is loaded for all of them.
            context = contextvars.Context()
            self._loading = asyncio.create_task(self._run(), name="rerank-model-loading", context=context)

    async def get(self) -> PairScorer:
        """The scorer, once it is loaded. Raises RerankModelFailed."""
        self.start()
        if self._loading is not None:
            await asyncio.wait([self._loading])
        if self._scorer is None:
            raise RerankModelFailed(f"The reranking model cannot be loaded: {self._failure}", self._pause_left_s())
        return self._scorer

    def cancel(self) -> None:
        """Stops loading for good, because the process ends: waiting callers fail at once. Idempotent."""
        self._ended, self._failure = True, "the process is shutting down"
        if self._loading is not None:
            self._loading.cancel()

    async def close(self) -> None:
        """Cancels, and waits for the task to end. The thread that loads is not waited for."""
        self.cancel()
        if self._loading is not None:
            await asyncio.wait([self._loading])

    def _pause_left_s(self) -> float:
        return max(self._retry_at - self._clock(), 0)

    async def _run(self) -> None:
        try:
            self._scorer = await self._load()
        except SidecarError as error:
            self._start_pause(describe(error))
        except (asyncio.CancelledError, KeyboardInterrupt):
            raise
        except BaseException:  # a panic of a library in Rust is not an Exception
            logger.exception("Loading the reranking model failed.")
            self._start_pause("something went wrong here; the log has more")
        finally:
            self._loading = None

    def _start_pause(self, reason: str) -> None:
        """Keeps the reason of a failed load, and allows the next load after a pause."""
        pause_s = self._pauses.next_s()
        logger.error(
            "The reranking model cannot be loaded; the first request after %g s tries again: %s", pause_s, reason
        )
        self._failure = reason
        self._retry_at = self._clock() + pause_s

"""Loads the cross-encoder when somebody asks for it, once, and again after a failure."""

from __future__ import annotations

import asyncio
import contextvars
import logging
import math
import time
from collections.abc import Awaitable, Callable
from typing import TypeAlias

from sidecar.batching.pair_scorer import PairScorer
from sidecar.errors import SidecarError

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

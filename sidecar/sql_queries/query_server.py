"""Answers the requests for query vectors that sessions make in SQL, with sidecar.embed.

    session                           sidecar
    request_vector: row + NOTIFY ──►  listens: the payload is the id of the row
                                      take: ours from now on
                                      embed in the QUERY lane, each request a task of its own
    read_answer, every few ms    ◄──  answer: vector or error, in the row, which is the cache from now on

One connection does all of this: it listens, and its loop takes what has arrived and writes what is done, in batches. So
a burst of requests costs two statements, and a pool cannot starve them. After losing its connection it reconnects; the
sessions that wait find the lock of the lost one free, and hand their requests to another sidecar, or to this one again.
"""

from __future__ import annotations

import asyncio
import logging
import re
import time
from collections.abc import Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import numpy as np
from numpy.typing import NDArray
from pydantic import SecretStr

from sidecar.batching.embedder import Embedder
from sidecar.batching.encoder import Encoder
from sidecar.batching.job import Lane
from sidecar.concurrency import Backoff, cancel_and_wait
from sidecar.errors import (
    DatabaseError,
    DatabaseUnavailable,
    DecoderUnavailable,
    DeviceError,
    InputError,
    Overloaded,
    SchemaError,
    StatementRejected,
    WatchChanged,
)
from sidecar.postgres.database import close_session, open_session, reconnect_backoff, translate_asyncpg_errors
from sidecar.postgres.heartbeat import Identity
from sidecar.postgres.outage import Outage, SessionTrouble
from sidecar.postgres.query_requests import (
    NO_SIDECAR,
    NOT_EMBEDDABLE,
    OVERLOADED,
    QueryAnswer,
    QueryRequest,
    QueryRequests,
    Refusal,
)
from sidecar.postgres.trouble_log import TroubleLog
from sidecar.settings import Settings
from sidecar.telemetry.telemetry import Telemetry

if TYPE_CHECKING:
    import asyncpg

logger = logging.getLogger(__name__)

CHANNEL = "sidecar_queries"
SEARCH_INTERVAL_S = 1.0  # for requests whose notification was missed
RENEWAL_INTERVAL_S = 2.0
CLEANING_INTERVAL_S = 5.0  # while there are answers
IDLE_CLEANING_INTERVAL_S = 60.0
REFUSED_RETRY_S = 5.0  # behind a pooler, without rights, or before the migration
STATEMENT_TIMEOUT_S = 10.0  # a dead peer does not say so
_SMOOTHING = 0.1
_ID = re.compile(r"[1-9][0-9]{0,17}")  # of a bigint
MAX_TAKEN = 1000  # more than this wait in the table, not in this process


class QueryServer:
    """Answers requests until cancelled. The settings must have a `database_url`."""

    def __init__(
        self,
        settings: Settings,
        embedder: Embedder,
        encoder: Encoder,
        telemetry: Telemetry | None = None,
        outage: Outage | None = None,
    ) -> None:
        url = settings.listen_database_url or settings.database_url
        if url is None:
            raise ValueError("queries in SQL need DATABASE_URL")
        self._url: SecretStr = url
        self._embedder = embedder
        self._telemetry = telemetry or Telemetry()
        self._model = encoder.model_id, encoder.fingerprint, encoder.dimensions
        self._cache_bytes = settings.sql_query_cache_bytes
        self._max_bytes = {"text": settings.max_body_bytes, "image": settings.max_image_bytes}
        self._trouble = SessionTrouble(TroubleLog(logger, "queries in SQL are not answered"), outage or Outage())

    async def run(self) -> None:
        """Connects, answers and reconnects until cancelled."""
        backoff = reconnect_backoff()
        while True:
            try:
                connection = await open_session(self._url)
            except DatabaseError as error:
                self._trouble.refused(error)
                if isinstance(error, StatementRejected):
                    backoff = Backoff(REFUSED_RETRY_S, REFUSED_RETRY_S)
            else:
                try:
                    await self._answer_over(connection)
                except (StatementRejected, WatchChanged, SchemaError) as error:
                    self._trouble.refused(error)
                    backoff = Backoff(REFUSED_RETRY_S, REFUSED_RETRY_S)
                except DatabaseError as error:
                    self._trouble.lost(error)
                    backoff = reconnect_backoff()
                finally:
                    await close_session(connection)
            await asyncio.sleep(backoff.next_s())

    async def _answer_over(self, connection: asyncpg.Connection[asyncpg.Record]) -> None:
        """Answers until the connection is lost. Raises DatabaseError."""
        # A new id for each connection: its lock tells sessions which requests were lost with the old one.
        requests = QueryRequests(connection, Identity(uuid4(), *self._model))
        answering = _Answering(requests, self._embedder, self._telemetry, self._max_bytes)
        with translate_asyncpg_errors():
            await requests.register()
            await connection.add_listener(CHANNEL, answering.on_notification)
            connection.add_termination_listener(lambda _connection: answering.wake.set())
            self._trouble.opened()
            try:
                await answering.run(self._cache_bytes)
            except TimeoutError as error:
                raise DatabaseUnavailable(f"no answer within {STATEMENT_TIMEOUT_S:g} s") from error
            finally:
                await answering.cancel()
                if not connection.is_closed():
                    with suppress(Exception):
                        await asyncio.wait_for(requests.sign_off(), 1)


class _Answering:
    """The requests that are in flight over one connection."""

    def __init__(
        self, requests: QueryRequests, embedder: Embedder, telemetry: Telemetry, max_bytes: Mapping[str, int]
    ) -> None:
        self._requests = requests
        self._embedder = embedder
        self._telemetry = telemetry
        self._max_bytes = max_bytes
        self._waiting: list[int] = []  # ids of notifications
        self._tasks: set[asyncio.Task[None]] = set()
        self._answers: list[QueryAnswer] = []
        self._answer_s: float | None = None  # a moving average
        self._has_answered = False  # since old answers were deleted
        self.wake = asyncio.Event()

    def on_notification(self, _connection: Any, _pid: int, _channel: str, payload: object) -> None:
        # Anybody may notify, whatever and as often as they like: `find` finds what is left out here.
        if _ID.fullmatch(str(payload)) and len(self._waiting) < MAX_TAKEN:
            self._waiting.append(int(str(payload)))
            self.wake.set()

    async def run(self, cache_bytes: int) -> None:
        """Takes and answers requests. Raises asyncpg's errors once the connection is lost."""
        clock = asyncio.get_running_loop().time
        searched_s, renewed_s, cleaned_s = -SEARCH_INTERVAL_S, clock(), clock()
        while True:
            self.wake.clear()
            async with asyncio.timeout(STATEMENT_TIMEOUT_S):
                await self._write_answers()
                if clock() >= searched_s + SEARCH_INTERVAL_S:
                    searched_s = clock()
                    self._waiting = [*dict.fromkeys([*self._waiting, *await self._requests.find()])]
                await self._take()
                if clock() >= renewed_s + RENEWAL_INTERVAL_S:
                    renewed_s = clock()
                    await self._requests.renew(self._answer_s)
                if clock() >= cleaned_s + (CLEANING_INTERVAL_S if self._has_answered else IDLE_CLEANING_INTERVAL_S):
                    cleaned_s, self._has_answered = clock(), False
                    await self._requests.delete_old(cache_bytes)
            if not self._answers:
                with suppress(TimeoutError):
                    await asyncio.wait_for(self.wake.wait(), max(searched_s + SEARCH_INTERVAL_S - clock(), 0.001))

    async def cancel(self) -> None:
        await cancel_and_wait(self._tasks)

    async def _write_answers(self) -> None:
        if self._answers:
            answers, self._answers, self._has_answered = self._answers, [], True
            await self._requests.answer(answers)

    async def _take(self) -> None:
        room = MAX_TAKEN - len(self._tasks)
        if not self._waiting or not room:
            return
        ids, self._waiting = self._waiting[:room], self._waiting[room:]
        for request in await self._requests.take(ids, max(self._max_bytes.values())):
            task = asyncio.create_task(self._answer(request), name=f"sql-query-{request.id}")
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _answer(self, request: QueryRequest) -> None:
        """Embeds one request. An answer after its deadline is kept all the same: the next one to ask finds it."""
        began_s = time.perf_counter()
        try:
            outcome, result = await self._embed_or_refuse(request)
        except Exception:
            logger.exception("request %d for a query vector failed", request.id)
            outcome, result = "failed", Refusal(NO_SIDECAR, "the sidecar failed: its log has the reason")
        duration_s = time.perf_counter() - began_s
        self._telemetry.sql_query_answered(outcome, duration_s)
        if outcome == "embedded":
            earlier_s = duration_s if self._answer_s is None else self._answer_s
            self._answer_s = earlier_s + _SMOOTHING * (duration_s - earlier_s)
        self._answers.append(QueryAnswer(request.id, result))
        self.wake.set()

    async def _embed_or_refuse(self, request: QueryRequest) -> tuple[str, NDArray[np.float32] | Refusal]:
        """The outcome, as the metrics name it, and the vector or what sidecar.embed raises."""
        try:
            return "embedded", await self._embed(request)
        except InputError as error:
            return "rejected", Refusal(NOT_EMBEDDABLE, error.message)
        except Overloaded as error:
            return "overloaded", Refusal(OVERLOADED, f"{error} Try again in {error.retry_after_s:.3g} s.")
        except (DeviceError, DecoderUnavailable) as error:
            return "failed", Refusal(NO_SIDECAR, f"the sidecar cannot embed at present: {error}")

    async def _embed(self, request: QueryRequest) -> NDArray[np.float32]:
        """A (dimensions,) float32 vector. Raises InputError, Overloaded, DeviceError, DecoderUnavailable."""
        limit = self._max_bytes[request.kind]
        if request.content is None or request.bytes > limit:
            code = "too_many_bytes"
            raise InputError(code, f"The content has {request.bytes} bytes; at most {limit} are embedded.")
        if request.kind == "image":
            return (await self._embedder.embed_picture(request.content, Lane.QUERY)).vector
        try:
            text = request.content.decode()
        except UnicodeDecodeError as error:  # not by sidecar.embed, which takes texts of the database
            raise InputError("not_a_text", f"The content is no text in UTF-8: {error.reason}.") from error
        (answer,) = await self._embedder.embed_texts([text], Lane.QUERY)
        if isinstance(answer, InputError):
            raise answer
        return answer.vector

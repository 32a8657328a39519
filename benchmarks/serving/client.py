"""A cheap HTTP/1.1 client: keep-alive over a bare asyncio protocol, with answers by callback.

It sends prepared requests, one at a time per connection, and reads only status, `Retry-After` and length of an answer.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeAlias, cast

import orjson


@dataclass(frozen=True, slots=True)
class Answer:
    """`status` 0: the connection was refused or lost. `latency_s` is measured from when the request was due.

    `answered_at` is a time of perf_counter().
    """

    status: int
    latency_s: float
    answered_at: float
    has_retry_after: bool = False


OnAnswer: TypeAlias = Callable[[Answer], object]


def text_request(text: str) -> bytes:
    """A request for the vector of one text."""
    return _request("/embed/text", {"text": text})


def texts_request(texts: Sequence[str]) -> bytes:
    """A request for the vectors of several texts."""
    return _request("/embed/text/batch", {"texts": texts})


def _request(path: str, content: object) -> bytes:
    body = orjson.dumps(content)
    head = f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: {len(body)}"
    return head.encode() + b"\r\n\r\n" + body


class Connection(asyncio.Protocol):
    """A connection with at most one request in flight. `open` is False once the server has closed it."""

    def __init__(self) -> None:
        self.open = True
        self._transport: asyncio.Transport | None = None
        self._on_answer: OnAnswer | None = None
        self._began = 0.0
        self._received = b""
        self._missing = 0  # bytes of the body not yet received
        self._answer: tuple[int, bool] = (0, False)

    def send(self, request: bytes, on_answer: OnAnswer, due: float | None = None) -> None:
        """`due`, a time of perf_counter(), is when the request should have been sent; None: now."""
        assert self._transport is not None
        assert self._on_answer is None, "another request is in flight"
        self._on_answer = on_answer
        self._began = time.perf_counter() if due is None else due
        self._transport.write(request)

    def close(self) -> None:
        if self._transport is not None:
            self._transport.close()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        if self._missing:
            self._missing -= len(data)
        else:
            self._received += data
            end = self._received.find(b"\r\n\r\n")
            if end < 0:
                return
            self._read_head(self._received[:end].lower())
            self._missing -= len(self._received) - end - 4
            self._received = b""
        if self._missing == 0:
            self._finish(*self._answer)

    def connection_lost(self, _error: Exception | None) -> None:
        self.open = False
        self._finish(0, has_retry_after=False)

    def _read_head(self, head: bytes) -> None:
        self._answer = (int(head[9:12]), b"\r\nretry-after:" in head)
        if b"\r\nconnection: close" in head:
            self.open = False
        length = head.partition(b"\r\ncontent-length:")[2].partition(b"\r\n")[0]
        self._missing = int(length)

    def _finish(self, status: int, has_retry_after: bool) -> None:
        on_answer, self._on_answer = self._on_answer, None
        if on_answer is not None:
            now = time.perf_counter()
            on_answer(Answer(status, now - self._began, now, has_retry_after))


async def connect(port: int) -> Connection:
    """Connect to a server on loopback. Raises OSError."""
    _, connection = await asyncio.get_running_loop().create_connection(Connection, "127.0.0.1", port)
    return connection

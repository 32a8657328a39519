"""Requests as raw bytes, sent in arbitrary pieces, and their answers."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

PATIENCE_S = 10


@dataclass(frozen=True, slots=True)
class Answer:
    """An HTTP response. Names in `headers` are in lower case."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def code(self) -> str:
        """The code of an error response."""
        error = self.json["error"]
        assert set(error) == {"code", "message", "type", "param"}
        assert self.headers["content-type"] == "application/json"
        assert self.headers["x-request-id"]
        return str(error["code"])


class RawConnection:
    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    async def send(self, *pieces: bytes) -> None:
        """Sends each piece in a segment of its own, if the network stack keeps them apart."""
        for piece in pieces:
            self._writer.write(piece)
            await self._writer.drain()
            await asyncio.sleep(0)  # the server is in this loop: it reads between two pieces

    def end_sending(self) -> None:
        self._writer.write_eof()

    async def answer(self) -> Answer:
        """The next answer, skipping interim ones."""
        while True:
            head = await asyncio.wait_for(self._reader.readuntil(b"\r\n\r\n"), PATIENCE_S)
            status_line, *lines = head.decode("latin-1").rstrip("\r\n").split("\r\n")
            status = int(status_line.split()[1])
            if status >= 200:
                headers = {name.lower(): value for name, value in (line.split(": ", 1) for line in lines)}
                body = await asyncio.wait_for(self._reader.readexactly(int(headers["content-length"])), PATIENCE_S)
                return Answer(status, headers, body)

    async def interim(self) -> bytes:
        """The next head, in raw bytes."""
        return await asyncio.wait_for(self._reader.readuntil(b"\r\n\r\n"), PATIENCE_S)

    async def rest(self) -> bytes:
        """Everything that arrives until the server closes."""
        return await asyncio.wait_for(self._reader.read(), PATIENCE_S)


@asynccontextmanager
async def raw_connection(port: int, host: str = "127.0.0.1") -> AsyncIterator[RawConnection]:
    reader, writer = await asyncio.open_connection(host, port)
    writer.get_extra_info("socket").setsockopt(6, 1, 1)  # TCP_NODELAY
    try:
        yield RawConnection(reader, writer)
    finally:
        writer.close()


async def answers_to(port: int, *pieces: bytes, count: int = 1) -> list[Answer]:
    """The answers to `pieces`, sent over one connection. Checks that it still serves another request."""
    async with raw_connection(port) as connection:
        await connection.send(*pieces)
        answers = [await connection.answer() for _ in range(count)]
        await connection.send(b"GET /livez HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        last = await connection.answer()
        assert (last.status, last.json) == (200, {"status": "alive"})
        assert await connection.rest() == b""
        return answers


def text_request(text: str, headers: Iterable[bytes] = (), *, framing: str = "length") -> tuple[bytes, bytes]:
    """Head and body of a request to /embed/text; `framing` is `length`, `chunked` or `none`, for a GET without body."""
    body = json.dumps({"text": text}).encode()
    lines = [b"POST /embed/text HTTP/1.1", b"Host: localhost", b"Content-Type: application/json", *headers]
    if framing == "length":
        lines.append(b"Content-Length: %d" % len(body))
    elif framing == "chunked":
        lines.append(b"Transfer-Encoding: chunked")
        body = b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in re.findall(rb".{1,7}", body)) + b"0\r\n\r\n"
    else:
        lines[0], body = b"GET /livez HTTP/1.1", b""
    return b"\r\n".join([*lines, b"", b""]), body

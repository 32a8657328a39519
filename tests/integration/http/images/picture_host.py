"""A TLS web server with scripted responses, and a scripted resolver."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from ipaddress import ip_address
from typing import TypeAlias

from sidecar.http.images.public_addresses import IPAddress

Answer: TypeAlias = Callable[[asyncio.StreamWriter], Awaitable[None]]


def answer(status: int = 200, body: bytes = b"", **headers: str) -> Answer:
    """A complete response; keywords are headers, `content_type="image/png"`."""

    async def write(writer: asyncio.StreamWriter) -> None:
        lines = [f"HTTP/1.1 {status} Said", f"Content-Length: {len(body)}"]
        lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
        writer.write("\r\n".join(lines).encode() + b"\r\n\r\n" + body)

    return write


class PictureHost:
    """A web server that answers by path from `answers`, and records request heads and the number of connections."""

    def __init__(self) -> None:
        self.answers: dict[str, Answer] = {}
        self.requests: list[str] = []
        self.connections = 0
        self.port = 0
        self._serving: set[asyncio.Task[None]] = set()

    @asynccontextmanager
    async def running(self, context: ssl.SSLContext, address: str = "127.0.0.1") -> AsyncIterator[PictureHost]:
        server = await asyncio.start_server(self._serve, address, self.port, ssl=context)
        self.port = int(server.sockets[0].getsockname()[1])
        try:
            yield self
        finally:
            server.close()
            await asyncio.gather(*self._serving)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        task = asyncio.current_task()
        assert task is not None
        self._serving.add(task)
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode()
            self.requests.append(head)
            await self.answers[head.split()[1]](writer)
            await writer.drain()
        except (ConnectionError, asyncio.IncompleteReadError):
            pass  # the client disconnected
        finally:
            writer.close()
            self._serving.remove(task)


class Names:
    """A resolver that answers with each of a name's `addresses` in turn, repeating the last; `asked` records names."""

    def __init__(self, **addresses: list[list[str]]) -> None:
        self.addresses = {name.replace("__", "."): answers for name, answers in addresses.items()}
        self.asked: list[str] = []

    async def __call__(self, host: str) -> list[IPAddress]:
        self.asked.append(host)
        answers = self.addresses.get(host)
        if not answers:
            raise OSError("Name or service not known")
        found = answers.pop(0) if len(answers) > 1 else answers[0]
        return [ip_address(address) for address in found]

"""A proxy to the database that can be cut."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any, TypeAlias
from urllib.parse import urlsplit, urlunsplit

from sidecar.concurrency import cancel_and_wait

Copy: TypeAlias = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Coroutine[Any, Any, None]]


class Proxy:
    """Passes bytes to the server at `database_url`. `url` is the address through the proxy."""

    def __init__(self, database_url: str) -> None:
        self._target = urlsplit(database_url)
        self._pipes: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None
        self._port = 0

    @property
    def url(self) -> str:
        user = self._target.netloc.rpartition("@")[0]
        return urlunsplit(self._target._replace(netloc=f"{user}@127.0.0.1:{self._port}"))

    async def open(self) -> None:
        """Accepts connections, on the same port each time."""
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self._port)
        self._port = self._server.sockets[0].getsockname()[1]

    async def cut(self) -> None:
        """Breaks all connections and refuses new ones, as when the server's machine goes down."""
        assert self._server is not None
        self._server.close()
        await cancel_and_wait(self._pipes)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await self._connect(reader, writer, _copy, _copy)

    async def _connect(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, there: Copy, back: Copy
    ) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._pipes.add(task)
        to_server: asyncio.StreamWriter | None = None
        try:
            from_server, to_server = await asyncio.open_connection(self._target.hostname, self._target.port)
            async with asyncio.TaskGroup() as group:
                group.create_task(there(reader, to_server))
                group.create_task(back(from_server, writer))
        except* (OSError, EOFError, asyncio.CancelledError):
            pass
        finally:
            for each in (writer, to_server):
                if each is not None:
                    each.transport.abort()
            self._pipes.discard(task)


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(65536):
        writer.write(data)
        await writer.drain()
    raise ConnectionResetError


@asynccontextmanager
async def proxy(database_url: str) -> AsyncIterator[Proxy]:
    """A running proxy."""
    made = Proxy(database_url)
    await made.open()
    try:
        yield made
    finally:
        await made.cut()

"""A proxy to the database that freezes between two protocol messages, as a stopped sidecar does."""

from __future__ import annotations

import asyncio
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from tests.integration.ingest.proxy import Proxy

SSL_REQUEST = 80877103


class MessageProxy(Proxy):
    """`passed` are the types of the messages sent to the server since `freeze_after` was called."""

    def __init__(self, database_url: str) -> None:
        super().__init__(database_url)
        self.passed: list[str] = []
        self.frozen = asyncio.Event()
        self._left: float = float("inf")
        self._thawed = asyncio.Event()
        self._thawed.set()

    def freeze_after(self, messages: float) -> None:
        """Freezes after so many more messages to the server, counted over all connections, until `thaw`."""
        self.passed.clear()
        self.frozen.clear()
        self._left = messages
        self._freeze_if_due()

    def thaw(self) -> None:
        """Sends what was held back."""
        self._left = float("inf")
        self._thawed.set()

    def _freeze_if_due(self) -> None:
        if self._left <= 0:
            self._thawed.clear()
            self.frozen.set()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await self._connect(reader, writer, self._pass_messages, self._pass_back)

    async def _pass_messages(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        code = SSL_REQUEST
        while code == SSL_REQUEST:
            head = await reader.readexactly(8)
            length, code = struct.unpack("!ii", head)
            writer.write(head + await reader.readexactly(length - 8))
        while True:
            head = await reader.readexactly(5)
            body = await reader.readexactly(struct.unpack("!i", head[1:])[0] - 4)
            await self._thawed.wait()
            writer.write(head + body)
            await writer.drain()
            self.passed.append(head[:1].decode())
            self._left -= 1
            self._freeze_if_due()

    async def _pass_back(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(65536):
            await self._thawed.wait()
            writer.write(data)
            await writer.drain()
        raise ConnectionResetError


@asynccontextmanager
async def message_proxy(database_url: str) -> AsyncIterator[MessageProxy]:
    """A running proxy."""
    made = MessageProxy(database_url)
    await made.open()
    try:
        yield made
    finally:
        made.thaw()
        await made.cut()

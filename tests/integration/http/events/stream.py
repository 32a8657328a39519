"""Reads server-sent events of a live server."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import httpx

from tests.waiting import PATIENCE_S


class Stream:
    """An open answer of /events."""

    def __init__(self, response: httpx.Response) -> None:
        self.response = response
        self._lines: AsyncGenerator[str, None] = response.aiter_lines()  # type: ignore[assignment] # it is one

    async def next(self) -> tuple[str, Any]:
        """Name and data of the next event. Raises StopAsyncIteration at the end."""
        async with asyncio.timeout(PATIENCE_S):
            name = await anext(self._lines)
            data = await anext(self._lines)
            assert await anext(self._lines) == ""
        return name.removeprefix("event: "), json.loads(data.removeprefix("data: "))

    async def next_of(self, name: str, wanted: Callable[[Any], object] = lambda _data: True) -> Any:
        """The data of the next event of that name that is `wanted`."""
        while True:
            found, data = await self.next()
            if found == name and wanted(data):
                return data

    async def close(self) -> None:
        await self._lines.aclose()

    async def read_to_end(self) -> None:
        async with asyncio.timeout(PATIENCE_S):
            async for _ in self._lines:
                pass


@asynccontextmanager
async def listening(url: str, key: str = "") -> AsyncIterator[Stream]:
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    async with (
        httpx.AsyncClient(timeout=PATIENCE_S) as client,
        client.stream("GET", f"{url}/events", headers=headers) as response,
    ):
        stream = Stream(response)
        try:
            yield stream
        finally:
            await stream.close()

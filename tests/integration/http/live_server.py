"""The application behind a real uvicorn on a loopback port, in this process."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

import httpx
import uvicorn

from sidecar.app import create_app
from sidecar.batching.encoder import Encoder
from sidecar.server import server_config
from tests.integration.http.conftest import is_ready, make_settings
from tests.waiting import wait_until_async


class _Server(uvicorn.Server):
    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


@asynccontextmanager
async def live_server(encoder: Encoder, *, host: str = "127.0.0.1", **changes: Any) -> AsyncIterator[int]:
    """Yields the port of a ready server, configured as by `sidecar serve`; `changes` are fields of Settings."""
    settings = make_settings(**changes)
    config = server_config(settings, create_app(settings, load_encoder=lambda _settings: encoder))
    with socket.create_server((host, 0)) as listener:
        server = _Server(config)
        port = int(listener.getsockname()[1])
        serving = asyncio.create_task(server.serve(sockets=[listener]), name="uvicorn")
        try:
            async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}") as client:
                await wait_until_async(lambda: _answers(client), "the server to be ready")
            yield port
        finally:
            server.should_exit = True
            await serving


async def _answers(client: httpx.AsyncClient) -> bool:
    try:
        return await is_ready(client)
    except httpx.TransportError:
        return False

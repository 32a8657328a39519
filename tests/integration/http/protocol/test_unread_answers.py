"""Clients that do not read their answers are disconnected; slow readers get them whole."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager

import psutil
import pytest
import uvicorn
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from sidecar.http.json_response import LargeJsonResponse, serialize_list
from sidecar.http.protocol import bounded_protocol
from sidecar.http.protocol.bounded_protocol import BoundedHttpProtocol
from tests.waiting import wait_until_async

PATIENCE_S = 10
INTERVAL_S = 0.4
LARGE, SMALL = 3_000_000, 50_000


class _Server(uvicorn.Server):
    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


async def answer_bytes(scope: Scope, receive: Receive, send: Send) -> None:
    """An application that answers with as many bytes as the path says; in pieces, if it ends with a slash."""
    path = Request(scope).url.path
    size = int(path.strip("/"))
    whole = Response(b"x" * size)
    in_pieces = LargeJsonResponse(await serialize_list(["x" * 5_000] * (size // 5_000)))
    await (in_pieces if path.endswith("/") else whole)(scope, receive, send)


@pytest.fixture
async def port(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[int]:
    """The port of a server with minimal socket buffers, so that answers stay in its own."""
    monkeypatch.setattr(bounded_protocol, "READER_INTERVAL_S", INTERVAL_S)
    monkeypatch.setattr(bounded_protocol, "MIN_READ_BYTES", 100_000)
    config = uvicorn.Config(
        answer_bytes, lifespan="off", log_config=None, http=BoundedHttpProtocol, timeout_keep_alive=1
    )
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
        server = _Server(config)
        serving = asyncio.create_task(server.serve(sockets=[listener]), name="uvicorn")
        yield int(listener.getsockname()[1])
        server.should_exit = True
        await serving


@asynccontextmanager
async def asked(port: int, size: int, header: bytes = b"", *, in_pieces: bool = False) -> AsyncIterator[socket.socket]:
    """A client that requested `size` bytes, with a minimal receive buffer."""
    loop = asyncio.get_running_loop()
    with socket.socket() as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        client.setblocking(False)
        await loop.sock_connect(client, ("127.0.0.1", port))
        path = b"/%d/" % size if in_pieces else b"/%d" % size
        await loop.sock_sendall(client, b"GET %s HTTP/1.1\r\nHost: localhost\r\n%s\r\n" % (path, header))
        await wait_until_async(lambda: is_held(client), "the server to accept")
        yield client


async def is_held(client: socket.socket) -> bool:
    """Whether the server's side of the connection is still open."""
    mine = client.getsockname()
    return any(each.raddr == mine for each in psutil.Process().net_connections("tcp4"))


async def pause(duration_s: float) -> None:
    over = asyncio.Event()
    asyncio.get_running_loop().call_later(duration_s, over.set)
    await over.wait()


async def is_dropped(client: socket.socket) -> bool:
    return not await is_held(client)


@pytest.mark.parametrize("header", [b"", b"Connection: close\r\n"])
@pytest.mark.parametrize("size", [LARGE, SMALL])
async def test_a_client_that_does_not_read_an_answer_is_disconnected(port: int, size: int, header: bytes) -> None:
    async with asked(port, size, header) as client:
        await wait_until_async(lambda: is_dropped(client), "the server to hang up", timeout_s=PATIENCE_S)


async def test_a_client_that_does_not_read_an_answer_in_pieces_is_disconnected(port: int) -> None:
    async with asked(port, LARGE, in_pieces=True) as client:
        await wait_until_async(lambda: is_dropped(client), "the server to hang up", timeout_s=PATIENCE_S)


async def test_a_client_that_sends_requests_without_reading_is_disconnected(port: int) -> None:
    async with asked(port, LARGE) as client:
        await asyncio.get_running_loop().sock_sendall(client, b"GET /1 HTTP/1.1\r\nHost: localhost\r\n\r\n")
        await wait_until_async(lambda: is_dropped(client), "the server to hang up", timeout_s=PATIENCE_S)


async def test_a_client_that_stops_reading_midway_is_disconnected(port: int) -> None:
    loop = asyncio.get_running_loop()
    async with asked(port, LARGE, b"Connection: close\r\n") as client:
        received = 0
        while received < LARGE - 20_000:  # of which the system has a few
            received += len(await loop.sock_recv(client, min(1000, LARGE - 20_000 - received)))
        await wait_until_async(lambda: is_dropped(client), "the server to hang up", timeout_s=PATIENCE_S)


async def test_a_slow_reader_gets_the_whole_answer(port: int) -> None:
    loop = asyncio.get_running_loop()
    async with asked(port, LARGE, b"Connection: close\r\n") as client:
        started = loop.time()
        received, pause_at = 0, 0
        while chunk := await loop.sock_recv(client, 65536):
            received += len(chunk)
            if received >= pause_at:
                pause_at += 100_000
                await pause(INTERVAL_S / 6)
        assert received > LARGE
        assert loop.time() - started > 3 * INTERVAL_S

"""Connections that never complete a request cost little memory, and are closed."""

from __future__ import annotations

import asyncio
import re
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx
import pytest

from sidecar.http.protocol import bounded_protocol
from sidecar.http.protocol.bounded_protocol import MAX_HEAD_BYTES
from tests.encoders import HashEncoder
from tests.integration.http.live_server import live_server

PATIENCE_S = 10


@asynccontextmanager
async def connected(port: int) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        yield reader, writer
    finally:
        writer.close()


async def send_without_end(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, piece: bytes) -> int:
    """The number of bytes sent until the server disconnected."""
    sent = 0
    try:
        while not reader.at_eof() and sent < 100 * MAX_HEAD_BYTES:
            writer.write(piece)
            await asyncio.wait_for(writer.drain(), PATIENCE_S)
            await asyncio.wait([reading := asyncio.ensure_future(reader.read(1000))], timeout=0.001)
            reading.cancel()
            sent += len(piece)
    except ConnectionError:
        pass
    return sent


@pytest.mark.parametrize(
    ("begin", "piece"),
    [
        (b"GET /livez HTTP/1.1\r\nHost: localhost\r\n", b"X-Padding: " + b"x" * 4000 + b"\r\n"),
        (b"GET /livez HTTP/1.1\r\nHost: localhost\r\nX-Padding: ", b"x" * 4000),
        (b"GET /livez?", b"x" * 4000),
        (
            b"POST /embed/text HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n",
            b"X-Trailer: " + b"x" * 4000 + b"\r\n",
        ),
        (b"POST /embed/text HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n1;", b"x" * 4000),
    ],
    ids=["headers", "a header", "a query", "trailers", "a chunk extension"],
)
async def test_an_endless_head_is_disconnected(begin: bytes, piece: bytes) -> None:
    async with live_server(HashEncoder()) as port:
        async with connected(port) as (reader, writer):
            writer.write(begin)
            assert await send_without_end(reader, writer, piece) < 50 * MAX_HEAD_BYTES
        async with httpx.AsyncClient() as client:
            assert (await client.get(f"http://127.0.0.1:{port}/livez")).status_code == 200


async def test_a_head_of_usual_size_is_read_completely() -> None:
    async with live_server(HashEncoder()) as port, httpx.AsyncClient() as client:
        headers = {f"X-Padding-{number}": "x" * 1000 for number in range(40)}
        for _ in range(3):  # over the same connection
            assert (await client.get(f"http://127.0.0.1:{port}/livez", headers=headers)).status_code == 200
        assert (
            await client.post(f"http://127.0.0.1:{port}/embed/text", json={"text": "x" * 90_000})
        ).status_code == 200


@pytest.mark.parametrize("sent", [b"GET /livez HT", b"GET /livez HTTP/1.1\r\nHost: localhost\r\n"])
async def test_an_incomplete_head_times_out(sent: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bounded_protocol, "HEAD_TIMEOUT_S", 0.3)
    async with live_server(HashEncoder()) as port, connected(port) as (reader, writer):
        writer.write(sent)
        assert await asyncio.wait_for(reader.read(), PATIENCE_S) == b""


async def test_a_second_head_has_the_same_timeout_as_the_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bounded_protocol, "HEAD_TIMEOUT_S", 0.3)
    async with live_server(HashEncoder()) as port, connected(port) as (reader, writer):
        writer.write(b"GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert await asyncio.wait_for(reader.readuntil(b"}"), PATIENCE_S)
        writer.write(b"GET /livez HTTP")
        assert await asyncio.wait_for(reader.read(), PATIENCE_S) == b""


@pytest.mark.parametrize(
    "request_line",
    [
        b"GET /\xff\xfe HTTP/1.1",
        b"GET /livez\x00 HTTP/1.1",
        b"GET http://evil.example/status HTTP/1.1",
        b"CONNECT evil.example:443 HTTP/1.1",
        b"GET /livez HTTP/9.9",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    ],
)
async def test_malformed_input_closes_its_own_connection_only(
    request_line: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    async with live_server(HashEncoder()) as port:
        with socket.create_connection(("127.0.0.1", port)):
            async with connected(port) as (reader, writer):
                writer.write(request_line + b"\r\nHost: evil.example\r\nConnection: close\r\n\r\n")
                answer = await asyncio.wait_for(reader.read(), PATIENCE_S)
        assert not answer or answer.split()[1] in {b"400", b"403", b"404", b"405"}, answer
        async with httpx.AsyncClient() as client:
            assert (await client.get(f"http://127.0.0.1:{port}/livez")).status_code == 200
    assert "Traceback" not in caplog.text


async def test_trailers_are_not_added_to_the_headers() -> None:
    key = b"0123456789abcdef"
    async with live_server(HashEncoder(), api_keys=key.decode()) as port, connected(port) as (reader, writer):
        writer.write(
            b"POST /embed/text HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n"
            b"0\r\nAuthorization: Bearer " + key + b"\r\n\r\n"
            b"GET /status HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer " + key + b"\r\n\r\n"
        )
        assert (await asyncio.wait_for(reader.readline(), PATIENCE_S)).startswith(b"HTTP/1.1 401 ")
        await asyncio.wait_for(reader.readuntil(b"}}"), PATIENCE_S)
        # The next request's headers are its own.
        assert (await asyncio.wait_for(reader.readline(), PATIENCE_S)).startswith(b"HTTP/1.1 200 ")


async def test_smuggled_requests_in_a_body_are_not_parsed() -> None:
    """Content-Length with Transfer-Encoding hides one request in the body of another."""
    async with live_server(HashEncoder()) as port, connected(port) as (reader, writer):
        writer.write(
            b"POST /embed/text HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n"
            b"0\r\n\r\nGET /status HTTP/1.1\r\nHost: localhost\r\n\r\n"
        )
        answer = await asyncio.wait_for(reader.read(), PATIENCE_S)
        assert len(re.findall(rb"HTTP/1\.1 \d", answer)) == 1
        assert answer.startswith(b"HTTP/1.1 400 ")

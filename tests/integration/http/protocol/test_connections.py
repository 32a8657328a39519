"""Disconnects and endless bodies, which only a real connection shows."""

from __future__ import annotations

import asyncio
import logging

import httpx
import pytest

from sidecar.http.protocol import request_protocol
from tests.encoders import HashEncoder
from tests.integration.http.blocking_encoder import BlockingEncoder
from tests.integration.http.live_server import live_server
from tests.waiting import wait_until_async

REQUEST = b"POST /embed/text HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
PATIENCE_S = 10


def text_request(text: str) -> bytes:
    body = b'{"text": "%s"}' % text.encode()
    return REQUEST + b"Content-Length: %d\r\n\r\n" % len(body) + body


async def waiting_views(port: int) -> int:
    async with httpx.AsyncClient() as client:
        status = (await client.get(f"http://127.0.0.1:{port}/status")).json()
    return int(status["lanes"]["query"]["waiting"])


async def test_the_work_of_a_disconnected_client_is_cancelled_without_an_error(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(request_protocol, "PROBE_INTERVAL_S", 0.05)
    encoder = BlockingEncoder()
    async with live_server(encoder) as port:
        before = sum(encoder.calls)
        encoder.hold()
        _, on_device = await asyncio.open_connection("127.0.0.1", port)
        on_device.write(text_request("on the device"))
        await asyncio.to_thread(encoder.entered.wait, PATIENCE_S)
        _, behind = await asyncio.open_connection("127.0.0.1", port)
        behind.write(text_request("behind it"))
        await wait_until_async(lambda: is_waiting(port, 1), "the second request to wait")
        behind.close()
        await behind.wait_closed()
        await wait_until_async(lambda: is_waiting(port, 0), "its work to be dropped")
        encoder.release()
        on_device.close()
        await on_device.wait_closed()
    assert sum(encoder.calls) - before == 1
    assert [record.message for record in caplog.records if record.levelno >= logging.WARNING] == []


async def test_a_disconnect_during_the_body_is_no_error(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, "sidecar")
    async with live_server(HashEncoder()) as port:
        _, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(REQUEST + b"Content-Length: 1000\r\n\r\n{")
        await writer.drain()
        writer.close()
        await writer.wait_closed()

        async def noticed() -> bool:
            return any("the client has gone" in record.message for record in caplog.records)

        await wait_until_async(noticed, "the server to notice")
    assert [record.message for record in caplog.records if record.levelno >= logging.WARNING] == []


ENDLESS = (b"Transfer-Encoding: chunked", b"Content-Length: 10000000", b"Content-Length: 18446744073709551615")


@pytest.mark.parametrize("framing", ENDLESS)
async def test_an_endless_body_is_answered_and_disconnected(framing: bytes) -> None:
    async with live_server(HashEncoder(), max_body_bytes=100_000) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(REQUEST + framing + b"\r\n\r\n")
        sent = 0
        answering = asyncio.create_task(reader.readuntil(b"}}"), name="answer")
        try:
            while not answering.done():
                writer.write(b"2710\r\n" + b"x" * 10_000 + b"\r\n")
                await writer.drain()
                sent += 10_000
        except ConnectionError:
            pass
        answer = await asyncio.wait_for(answering, PATIENCE_S)
        writer.close()
    assert answer.startswith(b"HTTP/1.1 413 ")
    assert b"connection: close" in answer.lower()
    assert b"body_too_large" in answer
    assert sent < 10_000_000


@pytest.mark.parametrize(
    ("path", "status", "code"),
    [
        ("/embed/image", 413, "too_many_bytes"),
        ("/embed/text", 415, "unsupported_media_type"),
        ("/nowhere", 404, "not_found"),
    ],
)
async def test_a_client_rejected_during_an_upload_reads_the_reason(path: str, status: int, code: str) -> None:
    async with live_server(HashEncoder(), max_image_bytes=10_000) as port, httpx.AsyncClient() as client:
        for _ in range(2):  # over the same connection
            response = await client.post(f"http://127.0.0.1:{port}{path}", files={"file": ("a.jpg", b"x" * 5_000_000)})
            assert (response.status_code, response.json()["error"]["code"]) == (status, code)
            assert "connection" not in response.headers


async def test_a_client_that_expects_100_continue_is_rejected_without_sending() -> None:
    async with live_server(HashEncoder(), max_body_bytes=10_000) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(REQUEST + b"Content-Length: 10001\r\nExpect: 100-continue\r\n\r\n")
        answer = await asyncio.wait_for(reader.readuntil(b"}}"), PATIENCE_S)
        assert answer.startswith(b"HTTP/1.1 413 ")
        assert await reader.read() == b""  # closed
        writer.close()


async def test_a_short_unread_body_keeps_its_connection() -> None:
    async with live_server(HashEncoder(), api_keys="0123456789abcdef") as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        for _ in range(3):
            writer.write(REQUEST + b"Content-Length: 1000\r\n\r\n")
            answer = await asyncio.wait_for(reader.readuntil(b"}}"), PATIENCE_S)  # before any of it was sent
            assert answer.startswith(b"HTTP/1.1 401 ")
            assert b"connection: close" not in answer
            writer.write(b"GET /livez HTTP/1.1\r\n".ljust(1000))
        writer.close()


async def test_a_short_body_after_100_continue_is_not_parsed_as_the_next_request() -> None:
    async with live_server(HashEncoder(), api_keys="0123456789abcdef") as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(REQUEST + b"Content-Length: 30\r\nExpect: 100-continue\r\n\r\n")
        answer = await asyncio.wait_for(reader.read(), PATIENCE_S)  # to its end: the connection is closed
        assert answer.startswith(b"HTTP/1.1 401 ")
        assert b"connection: close" in answer
        writer.close()


async def is_waiting(port: int, views: int) -> bool:
    return await waiting_views(port) == views

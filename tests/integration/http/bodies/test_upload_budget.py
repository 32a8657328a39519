"""The bodies of all requests together stay within MAX_UPLOADS_BYTES, and endless ones are cut off."""

from __future__ import annotations

import asyncio
import re
from functools import partial
from typing import Any

import httpx
import pytest

from tests.encoders import HashEncoder
from tests.integration.http.blocking_encoder import BlockingEncoder
from tests.integration.http.live_server import live_server
from tests.waiting import wait_until_async

MIB = 1024 * 1024
PATIENCE_S = 10
KEY = "0123456789abcdef"
LIMITS: dict[str, Any] = {"max_body_bytes": MIB, "max_uploads_bytes": MIB, "max_image_bytes": MIB}
HEAD = b"POST /embed/text HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"


async def held_bytes(port: int) -> int:
    async with httpx.AsyncClient() as client:
        metrics = (await client.get(f"http://127.0.0.1:{port}/metrics")).text
    (value,) = re.findall(r"^sidecar_http_uploads_bytes (\S+)$", metrics, re.MULTILINE)
    return int(float(value))


async def open_upload(port: int, head: bytes) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(HEAD + head + b"\r\n\r\n")
    await writer.drain()
    return reader, writer


async def read_answer(reader: asyncio.StreamReader) -> bytes:
    return await asyncio.wait_for(reader.readuntil(b"}}"), PATIENCE_S)


async def holds(port: int, held: int) -> bool:
    return await held_bytes(port) == held


async def test_bytes_are_reserved_while_a_body_arrives_and_others_are_rejected_until_their_release() -> None:
    body = (b'{"text": "%s"}' % (b" a" * 300_000)).ljust(MIB)
    async with live_server(HashEncoder(), **LIMITS, max_text_chars=MIB) as port:
        reader, writer = await open_upload(port, b"Content-Length: %d" % len(body))
        writer.write(body[:-1])
        await wait_until_async(lambda: holds(port, len(body) - 1), "room for all that arrived")
        refused, refused_writer = await open_upload(port, b"Content-Length: 70000")
        answer = await read_answer(refused)
        assert answer.startswith(b"HTTP/1.1 429 ")
        assert re.search(rb"\r\nretry-after: [1-9]", answer)
        assert b'"code":"overloaded"' in answer
        assert b"MAX_UPLOADS_BYTES" in answer
        # Small bodies are always served.
        async with httpx.AsyncClient() as client:
            small = await client.post(f"http://127.0.0.1:{port}/embed/text", json={"text": "a hat"})
        assert small.status_code == 200
        writer.write(body[-1:])
        assert (await read_answer_line(reader)).startswith(b"HTTP/1.1 200 ")
        await wait_until_async(lambda: holds(port, 0), "the room to be free again")
        for each in (writer, refused_writer):
            each.close()


async def read_answer_line(reader: asyncio.StreamReader) -> bytes:
    return await asyncio.wait_for(reader.readline(), PATIENCE_S)


async def test_declared_bytes_that_do_not_arrive_reserve_nothing() -> None:
    async with live_server(HashEncoder(), **LIMITS) as port:
        idle = [await open_upload(port, b"Content-Length: %d" % MIB) for _ in range(8)]
        for _, writer in idle:
            writer.write(b"{")
            await writer.drain()
        # Answered after what was sent before it has been read.
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}") as client:
            assert (await client.post("/embed/text", json={"text": "a hat"})).status_code == 200
            large = await client.post("/embed/text", json={"text": "a hat", "padding": "x" * 900_000})
            assert large.status_code == 200
        assert await holds(port, 0)
        for _, writer in idle:
            writer.close()


async def test_chunked_bodies_reserve_bytes_as_they_arrive() -> None:
    async with live_server(HashEncoder(), **LIMITS) as port:
        uploads = [await open_upload(port, b"Transfer-Encoding: chunked") for _ in range(3)]
        chunk = b"%x\r\n%s\r\n" % (400_000, b" " * 400_000)
        for number, (_, writer) in enumerate(uploads[:2], 1):
            writer.write(chunk)
            await wait_until_async(partial(holds, port, number * 400_000), "the chunk to be counted")
        uploads[2][1].write(chunk)
        assert (await read_answer(uploads[2][0])).startswith(b"HTTP/1.1 429 ")
        for _, writer in uploads:
            writer.close()
        await wait_until_async(lambda: holds(port, 0), "the room of clients that have gone to be free")


async def test_bytes_are_released_once_the_answer_begins_and_unread_bodies_reserve_none() -> None:
    async with live_server(BlockingEncoder(), **LIMITS, api_keys=KEY) as port:
        reader, writer = await open_upload(port, b"Content-Length: 900000")
        assert (await read_answer(reader)).startswith(b"HTTP/1.1 401 ")  # discarded for two seconds meanwhile
        reader2, writer2 = await open_upload(
            port, b"Content-Length: 900000\r\nAuthorization: Bearer " + KEY.encode() + b"\r\nExpect: 100-continue"
        )
        assert (await read_answer_line(reader2)).startswith(b"HTTP/1.1 100 ")
        writer.close()
        writer2.close()


async def test_a_client_that_expects_100_continue_is_rejected_before_it_sends() -> None:
    async with live_server(HashEncoder(), **LIMITS) as port:
        _, first = await open_upload(port, b"Content-Length: 900001")
        first.write(b" " * 900_000)
        await wait_until_async(lambda: holds(port, 900_000), "the room to be taken")
        reader, writer = await open_upload(port, b"Content-Length: 200000\r\nExpect: 100-continue")
        assert (await read_answer(reader)).startswith(b"HTTP/1.1 429 ")
        first.close()
        writer.close()


@pytest.mark.parametrize("framing", [b"Content-Length: 1000", b"Transfer-Encoding: chunked"])
async def test_a_slow_body_is_cut_off_by_the_deadline(framing: bytes) -> None:
    async with live_server(HashEncoder(), request_timeout_s=0.5) as port:
        reader, writer = await open_upload(port, framing)
        answering = asyncio.create_task(read_answer(reader), name="answer")
        while not answering.done():
            writer.write(b"1\r\n \r\n")
            await asyncio.wait([answering], timeout=0.05)
        assert (await answering).startswith(b"HTTP/1.1 504 ")
        assert b"connection: close" in (await answering).lower()
        assert await holds(port, 0)
        writer.close()


async def test_of_many_simultaneous_uploads_each_is_answered_and_those_beyond_the_budget_with_429() -> None:
    body = b'{"text": "%s"}' % (b" a" * MIB)
    async with live_server(HashEncoder(), max_body_bytes=4 * MIB, max_uploads_bytes=5 * MIB) as port:
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=30) as client:
            post = partial(client.post, "/embed/text", content=body, headers={"Content-Type": "application/json"})
            answers = await asyncio.gather(*(post() for _ in range(12)))
        statuses = {answer.status_code for answer in answers}
        assert statuses == {422, 429}  # a text of two million characters is too long
        assert all("retry-after" in answer.headers for answer in answers if answer.status_code == 429)
        assert await holds(port, 0)


async def test_a_rejected_client_that_keeps_sending_reads_the_reason() -> None:
    async with live_server(HashEncoder(), api_keys=KEY) as port:
        reader, writer = await open_upload(port, b"Content-Length: %d" % (5 * MIB))
        answering = asyncio.create_task(read_answer(reader), name="answer")
        for _ in range(5):  # 3.5 s in all
            writer.write(b" " * MIB)
            await asyncio.wait([answering], timeout=0.7)
        assert (await answering).startswith(b"HTTP/1.1 401 ")
        assert b"connection: close" not in (await answering).lower()
        writer.close()

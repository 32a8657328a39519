"""Pipelined requests are answered in order, and each is parsed only after the one before it."""

from __future__ import annotations

import asyncio
import gc

import pytest
from uvicorn.protocols.http.httptools_impl import RequestResponseCycle

from sidecar.http.protocol import bounded_protocol
from tests.encoders import HashEncoder
from tests.integration.http.blocking_encoder import BlockingEncoder
from tests.integration.http.live_server import live_server
from tests.integration.http.raw_requests import PATIENCE_S, raw_connection, text_request

SHORTEST = b"GET /livez HTTP/1.1\r\n\r\n"
SENT_BYTES = 2 * 1024 * 1024


async def test_pipelined_requests_take_no_more_memory_than_their_bytes() -> None:
    """A read holds 11,000 of them. Parsed at once, every 10 kB that a client without a key sends cost a megabyte."""
    encoder = BlockingEncoder()
    async with live_server(encoder) as port, raw_connection(port) as connection:
        encoder.hold()
        await connection.send(b"".join(text_request("first")))
        await asyncio.to_thread(encoder.entered.wait, PATIENCE_S)
        sending = asyncio.create_task(connection.send(SHORTEST * (SENT_BYTES // len(SHORTEST))))
        await asyncio.wait([sending], timeout=0.3)
        encoder.release()
        for _ in range(5):
            await connection.answer()
        # isinstance() would ask foreign objects, of which one of torch's warns.
        requests = sum(type(each) is RequestResponseCycle for each in gc.get_objects())
        sending.cancel()
    assert requests < 500


@pytest.mark.parametrize("ends", [False, True], ids=["open", "half-closed"])
async def test_pipelined_requests_are_answered_in_order(ends: bool) -> None:
    count = 400
    requests = [
        b"".join(text_request(f"text {number}" + "x" * (97 * number % 5000), [b"X-Request-ID: %d" % number]))
        for number in range(count)
    ]
    async with live_server(HashEncoder()) as port, raw_connection(port) as connection:
        sending = asyncio.create_task(connection.send(b"".join(requests)))
        answers = [await connection.answer() for _ in range(count // 4)]
        await sending
        if ends:
            connection.end_sending()
        answers += [await connection.answer() for _ in range(count - len(answers))]
        if ends:
            assert await connection.rest() == b""
    assert [answer.status for answer in answers] == [200] * count
    assert [answer.headers["x-request-id"] for answer in answers] == [str(number) for number in range(count)]


async def test_a_head_that_waits_for_earlier_requests_does_not_time_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bounded_protocol, "HEAD_TIMEOUT_S", 0.1)
    encoder = BlockingEncoder()
    head, body = text_request("third")
    async with live_server(encoder) as port, raw_connection(port) as connection:
        encoder.hold()
        await connection.send(b"".join([*text_request("first"), *text_request("second"), head[:20]]))
        await asyncio.to_thread(encoder.entered.wait, PATIENCE_S)
        answering = asyncio.create_task(connection.answer())
        await asyncio.wait([answering], timeout=0.3)
        encoder.release()
        assert (await answering).status == 200
        assert (await connection.answer()).status == 200
        await connection.send(head[20:] + body)
        assert (await connection.answer()).status == 200

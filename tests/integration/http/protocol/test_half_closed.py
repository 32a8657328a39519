"""A client that has closed its sending side still gets its answers."""

from __future__ import annotations

import asyncio

import pytest

from sidecar.http.protocol import request_protocol
from tests.integration.http.blocking_encoder import BlockingEncoder
from tests.integration.http.protocol.test_connections import is_waiting
from tests.integration.http.raw_requests import PATIENCE_S, raw_connection, text_request
from tests.waiting import wait_until_async


@pytest.mark.parametrize("framing", ["length", "chunked", "none"])
async def test_a_half_closed_client_gets_its_answer(port: int, framing: str) -> None:
    async with raw_connection(port) as connection:
        await connection.send(b"".join(text_request("a red bicycle", framing=framing)))
        connection.end_sending()
        answer = await connection.rest()
    assert answer.startswith(b"HTTP/1.1 200 ")
    assert answer.count(b"HTTP/1.1 ") == 1


async def test_all_requests_before_the_end_are_answered(port: int) -> None:
    async with raw_connection(port) as connection:
        await connection.send(b"".join([*text_request("first"), *text_request("second"), *text_request("third")]))
        connection.end_sending()
        answers = [await connection.answer() for _ in range(3)]
        assert await connection.rest() == b""
    assert [answer.status for answer in answers] == [200, 200, 200]
    assert answers[-1].headers["connection"] == "close"


async def test_a_slow_answer_follows_interim_answers(
    port: int, encoder: BlockingEncoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(request_protocol, "PROBE_INTERVAL_S", 0.05)
    encoder.hold()
    async with raw_connection(port) as connection:
        await connection.send(b"".join(text_request("slow")))
        await asyncio.to_thread(encoder.entered.wait, PATIENCE_S)
        connection.end_sending()
        for _ in range(3):
            assert await connection.interim() == b"HTTP/1.1 102 Processing\r\n\r\n"
        encoder.release()
        assert (await connection.answer()).status == 200
        assert await connection.rest() == b""


async def test_http_1_0_gets_no_interim_answers(
    port: int, encoder: BlockingEncoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(request_protocol, "PROBE_INTERVAL_S", 0.02)
    encoder.hold()
    head, body = text_request("slow")
    async with raw_connection(port) as connection:
        await connection.send(head.replace(b"HTTP/1.1", b"HTTP/1.0") + body)
        await asyncio.to_thread(encoder.entered.wait, PATIENCE_S)
        connection.end_sending()
        reading = asyncio.create_task(connection.rest())
        await asyncio.wait([reading], timeout=0.2)
        encoder.release()
        assert (await reading).startswith(b"HTTP/1.1 200 ")


async def test_the_work_of_a_vanished_client_is_cancelled_also_in_a_pipeline(
    port: int, encoder: BlockingEncoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(request_protocol, "PROBE_INTERVAL_S", 0.05)
    encoder.hold()
    async with raw_connection(port) as on_device:
        await on_device.send(b"".join(text_request("on the device")))
        await asyncio.to_thread(encoder.entered.wait, PATIENCE_S)
        async with raw_connection(port) as gone:
            await gone.send(b"".join([*text_request("behind it"), *text_request("pipelined")]))
            await wait_until_async(lambda: is_waiting(port, 1), "the second client to wait")
        await wait_until_async(lambda: is_waiting(port, 0), "its work to be dropped")
        encoder.release()
        assert (await on_device.answer()).status == 200
    assert encoder.calls[-1] == 1


@pytest.mark.parametrize("sent", [b"GET /livez HT", b"".join(text_request("a"))[:-3]], ids=["head", "body"])
async def test_an_incomplete_request_is_not_answered(port: int, sent: bytes) -> None:
    async with raw_connection(port) as connection:
        await connection.send(sent)
        connection.end_sending()
        assert await connection.rest() == b""


async def test_requests_before_an_incomplete_one_are_answered(port: int, encoder: BlockingEncoder) -> None:
    encoder.hold()
    async with raw_connection(port) as connection:
        await connection.send(b"".join([*text_request("whole"), *text_request("half")])[:-3])
        await asyncio.to_thread(encoder.entered.wait, PATIENCE_S)
        connection.end_sending()
        encoder.release()
        assert (await connection.answer()).status == 200
        assert await connection.rest() == b""

"""The load generator counts answers and failures."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import cast

import pytest

from benchmarks.serving.client import Answer, connect, text_request
from benchmarks.serving.load import Load, closed_loop, open_loop, requests

OK = b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello"


class Answering(asyncio.Protocol):
    """Answers a request with `pieces`, one packet each; closes the connection if there are none."""

    def __init__(self, pieces: Sequence[bytes]) -> None:
        self._pieces = pieces

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, _data: bytes) -> None:
        for number, piece in enumerate(self._pieces):
            asyncio.get_running_loop().call_later(number / 1000, self._transport.write, piece)
        if not self._pieces:
            self._transport.close()


@asynccontextmanager
async def answering(*pieces: bytes) -> AsyncIterator[int]:
    """Run a server of `Answering`; yields its port."""
    server = await asyncio.get_running_loop().create_server(lambda: Answering(pieces), "127.0.0.1", 0)
    async with server:
        yield server.sockets[0].getsockname()[1]


async def send(port: int) -> Answer:
    connection = await connect(port)
    answered: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
    connection.send(text_request("a red bicycle"), answered.set_result)
    answer = await answered
    connection.close()
    return answer


@pytest.mark.parametrize("pieces", [(OK,), (OK[:10], OK[10:]), (OK[:-5], OK[-5:]), (OK[:-2], OK[-2:])])
async def test_an_answer_is_read_to_its_end_however_it_is_split(pieces: Sequence[bytes]) -> None:
    async with answering(*pieces) as port:
        answer = await send(port)
    assert (answer.status, answer.has_retry_after) == (200, False)


@pytest.mark.parametrize(("header", "has"), [(b"Retry-After: 1", True), (b"X-Retry: 1", False)])
async def test_a_rejection_is_recorded_with_or_without_retry_after(header: bytes, has: bool) -> None:
    async with answering(b"HTTP/1.1 429 Too Many Requests\r\n" + header + b"\r\nContent-Length: 0\r\n\r\n") as port:
        answer = await send(port)
    assert (answer.status, answer.has_retry_after) == (429, has)


async def test_a_lost_connection_is_an_answer_with_status_0() -> None:
    async with answering() as port:
        assert (await send(port)).status == 0


async def test_an_open_loop_records_every_arrival() -> None:
    async with answering() as port:
        load = await open_loop(port, requests(), rate_per_s=200, duration_s=0.2, on_second=lambda: None)
    assert load.answers
    assert load.count(0) == len(load.answers)


async def test_clients_of_a_closed_loop_repeat_their_requests() -> None:
    async with answering(OK) as port:
        load = await closed_loop(port, clients=2, duration_s=0.1)
    load.check_all_answered()
    assert len(load.answers) > 2


def test_answers_after_the_end_do_not_count_as_throughput() -> None:
    load = Load([Answer(200, 0.1, answered_at) for answered_at in (10.1, 11.9, 12.1)], began=10.0, duration_s=2.0)
    assert load.answered_per_s == 1.0


def test_a_load_that_failed_gives_no_figures() -> None:
    with pytest.raises(RuntimeError, match=r"1 of 2 requests failed, with \[503\]"):
        Load([Answer(200, 0.1, 0.1), Answer(503, 0.1, 0.1)], 0.0, 1.0).check_all_answered()
    with pytest.raises(RuntimeError, match="0 of 0"):
        Load([], 0.0, 1.0).check_all_answered()

"""Cancellation of a request's work by a disconnect or a deadline."""

from __future__ import annotations

import asyncio

import pytest
from starlette.requests import ClientDisconnect, Request
from starlette.types import Message

from sidecar.http.cancellation import cancel_on_disconnect


class Client:
    """A client in process; `leave` disconnects it."""

    def __init__(self) -> None:
        self._left = asyncio.Event()
        self.request = Request({"type": "http", "path": "/work", "headers": []}, self._receive)

    def leave(self) -> None:
        self._left.set()

    async def _receive(self) -> Message:
        await self._left.wait()
        return {"type": "http.disconnect"}


class Work:
    def __init__(self) -> None:
        self.may_end = asyncio.Event()
        self.began = asyncio.Event()
        self.cancelled = False

    async def do(self) -> str:
        self.began.set()
        try:
            await self.may_end.wait()
        except asyncio.CancelledError:
            self.cancelled = True
            raise
        return "done"


async def test_the_result_of_the_work_is_returned() -> None:
    client, work = Client(), Work()
    work.may_end.set()
    assert await cancel_on_disconnect(client.request, work.do()) == "done"
    client.leave()
    await asyncio.sleep(0)  # nothing is left that would cancel us now


async def test_a_disconnect_cancels_the_work() -> None:
    client, work = Client(), Work()
    working = asyncio.create_task(cancel_on_disconnect(client.request, work.do()), name="working")
    await work.began.wait()
    client.leave()
    with pytest.raises(ClientDisconnect):
        await working
    assert work.cancelled


async def test_an_error_of_the_work_is_raised_unchanged() -> None:
    async def fail() -> None:
        raise KeyError("a bug")

    with pytest.raises(KeyError, match="a bug"):
        await cancel_on_disconnect(Client().request, fail())


async def test_a_deadline_cancels_the_work_and_raises_timeout_error() -> None:
    work = Work()
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.01):
            await cancel_on_disconnect(Client().request, work.do())
    assert work.cancelled


async def test_another_cancellation_takes_precedence_over_a_disconnect() -> None:
    client, work = Client(), Work()
    working = asyncio.create_task(cancel_on_disconnect(client.request, work.do()), name="working")
    await work.began.wait()
    client.leave()
    working.cancel()
    with pytest.raises(asyncio.CancelledError):
        await working
    assert work.cancelled

"""Idle connections are kept longer than a balancer keeps them, so that none of its requests are lost."""

from __future__ import annotations

import asyncio

import pytest

from sidecar.http.protocol import bounded_protocol
from tests.encoders import HashEncoder
from tests.integration.http.conftest import make_settings
from tests.integration.http.live_server import live_server
from tests.integration.http.raw_requests import RawConnection, raw_connection, text_request

LIVEZ = b"GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n"


async def idle_for(connection: RawConnection) -> float:
    """Seconds until the server closes the connection."""
    loop = asyncio.get_running_loop()
    began_s = loop.time()
    assert await connection.rest() == b""
    return loop.time() - began_s


def test_connections_are_kept_longer_than_balancers_do_by_default() -> None:
    assert make_settings().keep_alive_s > 60


@pytest.mark.parametrize("asked_before", [True, False], ids=["after an answer", "before the first request"])
async def test_an_idle_connection_is_kept_for_the_configured_time(
    asked_before: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bounded_protocol, "HEAD_TIMEOUT_S", 0.1)  # which counts from the first byte of a head
    async with live_server(HashEncoder(), keep_alive_s=0.5) as port, raw_connection(port) as connection:
        if asked_before:
            await connection.send(b"".join(text_request("a")))
            assert (await connection.answer()).status == 200
        assert 0.4 < await idle_for(connection) < 5


async def test_a_connection_that_is_used_is_kept() -> None:
    async with live_server(HashEncoder(), keep_alive_s=0.4) as port, raw_connection(port) as connection:
        loop = asyncio.get_running_loop()
        until_s = loop.time() + 1
        while loop.time() < until_s:
            await connection.send(LIVEZ)
            assert (await connection.answer()).status == 200
            await asyncio.sleep(0.1)


async def test_blank_lines_do_not_keep_a_connection_alive() -> None:
    async with live_server(HashEncoder(), keep_alive_s=0.3) as port, raw_connection(port) as connection:
        await connection.send(LIVEZ)
        await connection.answer()
        await connection.send(b"\r\n")
        assert await idle_for(connection) < 5


async def test_the_rest_of_an_answered_body_does_not_keep_a_connection_alive() -> None:
    async with live_server(HashEncoder(), keep_alive_s=0.3) as port, raw_connection(port) as connection:
        await connection.send(LIVEZ.replace(b"\r\n\r\n", b"\r\nContent-Length: 60000\r\n\r\n"))
        assert (await connection.answer()).status == 200
        await connection.send(b"x")
        assert await idle_for(connection) < 5

"""Offers to upgrade (`Connection: upgrade`) are declined by answering as if they were absent."""

from __future__ import annotations

import asyncio
import json
import shutil
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path

import numpy as np
import pytest

from tests.encoders import HashEncoder
from tests.integration.http.live_server import live_server
from tests.integration.http.raw_requests import Answer, answers_to, raw_connection, text_request

ENCODER = HashEncoder(dimensions=16)
H2C = (b"Connection: Upgrade, HTTP2-Settings", b"Upgrade: h2c", b"HTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA")
OFFERS = {
    "h2c": H2C,
    "websocket": (
        b"Upgrade: websocket",
        b"Connection: keep-alive, Upgrade",
        b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
        b"Sec-WebSocket-Version: 13",
    ),
    "several": (b"Connection: upgrade", b"Upgrade: h2c", b"Upgrade: TLS/1.0, HTTP/3", b"Connection: HTTP2-Settings"),
}
JAVA = Path(__file__).with_name("JavaClient.java")


@pytest.fixture
async def port() -> AsyncIterator[int]:
    async with live_server(ENCODER, max_body_bytes=1_000_000) as port:
        yield port


def assert_embeds(answer: Answer, text: str) -> None:
    assert answer.status == 200, answer
    np.testing.assert_allclose(answer.json["embedding"], ENCODER.vector_of(text), rtol=1e-6)


@pytest.mark.parametrize("segments", ["one", "body apart", "byte by byte"])
@pytest.mark.parametrize("framing", ["length", "chunked", "none"])
@pytest.mark.parametrize("offer", OFFERS)
async def test_an_offer_to_upgrade_changes_nothing(port: int, offer: str, framing: str, segments: str) -> None:
    head, body = text_request("a red bicycle", OFFERS[offer], framing=framing)
    pieces = {
        "one": [head + body],
        "body apart": [head, body],
        "byte by byte": [bytes([byte]) for byte in head + body],
    }[segments]
    (answer,) = await answers_to(port, *pieces)
    if framing == "none":
        assert (answer.status, answer.json) == (200, {"status": "alive"})
    else:
        assert_embeds(answer, "a red bicycle")


@pytest.mark.parametrize("segments", ["one", "byte by byte"])
@pytest.mark.parametrize("framing", ["length", "chunked"])
async def test_requests_after_an_offer_are_answered_once_each_and_in_order(
    port: int, framing: str, segments: str
) -> None:
    texts = ["first", "second", "third"]
    offers: list[tuple[bytes, ...]] = [H2C, (), OFFERS["websocket"]]
    sent = b"".join(
        b"".join(text_request(text, offer, framing=framing)) for text, offer in zip(texts, offers, strict=True)
    )
    pieces = [sent] if segments == "one" else [bytes([byte]) for byte in sent]
    answers = await answers_to(port, *pieces, count=3)
    for text, answer in zip(texts, answers, strict=True):
        assert_embeds(answer, text)


async def test_a_body_after_an_offer_is_not_parsed_as_a_request(port: int) -> None:
    hidden = b"GET /status HTTP/1.1\r\nHost: localhost\r\n\r\n"
    head = b"\r\n".join(
        [b"POST /embed/text HTTP/1.1", b"Host: localhost", *H2C, b"Content-Length: %d" % len(hidden), b"", b""]
    )
    (answer,) = await answers_to(port, head, hidden)
    assert (answer.status, answer.code) == (415, "unsupported_media_type")


async def test_an_offer_does_not_bypass_the_checks_of_a_head(port: int) -> None:
    head, body = text_request("a", H2C)
    async with raw_connection(port) as connection:
        await connection.send(head.replace(b"\r\n\r\n", b"\r\nHost: other.example\r\n\r\n") + body)
        answer = await connection.answer()
        assert (answer.status, answer.code) == (400, "malformed_request")
        assert await connection.rest() == b""


async def run_client(*command: str, cwd: Path) -> str:
    process = await asyncio.create_subprocess_exec(
        *command, cwd=cwd, stdout=subprocess.PIPE, stderr=subprocess.PIPE, stdin=subprocess.DEVNULL
    )
    output, complaint = await asyncio.wait_for(process.communicate(), 60)
    assert process.returncode == 0, complaint.decode()
    return output.decode()


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not on this machine")
@pytest.mark.parametrize("framing", [(), ("-H", "Transfer-Encoding: chunked")], ids=["length", "chunked"])
async def test_curl_may_offer_http2(port: int, framing: tuple[str, ...], tmp_path: Path) -> None:
    text = "a red bicycle " * 7_000  # more than goes in the segment of the head
    (tmp_path / "body.json").write_text(json.dumps({"text": text}))
    asked = ("-d", "@body.json", "-H", "Content-Type: application/json", f"http://127.0.0.1:{port}/embed/text")
    shown = "\n%{http_code} %{num_connects}\n"
    output = await run_client(
        *("curl", "-sS", "--http2", "-w", shown), *framing, *asked, "--next",
        *("-sS", "--http2", "-w", shown), *asked,
        cwd=tmp_path,
    )  # fmt: skip
    lines = output.splitlines()
    assert lines[1::2] == ["200 1", "200 0"]  # the second one over the same connection
    for answer in lines[::2]:
        np.testing.assert_allclose(json.loads(answer)["embedding"], ENCODER.vector_of(text), rtol=1e-6)


@pytest.mark.skipif(shutil.which("java") is None, reason="Java is not on this machine")
async def test_javas_own_client_works_unmodified(port: int, tmp_path: Path) -> None:
    try:
        output = await run_client("java", "-Xshare:auto", str(JAVA), str(port), cwd=tmp_path)
    except AssertionError as error:
        if "compiler" in str(error):  # a runtime without javac cannot run a source file
            pytest.skip("Java is there without its compiler")
        raise
    assert output.splitlines() == ["200", "200", "200", "413 body_too_large"]

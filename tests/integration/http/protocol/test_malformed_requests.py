"""Malformed input gets an error body in its turn, and closes its connection."""

from __future__ import annotations

import asyncio
import logging

import pytest

from sidecar.http.protocol.bounded_protocol import MAX_HEAD_BYTES
from tests.integration.http.blocking_encoder import BlockingEncoder
from tests.integration.http.live_server import live_server
from tests.integration.http.raw_requests import PATIENCE_S, answers_to, raw_connection, text_request

HOST = b"Host: localhost\r\n"
POST = b"POST /embed/text HTTP/1.1\r\n" + HOST + b"Content-Type: application/json\r\n"
CHUNKED = POST + b"Transfer-Encoding: chunked\r\n\r\n"
SMUGGLED = b"GET /status HTTP/1.1\r\n" + HOST + b"\r\n"


MALFORMED = {
    "no method": (b"hello\r\n\r\n", 400, "malformed_request"),
    "an unknown method": (b"EMBED / HTTP/1.1\r\n" + HOST + b"\r\n", 400, "malformed_request"),
    "a method in lower case": (b"get / HTTP/1.1\r\n" + HOST + b"\r\n", 400, "malformed_request"),
    "TLS": (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"x" * 200, 400, "malformed_request"),
    "HTTP/2": (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 400, "malformed_request"),
    "HTTP/2.0 in words": (b"GET /livez HTTP/2.0\r\n" + HOST + b"\r\n", 505, "http_version_not_supported"),
    "HTTP/0.9": (b"GET /livez\r\n\r\n", 505, "http_version_not_supported"),
    "HTTP/9.9": (b"GET /livez HTTP/9.9\r\n\r\n", 400, "malformed_request"),
    "bytes in the path": (b"GET /\xff\xfe HTTP/1.1\r\n" + HOST + b"\r\n", 400, "malformed_request"),
    "NUL in the path": (b"GET /livez\0 HTTP/1.1\r\n" + HOST + b"\r\n", 400, "malformed_request"),
    "a target that is none": (b"GET livez HTTP/1.1\r\n" + HOST + b"\r\n", 400, "malformed_request"),
    "another scheme": (b"GET ftp://localhost/livez HTTP/1.1\r\n" + HOST + b"\r\n", 400, "malformed_request"),
    "a proxy's request": (b"CONNECT a.example:443 HTTP/1.1\r\n" + HOST + b"\r\n", 405, "method_not_allowed"),
    "a header without a name": (b"GET /livez HTTP/1.1\r\n: x\r\n\r\n", 400, "malformed_request"),
    "a header without a colon": (b"GET /livez HTTP/1.1\r\nnonsense\r\n\r\n", 400, "malformed_request"),
    "a blank before the colon": (POST + b"Content-Length : 2\r\n\r\n{}", 400, "malformed_request"),
    "a folded header": (POST + b"X-Long: a\r\n b\r\nContent-Length: 2\r\n\r\n{}", 400, "malformed_request"),
    "lines that end in LF": (b"GET /livez HTTP/1.1\n" + b"Host: localhost\n\n", 400, "malformed_request"),
    "NUL in a header": (b"GET /livez HTTP/1.1\r\nHost: local\0host\r\n\r\n", 400, "malformed_request"),
    "two hosts": (b"GET /livez HTTP/1.1\r\n" + HOST + HOST + b"\r\n", 400, "malformed_request"),
    "a length in words": (POST + b"Content-Length: two\r\n\r\n{}", 400, "malformed_request"),
    "a signed length": (POST + b"Content-Length: +2\r\n\r\n{}", 400, "malformed_request"),
    "a list of lengths": (POST + b"Content-Length: 2, 2\r\n\r\n{}", 400, "malformed_request"),
    "two lengths": (POST + b"Content-Length: 2\r\nContent-Length: 2\r\n\r\n{}", 400, "malformed_request"),
    "lengths that differ": (POST + b"Content-Length: 2\r\nContent-Length: 44\r\n\r\n{}", 400, "malformed_request"),
    "a length that overflows": (POST + b"Content-Length: 99999999999999999999999\r\n\r\n{}", 400, "malformed_request"),
    "a length and chunks": (
        POST + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400, "malformed_request"
    ),
    "chunks and a length": (
        POST + b"Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n", 400, "malformed_request"
    ),
    "chunks twice": (
        POST + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400, "malformed_request"
    ),
    "a coding that is not ours": (
        POST + b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", 501, "unsupported_transfer_encoding"
    ),
    "a coding without an end": (
        POST + b"Transfer-Encoding: identity\r\n\r\n{}", 501, "unsupported_transfer_encoding"
    ),
    "something like chunked": (
        POST + b"Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n", 501, "unsupported_transfer_encoding"
    ),
    "chunks in HTTP/1.0": (
        b"POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 501, "unsupported_transfer_encoding"
    ),
    "a chunk without a size": (CHUNKED + b"zz\r\n{}\r\n0\r\n\r\n", 400, "malformed_request"),
    "a chunk that is longer than it says": (CHUNKED + b"1\r\n{}\r\n0\r\n\r\n", 400, "malformed_request"),
    "a chunk size that overflows": (CHUNKED + b"fffffffffffffffff\r\n{}", 400, "malformed_request"),
    "a large head": (
        b"GET /livez HTTP/1.1\r\n" + HOST + b"X: " + b"x" * 4 * MAX_HEAD_BYTES + b"\r\n", 431, "head_too_large"
    ),
    "a large query": (b"GET /livez?" + b"x" * 2 * MAX_HEAD_BYTES, 431, "head_too_large"),
}  # fmt: skip


@pytest.mark.parametrize("kind", MALFORMED)
async def test_malformed_input_gets_an_error_body_and_closes_its_connection(
    port: int, kind: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    sent, status, code = MALFORMED[kind]
    async with raw_connection(port) as connection:
        await connection.send(sent + SMUGGLED)
        answer = await connection.answer()
        assert (answer.status, answer.code) == (status, code), answer
        assert answer.headers["connection"] == "close"
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert await connection.rest() == b""
    assert [record.message for record in caplog.records if record.levelno >= logging.WARNING] == []
    (line,) = [record for record in caplog.records if record.name == "sidecar.http.access_log" and _is_info(record)]
    assert f" {status} " in line.message
    assert "xxxx" not in line.message


def _is_info(record: logging.LogRecord) -> bool:
    return record.levelno == logging.INFO and "/readyz" not in record.message


async def test_a_refused_head_is_answered_after_the_requests_before_it(port: int, encoder: BlockingEncoder) -> None:
    encoder.hold()
    async with raw_connection(port) as connection:
        await connection.send(b"".join(text_request("slow")), b"nonsense\r\n\r\n")
        await asyncio.to_thread(encoder.entered.wait, PATIENCE_S)
        encoder.release()
        assert (await connection.answer()).status == 200
        assert (await connection.answer()).code == "malformed_request"
        assert await connection.rest() == b""


@pytest.mark.parametrize("path", [b"/livez", b"/embed/text", b"/nowhere"])
async def test_a_broken_body_gets_one_answer(port: int, path: bytes) -> None:
    head = b"POST %b HTTP/1.1\r\n%bContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n" % (path, HOST)
    async with raw_connection(port) as connection:
        await connection.send(head, b'2\r\n{"\r\n', b"zz\r\n" + SMUGGLED)
        answer = await connection.answer()
        expected = {b"/livez": (405, "method_not_allowed"), b"/nowhere": (404, "not_found")}
        assert (answer.status, answer.code) == expected.get(path, (400, "malformed_request"))
        assert answer.headers["connection"] == "close"
        assert await connection.rest() == b""


async def test_an_answer_reaches_a_client_that_keeps_sending(port: int) -> None:
    """A connection that is closed with unread bytes is reset, and the client loses the answer."""
    async with raw_connection(port) as connection:
        await connection.send(b"nonsense\r\n\r\n")
        for _ in range(20):
            await connection.send(b"x" * 100_000)
        assert (await connection.answer()).code == "malformed_request"
        assert await connection.rest() == b""


async def test_the_answer_to_a_refused_head_has_its_id_and_cors_headers() -> None:
    origin = "https://app.example.com"
    async with live_server(BlockingEncoder(), cors_allow_origins=origin) as port, raw_connection(port) as connection:
        await connection.send(
            b"GET /livez HTTP/1.1\r\nX-Request-ID: order-66\r\nOrigin: "
            + origin.encode()
            + b"\r\nX: y\r\nbad header\r\n\r\n"
        )
        answer = await connection.answer()
        assert (answer.code, answer.headers["x-request-id"]) == ("malformed_request", "order-66")
        assert answer.headers["access-control-allow-origin"] == origin


@pytest.mark.parametrize("segments", ["one", "byte by byte"])
async def test_chunk_extensions_and_trailers_are_ignored(port: int, segments: str) -> None:
    body = b'10;a=b;c="d"\r\n{"text": "a red \r\n9 ; x\r\nbicycle"}\r\n0;last\r\nX-Trailer: y\r\n\r\n'
    body = body.replace(b"9 ; x", b"9;x")
    pieces = [CHUNKED + body] if segments == "one" else [bytes([byte]) for byte in CHUNKED + body]
    (answer,) = await answers_to(port, *pieces)
    assert answer.status == 200, answer


async def test_endless_trailers_are_rejected(port: int) -> None:
    async with raw_connection(port) as connection:
        await connection.send(CHUNKED + b"0\r\nX: ", *[b"x" * 4000] * (8 * MAX_HEAD_BYTES // 4000))
        assert (await connection.answer()).code == "head_too_large"
        assert await connection.rest() == b""


async def test_the_host_of_an_absolute_target_replaces_the_header(port: int) -> None:
    """RFC 9112, 3.2.2. Otherwise Host could say localhost in a request to another name."""
    for target, status in (
        (b"http://localhost/status?x=1", 200),
        (b"http://LOCALHOST:1", 200),
        (b"http://[::1]/status", 200),
    ):
        (answer,) = await answers_to(port, b"GET " + target + b" HTTP/1.1\r\nHost: evil.example\r\n\r\n")
        assert answer.status == status, target
    (answer,) = await answers_to(port, b"GET http://evil.example/status HTTP/1.1\r\n" + HOST + b"\r\n")
    assert (answer.status, answer.code) == (403, "untrusted_host")


@pytest.mark.parametrize(
    ("request_line", "status", "allow"),
    [
        (b"OPTIONS /embed/text", 405, "POST"),
        (b"OPTIONS /status", 405, "GET, HEAD"),
        (b"HEAD /embed/text", 405, "POST"),
        (b"TRACE /status", 405, "GET, HEAD"),
        (b"PUT /status", 405, "GET, HEAD"),
    ],
)
async def test_other_methods_are_rejected_with_a_list_of_the_allowed_ones(
    port: int, request_line: bytes, status: int, allow: str
) -> None:
    async with raw_connection(port) as connection:
        await connection.send(request_line + b" HTTP/1.1\r\n" + HOST + b"Connection: close\r\n\r\n")
        answer = await connection.rest()
    assert answer.startswith(b"HTTP/1.1 %d " % status)
    assert sorted(allow.split(", ")) == sorted(_header(answer, b"allow").split(", "))


async def test_options_with_an_asterisk_is_answered(port: int) -> None:
    (answer,) = await answers_to(port, b"OPTIONS * HTTP/1.1\r\n" + HOST + b"\r\n")
    assert answer.status in {404, 405}
    assert answer.code in {"not_found", "method_not_allowed"}


async def test_head_is_answered_with_the_headers_of_get_and_no_body(port: int) -> None:
    async with raw_connection(port) as connection:
        await connection.send(b"HEAD /livez HTTP/1.1\r\n" + HOST + b"\r\n")
        await connection.send(b"GET /livez HTTP/1.1\r\n" + HOST + b"Connection: close\r\n\r\n")
        first, second = (await connection.rest()).split(b"HTTP/1.1 ")[1:]
    assert first.endswith(b"\r\n\r\n")
    assert _header(first, b"content-length") == _header(second, b"content-length")


@pytest.mark.parametrize("header", [b"", b"Connection: keep-alive\r\n"])
async def test_http_1_0_is_answered_and_closed(port: int, header: bytes) -> None:
    body = b'{"text": "a"}'
    async with raw_connection(port) as connection:
        await connection.send(
            b"POST /embed/text HTTP/1.0\r\nContent-Type: application/json\r\nExpect: 100-continue\r\n%b"
            b"Content-Length: %d\r\n\r\n%b" % (header, len(body), body)
        )
        answer = await connection.rest()
    assert answer.startswith(b"HTTP/1.1 200 ")  # and no interim answer, which HTTP/1.0 does not know
    assert _header(answer, b"connection") == "close"
    assert b"transfer-encoding" not in answer


async def test_a_client_that_expects_100_continue_gets_it(port: int) -> None:
    head, body = text_request("a", [b"Expect: 100-continue"])
    async with raw_connection(port) as connection:
        await connection.send(head)
        assert await connection.interim() == b"HTTP/1.1 100 Continue\r\n\r\n"
        await connection.send(body)
        assert (await connection.answer()).status == 200
        await connection.send(head + body)  # without waiting
        assert (await connection.answer()).status == 200


async def test_blank_lines_before_a_request_are_ignored(port: int) -> None:
    (answer,) = await answers_to(port, b"\r\n\r\n", b"GET /livez HTTP/1.1\r\n" + HOST + b"\r\n")
    assert answer.status == 200


def _header(answer: bytes, name: bytes) -> str:
    (line,) = [line for line in answer.lower().split(b"\r\n") if line.startswith(name + b": ")]
    return line.partition(b": ")[2].decode().upper() if name == b"allow" else line.partition(b": ")[2].decode()

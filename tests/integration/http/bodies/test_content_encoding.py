"""Compressed bodies, whose decompressed bytes count for the usual limits."""

from __future__ import annotations

import asyncio
import gzip
import json
import time
import tracemalloc
import zlib
from collections.abc import AsyncIterator, Callable
from functools import cache

import httpx
import numpy as np
import pytest

from sidecar.http.bodies.content_encoding import make_decoder
from tests.encoders import HashEncoder
from tests.integration.http.conftest import Serving
from tests.integration.http.errors import assert_error
from tests.integration.http.live_server import live_server
from tests.integration.http.pictures import picture
from tests.integration.http.raw_requests import raw_connection

MIB = 1024 * 1024
TEXT = "a red bicycle"
BODY = json.dumps({"text": TEXT}).encode()


def raw_deflate(data: bytes) -> bytes:
    deflating = zlib.compressobj(wbits=-15)
    return deflating.compress(data) + deflating.flush()


def in_members(data: bytes) -> bytes:
    return b"".join(gzip.compress(data[at : at + 5]) for at in range(0, len(data), 5)) + b"\0" * 512


def stored(data: bytes) -> bytes:
    return gzip.compress(data, 0)


ENCODINGS: dict[str, tuple[str, Callable[[bytes], bytes]]] = {
    "gzip": ("gzip", gzip.compress),
    "its old name": ("X-GZip", gzip.compress),
    "gzip, not smaller": ("gzip", stored),
    "several members": ("gzip", in_members),
    "deflate": ("deflate", zlib.compress),
    "deflate without its frame": ("deflate", raw_deflate),
    "nothing": ("identity", bytes),
    "gzip, named beside nothing": ("identity, gzip", gzip.compress),
}


@pytest.mark.parametrize("pieces", [1, 1000], ids=["whole", "byte by byte"])
@pytest.mark.parametrize("kind", ENCODINGS)
async def test_a_compressed_body_is_read_like_the_uncompressed_one(serving: Serving, kind: str, pieces: int) -> None:
    encoding, compress = ENCODINGS[kind]
    compressed = compress(BODY)
    size = max(len(compressed) // pieces, 1)

    async def sent() -> AsyncIterator[bytes]:
        for at in range(0, len(compressed), size):
            yield compressed[at : at + size]

    async with serving() as client:
        headers = {"Content-Encoding": encoding, "Content-Type": "application/json"}
        answer = await client.post("/embed/text", content=sent(), headers=headers)
        assert answer.status_code == 200, answer.text
        np.testing.assert_allclose(answer.json()["embedding"], HashEncoder().vector_of(TEXT), rtol=1e-6)


async def test_a_compressed_form_is_read_too(serving: Serving) -> None:
    async with serving() as client:
        plain = client.build_request("POST", "/embed/image", files={"file": ("a.png", picture())})
        headers = {"Content-Encoding": "gzip", "Content-Type": plain.headers["content-type"]}
        answers = [
            await client.send(plain),
            await client.post("/embed/image", content=gzip.compress(plain.read()), headers=headers),
        ]
        assert [answer.status_code for answer in answers] == [200, 200]
        assert answers[0].json() == answers[1].json()


async def post(client: httpx.AsyncClient, body: bytes, encoding: str) -> httpx.Response:
    headers = {"Content-Encoding": encoding, "Content-Type": "application/json"}
    return await client.post("/embed/text", content=body, headers=headers)


@pytest.mark.parametrize("encoding", ["br", "zstd", "compress", "gzip, gzip", "deflate, gzip", "nonsense"])
async def test_other_encodings_are_rejected_with_a_list_of_the_supported_ones(serving: Serving, encoding: str) -> None:
    async with serving() as client:
        refused = await post(client, gzip.compress(BODY), encoding)
        assert_error(
            refused, 415, "unsupported_encoding", f"The body has Content-Encoding '{encoding}'. What is read: gzip"
        )
        assert refused.headers["accept-encoding"] == "gzip, deflate"


async def test_identity_and_empty_encodings_are_ignored(serving: Serving) -> None:
    async with serving() as client:
        assert (await client.get("/livez", headers={"Content-Encoding": "br"})).status_code == 200


BROKEN = {
    "cut off": ("gzip", gzip.compress(BODY)[:-9]),
    "without its checksum": ("gzip", gzip.compress(BODY)[:-1]),
    "with another checksum": ("gzip", gzip.compress(BODY)[:-8] + bytes(8)),
    "not compressed": ("gzip", BODY),
    "something behind it": ("gzip", gzip.compress(BODY) + b"GET / HTTP/1.1"),
    "deflate, cut off": ("deflate", zlib.compress(BODY)[:-3]),
    "deflate, one byte": ("deflate", b"x"),
    "deflate, something behind it": ("deflate", zlib.compress(BODY) + BODY),
    "gzip called deflate": ("deflate", gzip.compress(BODY)),
}


@pytest.mark.parametrize("kind", BROKEN)
async def test_a_body_that_is_not_compressed_as_declared_is_rejected(serving: Serving, kind: str) -> None:
    encoding, body = BROKEN[kind]
    async with serving() as client:
        assert_error(await post(client, body, encoding), 400, "invalid_encoding", f"The body is not {encoding}, as ")


async def test_an_empty_compressed_body_is_empty(serving: Serving) -> None:
    async with serving() as client:
        assert_error(await post(client, gzip.compress(b""), "gzip"), 400, "invalid_json", "The body is not JSON")


@cache
def bomb(begin: bytes) -> bytes:
    """A body of 30 kB that decompresses to 30 MiB."""
    return gzip.compress(begin + bytes(30 * MIB), 6)


FORM = b'--x\r\nContent-Disposition: form-data; name="file"; filename="a.png"\r\n\r\n'


@pytest.mark.parametrize("path", ["/embed/text", "/embed/image", "/v1/embeddings", "/rerank"])
async def test_a_bomb_is_rejected_at_the_limit_and_never_held_in_memory(path: str) -> None:
    is_form = path == "/embed/image"
    media = "multipart/form-data; boundary=x" if is_form else "application/json"
    headers = {"Content-Encoding": "gzip", "Content-Type": media}
    content = bomb(FORM if is_form else b'{"text": "')
    assert len(content) < 60_000
    async with (
        live_server(HashEncoder(), max_body_bytes=2 * MIB) as port,
        httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}") as client,
    ):
        tracemalloc.start()
        try:
            answer = await client.post(path, content=content, headers=headers)
            peak_bytes = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
        assert_error(answer, 413, "body_too_large", "The body has more than 2097152 bytes.")
        assert peak_bytes < 10 * MIB
        assert (await post(client, gzip.compress(BODY), "gzip")).status_code == 200  # over the same connection


async def test_empty_members_end_at_the_limit_too() -> None:
    member = gzip.compress(b"")
    async with live_server(HashEncoder(), max_body_bytes=MIB) as port, raw_connection(port) as connection:
        await connection.send(
            b"POST /embed/text HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
            b"Content-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n\r\n"
        )
        answering = asyncio.create_task(connection.answer())
        chunk = member * 2000
        while not answering.done():
            await connection.send(b"%x\r\n%b\r\n" % (len(chunk), chunk))
        assert ((await answering).status, (await answering).code) == (413, "body_too_large")


async def test_decompressed_bytes_count_for_the_upload_budget() -> None:
    """Counted compressed, a thousand bodies of 64 KiB would be 64 GiB."""
    large = gzip.compress(b'{"text": "' + b"x" * 900_000 + b'"}')
    assert len(large) < 10_000
    head = (
        b"POST /embed/text HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
        b"Content-Encoding: gzip\r\nContent-Length: %d\r\n\r\n" % len(large)
    )
    async with (
        live_server(HashEncoder(), max_body_bytes=MIB, max_uploads_bytes=MIB, max_text_chars=MIB) as port,
        raw_connection(port) as first,
        raw_connection(port) as second,
    ):
        await first.send(head + large[:-20])  # nearly all of it comes out, and the rest never comes

        async def second_answer() -> tuple[int, str]:
            await second.send(head + large)
            answer = await second.answer()
            return answer.status, answer.headers.get("retry-after", "")

        answers = [await second_answer() for _ in range(3)]
        assert answers[-1] == (429, "1")


@pytest.mark.parametrize(
    "member",
    [gzip.compress(b""), gzip.compress(b"") + b"\0", gzip.compress(b"x") + b"\0"],
    ids=["empty", "empty and padded", "a byte and padded"],
)
def test_small_members_block_the_loop_for_at_most_8_kib_of_them(member: bytes) -> None:
    decoder = make_decoder(["gzip"])
    decoder.add(member * (256 * 1024 // len(member)))
    reads, took_s = 0, 0.0
    while decoder.has_more:
        began_s = time.thread_time()
        assert len(decoder.read()) < 1024
        took_s = max(took_s, time.thread_time() - began_s)
        reads += 1
    decoder.check_complete()
    assert reads >= 32
    assert took_s < 0.05  # 2 ms; all at once took 60 ms, with padding 500

"""Multipart forms, split into chunks anywhere."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.requests import Request
from starlette.types import Message

from sidecar.errors import InputError
from sidecar.http.bodies.multipart import read_files
from sidecar.http.limits import RequestLimits

LIMITS = RequestLimits(
    max_uploads_bytes=1_000_000,
    max_body_bytes=100_000,
    max_batch_texts=1,
    max_text_chars=1,
    max_image_bytes=100,
    max_search_rows=10,
    max_batch_images=5,
    max_rerank_documents=5,
    timeout_s=1.0,
)


def request_of(chunks: Sequence[bytes]) -> Request:
    messages: list[Message] = [{"type": "http.request", "body": chunk, "more_body": True} for chunk in chunks]
    messages.append({"type": "http.request", "body": b"", "more_body": False})

    async def receive() -> Message:
        return messages.pop(0)

    headers = [(b"content-type", b"multipart/form-data; boundary=cut")]
    return Request({"type": "http", "method": "POST", "path": "/", "headers": headers}, receive)


def form_of(files: Sequence[bytes]) -> bytes:
    head = b'--cut\r\nContent-Disposition: form-data; name="file"; filename="a"\r\nContent-Type: image/png\r\n\r\n'
    return b"".join(head + file + b"\r\n" for file in files) + b"--cut--\r\n"


def split(body: bytes, cuts: Sequence[int]) -> list[bytes]:
    edges = [0, *sorted(cut % (len(body) + 1) for cut in cuts), len(body)]
    return [body[start:end] for start, end in pairwise(edges)]


# Line ends and dashes are what boundaries are made of.
FILES = st.lists(st.one_of(st.binary(min_size=1, max_size=100), st.text("\r\n-cut", min_size=1).map(str.encode)))
NICE_FILES = FILES.map(lambda files: [file[:100] for file in files if b"--cut" not in file][:5]).filter(bool)


@given(NICE_FILES, st.lists(st.integers(min_value=0)))
def test_files_do_not_depend_on_how_the_body_is_split(files: list[bytes], cuts: list[int]) -> None:
    assert asyncio.run(read_files(request_of(split(form_of(files), cuts)), LIMITS)) == files


def test_a_form_with_too_many_parts_is_rejected() -> None:
    other = b'--cut\r\nContent-Disposition: form-data; name="a"\r\n\r\nb\r\n'
    assert asyncio.run(read_files(request_of([other * 900 + form_of([b"file"])]), LIMITS)) == [b"file"]
    with pytest.raises(InputError) as caught:
        asyncio.run(read_files(request_of([other * 1100 + form_of([b"file"])]), LIMITS))
    assert caught.value.code == "too_many_parts"


@given(st.binary(max_size=300), st.lists(st.integers(min_value=0)))
def test_any_body_is_either_read_or_rejected(body: bytes, cuts: list[int]) -> None:
    with suppress(InputError):
        assert all(asyncio.run(read_files(request_of(split(body, cuts)), LIMITS)))

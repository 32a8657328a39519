from __future__ import annotations

import base64
import socket
from collections.abc import Callable

import pytest

from sidecar.errors import InputError
from sidecar.http.images.fetcher import FetchLimits, ImageFetcher
from sidecar.http.images.loader import ImageLoader, is_image_reference
from sidecar.http.images.name_resolution import NameResolver
from sidecar.http.images.public_addresses import IPAddress

MAX_BYTES = 100
PICTURE = bytes(range(MAX_BYTES))
ENCODED = base64.b64encode(PICTURE).decode()


def image_loader(*hosts: str) -> ImageLoader:
    return ImageLoader(MAX_BYTES, ImageFetcher(FetchLimits(hosts, MAX_BYTES, 1.0), NameResolver()))


@pytest.mark.parametrize(
    "head",
    [
        "data:image/png;base64,",
        "data:image/svg+xml;charset=utf-8;base64,",
        "DATA:IMAGE/PNG;BASE64,",
        "data:;base64,",
        "data:application/octet-stream;base64,",
    ],
)
async def test_a_data_uri_is_decoded_whatever_its_media_type(head: str) -> None:
    assert await image_loader().load(head + ENCODED, "input") == PICTURE


BAD = {
    "data:image/png,abc": ("invalid_data_uri", "`input[1]` is a data URI without `;base64,`."),
    "data:;base64": ("invalid_data_uri", "`input[1]` is a data URI without `;base64,`."),
    "data:" + ";" * 100_000: ("invalid_data_uri", "`input[1]` is a data URI without `;base64,`."),
    "data:text/plain;base64,aGFsbG8=": ("unsupported_format", "`input[1]` is a data URI of 'text/plain', not of"),
    "data:image/png;base64,": ("empty_file", "`input[1]` is an empty picture."),
    "data:image/png;base64,aGFsbG8": ("invalid_base64", "`input[1]` is not base64: incorrect padding."),
    "data:image/png;base64,aGFs bG8=": ("invalid_base64", "`input[1]` is not base64: only base64 data is allowed."),
    "data:image/png;base64,aGF_": ("invalid_base64", "`input[1]` is not base64: only base64 data is allowed."),
    "data:image/png;base64,aGFsbG8=aGFs": ("invalid_base64", "`input[1]` is not base64: excess data after padding."),
    "data:image/png;base64,ä": ("invalid_base64", "`input[1]` is not base64: "),
    f"data:image/png;base64,{ENCODED}AAAA": ("too_many_bytes", "`input[1]` has more than 100 bytes."),
    "a red bicycle": ("invalid_image_reference", "`input[1]` must be the data URI of a picture."),
    "": ("invalid_image_reference", "`input[1]` must be the data URI of a picture."),
    "https://pictures.example/a.png": (
        "image_url_refused",
        "`input[1]`: Pictures are not fetched from URLs here (ALLOW",
    ),
    "http://pictures.example/a.png": (
        "image_url_refused",
        "`input[1]`: Pictures are not fetched from URLs here (ALLOW",
    ),
}


@pytest.mark.parametrize("reference", BAD, ids=lambda reference: reference[:30])
async def test_a_bad_reference_is_named_with_its_error(reference: str) -> None:
    code, message = BAD[reference]
    with pytest.raises(InputError) as caught:
        await image_loader().load(reference, "input[1]")
    assert (caught.value.code, caught.value.param) == (code, "input[1]")
    assert caught.value.message.startswith(message)


async def test_a_name_that_resolves_to_loopback_is_rejected() -> None:
    with pytest.raises(InputError, match=r"^`input`: 'localhost' has an address that is not public\.$"):
        await image_loader("localhost").load("https://localhost/a.png", "input")


async def test_hanging_lookups_are_limited() -> None:
    works: list[Callable[[], list[IPAddress]]] = []

    async def never(_name: str, work: Callable[[], list[IPAddress]]) -> list[IPAddress]:
        works.append(work)
        return []

    resolve = NameResolver(never)
    for _ in range(16):
        await resolve("localhost")
    with pytest.raises(OSError, match="too many lookups are unanswered"):
        await resolve("localhost")
    assert all(address.is_loopback for address in works[0]())  # a late answer frees its slot
    await resolve("localhost")


async def test_an_unknown_name_raises_the_resolvers_error() -> None:
    with pytest.raises(socket.gaierror):
        await NameResolver()("nothing.invalid")


@pytest.mark.parametrize(
    ("text", "is_reference"),
    [
        ("data:image/jpeg;base64,/9j/", True),
        ("Data:image/svg+xml;charset=utf-8;base64,PHN2Zz4=", True),
        ("data:;base64,/9j/", False),
        ("data:text/plain;base64,aGFsbG8=", False),
        ("data:image/png is how a picture's data URI begins", False),
        ("data: we measured it, twice", False),
        ("https://pictures.example/a.png", False),
        ("a red bicycle", False),
    ],
)
def test_only_a_pictures_data_uri_is_recognised_as_a_reference(text: str, is_reference: bool) -> None:
    assert is_image_reference(text) is is_reference

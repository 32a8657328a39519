"""Fetching pictures by URL, and every attempt to redirect a fetch elsewhere; over real TLS, on loopback."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from ipaddress import ip_address
from pathlib import Path

import pytest

from sidecar.errors import InputError
from sidecar.http.images.fetcher import FetchLimits, ImageFetcher
from sidecar.http.images.loader import ImageLoader
from sidecar.http.images.public_addresses import IPAddress
from tests.integration.http.images.certificates import Authority
from tests.integration.http.images.picture_host import Answer, Names, PictureHost, answer

HERE = "127.0.0.1"  # stands for the public internet
INSIDE = "127.0.0.2"  # stands for the private network
PICTURE = b"\x89PNG" + bytes(2000)


def is_here(address: IPAddress) -> bool:
    return address == ip_address(HERE)


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority.create(Path(tmp_path_factory.mktemp("authority")))


@pytest.fixture
async def host(authority: Authority) -> AsyncIterator[PictureHost]:
    host = PictureHost()
    host.answers["/a.png"] = answer(body=PICTURE)
    async with host.running(authority.server_context("pictures.example", "other.example", "*.wild.example")):
        yield host


class Fetching:
    """An ImageFetcher with the settings of one test."""

    def __init__(self, authority: Authority, host: PictureHost) -> None:
        self.names = Names(pictures__example=[[HERE]], other__example=[[HERE]], a__wild__example=[[HERE]])
        self.port = host.port
        self.hosts: tuple[str, ...] = (f"pictures.example:{host.port}", f"*.wild.example:{host.port}")
        self.timeout_s = 5.0
        self._authority = authority

    async def fetch(self, path: str, host: str = "pictures.example") -> bytes:
        return await self.fetch_url(f"https://{host}:{self.port}{path}")

    async def fetch_url(self, url: str) -> bytes:
        limits = FetchLimits(self.hosts, max_bytes=100_000, timeout_s=self.timeout_s)
        return await ImageFetcher(limits, self.names, self._authority.client_context(), is_here).fetch(url)

    async def refusal(self, path: str, host: str = "pictures.example") -> tuple[str, str]:
        """Code and message of the error that the fetch raises."""
        with pytest.raises(InputError) as caught:
            await self.fetch(path, host)
        return caught.value.code, caught.value.message


@pytest.fixture
def fetching(authority: Authority, host: PictureHost) -> Fetching:
    return Fetching(authority, host)


async def test_a_fetch_sends_nothing_that_identifies_the_caller(fetching: Fetching, host: PictureHost) -> None:
    host.answers["/a.png?size=2"] = answer(body=PICTURE)
    assert await fetching.fetch("/a.png?size=2#fragment") == PICTURE
    (head,) = host.requests
    request, *headers = head.strip().split("\r\n")
    assert request == "GET /a.png?size=2 HTTP/1.1"
    named = {line.partition(":")[0].lower(): line.partition(": ")[2] for line in headers}
    assert set(named) == {"host", "accept", "accept-encoding", "user-agent"}
    assert named["host"] == f"pictures.example:{host.port}"
    assert named["accept-encoding"] == "identity"


async def test_a_wildcard_matches_subdomains_only(fetching: Fetching) -> None:
    assert await fetching.fetch("/a.png", "a.wild.example") == PICTURE
    assert (await fetching.refusal("/a.png", "wild.example"))[0] == "image_url_refused"


async def test_without_the_setting_nothing_is_fetched(fetching: Fetching, host: PictureHost) -> None:
    fetching.hosts = ()
    code, message = await fetching.refusal("/a.png")
    assert code == "image_url_refused"
    assert message.startswith("Pictures are not fetched from URLs here (ALLOW_IMAGE_URLS is not set).")
    assert (fetching.names.asked, host.connections) == ([], 0)


@pytest.mark.parametrize(
    "name", ["other.example", "xpictures.example", "pictures.example.evil.example", "evilwild.example"]
)
async def test_a_host_that_is_not_listed_is_not_even_resolved(fetching: Fetching, name: str) -> None:
    code, message = await fetching.refusal("/a.png", name)
    assert (code, message) == (
        "image_url_refused",
        f"'{name}:{fetching.port}' is not among the hosts of ALLOW_IMAGE_URLS.",
    )
    assert fetching.names.asked == []


async def test_a_port_that_is_not_listed_is_rejected(fetching: Fetching) -> None:
    fetching.hosts = ("pictures.example",)
    assert (await fetching.refusal("/a.png"))[0] == "image_url_refused"


@pytest.mark.parametrize("addresses", [[INSIDE], [HERE, INSIDE], [INSIDE, HERE], ["::ffff:127.0.0.1"]])
async def test_a_name_with_a_private_address_is_rejected_without_revealing_it(
    fetching: Fetching, host: PictureHost, addresses: list[str]
) -> None:
    fetching.names.addresses["pictures.example"] = [addresses]
    code, message = await fetching.refusal("/a.png")
    assert (code, message) == ("image_url_refused", "'pictures.example' has an address that is not public.")
    assert host.connections == 0


async def test_dns_rebinding_after_the_check_has_no_effect(
    fetching: Fetching, host: PictureHost, authority: Authority
) -> None:
    fetching.names.addresses["pictures.example"] = [[HERE], [INSIDE]]
    inside = PictureHost()
    inside.port = host.port
    inside.answers["/a.png"] = answer(body=b"secret")
    async with inside.running(authority.server_context("pictures.example"), INSIDE):
        assert await fetching.fetch("/a.png") == PICTURE
        assert (fetching.names.asked, inside.connections) == (["pictures.example"], 0)
        assert (await fetching.refusal("/a.png"))[0] == "image_url_refused"  # resolved and checked again
        assert inside.connections == 0


async def test_an_unreachable_address_is_skipped(authority: Authority, host: PictureHost) -> None:
    limits = FetchLimits((f"pictures.example:{host.port}",), 100_000, 5.0)
    names = Names(pictures__example=[["127.0.0.3", HERE]])
    urls = ImageFetcher(limits, names, authority.client_context(), lambda address: address.is_loopback)
    assert await urls.fetch(f"https://pictures.example:{host.port}/a.png") == PICTURE


async def test_a_certificate_for_another_name_is_rejected(fetching: Fetching) -> None:
    fetching.names.addresses["wrong.example"] = [[HERE]]
    fetching.hosts = (f"wrong.example:{fetching.port}",)
    code, message = await fetching.refusal("/a.png", "wrong.example")
    assert (code, message) == ("image_url_failed", "'wrong.example' could not be reached, or hung up.")


async def test_a_certificate_of_an_unknown_authority_is_rejected(host: PictureHost) -> None:
    limits = FetchLimits((f"pictures.example:{host.port}",), 100_000, 5.0)
    urls = ImageFetcher(limits, Names(pictures__example=[[HERE]]), is_admissible=is_here)
    with pytest.raises(InputError, match="could not be reached"):
        await urls.fetch(f"https://pictures.example:{host.port}/a.png")
    assert host.requests == []


async def test_redirects_to_listed_hosts_are_followed(fetching: Fetching, host: PictureHost) -> None:
    host.answers["/relative"] = answer(302, location="a.png")
    host.answers["/elsewhere"] = answer(301, location=f"https://a.wild.example:{host.port}/relative")
    assert await fetching.fetch("/elsewhere") == PICTURE
    assert fetching.names.asked == ["pictures.example", "a.wild.example", "a.wild.example"]


REDIRECTS = {
    "another host": ("https://other.example:{port}/a.png", "'other.example:"),
    "no TLS": ("http://pictures.example:{port}/a.png", "'pictures.example' redirects, but only https:// URLs"),
    "a file": ("file:///etc/passwd", "'pictures.example' redirects, but only https:// URLs"),
    "an address": ("https://169.254.169.254/latest", "'pictures.example' redirects, but the host must be a name"),
    "another scheme's host": ("//other.example/a.png", "'other.example' is not among the hosts"),
    "a user": ("https://pictures.example@other.example/", "'pictures.example' redirects, but a URL with user"),
    "nowhere": ("", "'pictures.example' redirects, but the address it redirects to is not a URL"),
}


@pytest.mark.parametrize("case", REDIRECTS)
async def test_a_redirect_elsewhere_is_rejected(fetching: Fetching, host: PictureHost, case: str) -> None:
    location, expected = REDIRECTS[case]
    host.answers["/leave"] = answer(302, location=location.format(port=host.port))
    code, message = await fetching.refusal("/leave")
    assert code == "image_url_refused"
    assert message.startswith(expected)
    assert (fetching.names.asked, host.connections) == (["pictures.example"], 1)


async def test_a_redirect_to_a_name_with_a_private_address_is_rejected(fetching: Fetching, host: PictureHost) -> None:
    fetching.names.addresses["a.wild.example"] = [[INSIDE]]
    host.answers["/leave"] = answer(307, location=f"https://a.wild.example:{host.port}/a.png")
    assert (await fetching.refusal("/leave"))[1] == "'a.wild.example' has an address that is not public."


async def test_endless_redirects_are_abandoned(fetching: Fetching, host: PictureHost) -> None:
    host.answers["/again"] = answer(302, location="/again")
    code, message = await fetching.refusal("/again")
    assert (code, message) == ("image_url_failed", "More than 3 redirects, the last to 'pictures.example'.")
    assert host.connections == 4


def endless(pause_s: float = 0.0, size: int = 10_000) -> Answer:
    async def write(writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        while True:
            writer.write(b"%x\r\n" % size + b"x" * size + b"\r\n")
            await writer.drain()
            await asyncio.sleep(pause_s)

    return write


async def silent(writer: asyncio.StreamWriter) -> None:
    await writer.wait_closed()


async def endless_head(writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\n")
    while True:
        writer.write(b"X-More: " + b"x" * 10_000 + b"\r\n")
        await writer.drain()


async def test_an_endless_body_is_cut_off(fetching: Fetching, host: PictureHost) -> None:
    host.answers["/endless"] = endless()
    code, message = await fetching.refusal("/endless")
    assert (code, message) == ("too_many_bytes", "It has more than 100000 bytes. The limit is MAX_IMAGE_BYTES.")


async def test_a_body_declared_too_large_is_rejected(fetching: Fetching, host: PictureHost) -> None:
    host.answers["/large"] = answer(body=bytes(100_001))
    assert (await fetching.refusal("/large"))[0] == "too_many_bytes"
    host.answers["/fits"] = answer(body=bytes(100_000))
    assert len(await fetching.fetch("/fits")) == 100_000


@pytest.mark.parametrize("slow", [silent, endless(pause_s=0.05, size=1)], ids=["nothing", "a byte at a time"])
async def test_a_slow_body_times_out(fetching: Fetching, host: PictureHost, slow: Answer) -> None:
    host.answers["/slow"] = slow
    fetching.timeout_s = 0.3
    began = time.monotonic()
    code, message = await fetching.refusal("/slow")
    assert time.monotonic() - began < 8
    assert (code, message) == (
        "image_url_failed",
        "'pictures.example' did not send it within 0.3 s (IMAGE_URL_TIMEOUT_S).",
    )


async def test_slow_redirects_share_one_time_limit(fetching: Fetching, host: PictureHost) -> None:
    async def slowly(writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(0.2)
        await answer(302, location="/slowly")(writer)

    host.answers["/slowly"] = slowly
    fetching.timeout_s = 0.5
    assert "IMAGE_URL_TIMEOUT_S" in (await fetching.refusal("/slowly"))[1]


FAILURES: dict[str, tuple[Answer, str, str]] = {
    "not found": (answer(404, PICTURE), "image_url_failed", "'pictures.example' answered 404."),
    "partial": (answer(206, PICTURE), "image_url_failed", "'pictures.example' answered 206."),
    "empty": (answer(200), "empty_file", "It is empty."),
    "compressed": (answer(200, PICTURE, content_encoding="gzip"), "image_url_failed", "It was sent compressed"),
    "endless head": (endless_head, "image_url_failed", "'pictures.example' could not be reached, or hung up."),
}


@pytest.mark.parametrize("case", FAILURES)
async def test_a_failed_fetch_says_why(fetching: Fetching, host: PictureHost, case: str) -> None:
    host.answers["/bad"], code, message = FAILURES[case]
    assert (await fetching.refusal("/bad"))[0] == code
    assert (await fetching.refusal("/bad"))[1].startswith(message)


async def test_a_truncated_response_is_an_error(fetching: Fetching, host: PictureHost) -> None:
    async def break_off(writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\nhalf")

    host.answers["/half"] = break_off
    assert await fetching.refusal("/half") == (
        "image_url_failed",
        "'pictures.example' could not be reached, or hung up.",
    )


async def test_an_unknown_name_is_an_error(fetching: Fetching) -> None:
    assert await fetching.refusal("/a.png", "none.wild.example") == (
        "image_url_failed",
        "The name 'none.wild.example' cannot be resolved.",
    )


async def test_a_hanging_name_server_times_out(authority: Authority) -> None:
    async def never(_host: str) -> list[IPAddress]:
        await asyncio.Event().wait()
        raise AssertionError

    urls = ImageFetcher(FetchLimits(("pictures.example",), 100_000, 0.1), never, authority.client_context())
    with pytest.raises(InputError, match="IMAGE_URL_TIMEOUT_S"):
        await urls.fetch("https://pictures.example/a.png")


async def test_an_error_names_the_reference_that_failed(authority: Authority, host: PictureHost) -> None:
    limits = FetchLimits((f"pictures.example:{host.port}",), 1_000, 5.0)
    urls = ImageFetcher(limits, Names(pictures__example=[[HERE]]), authority.client_context(), is_here)
    host.answers["/small.png"] = answer(body=PICTURE[:100])
    images = ImageLoader(1_000, urls)
    assert await images.load(f"https://pictures.example:{host.port}/small.png", "input[1]") == PICTURE[:100]
    for path, code in (("/a.png", "too_many_bytes"), ("/none.png", "image_url_failed")):
        host.answers["/none.png"] = answer(404)
        with pytest.raises(InputError, match=r"^`input\[1\]`: ") as caught:
            await images.load(f"https://pictures.example:{host.port}{path}", "input[1]")
        assert (caught.value.code, caught.value.param) == (code, "input[1]")

"""Fetches pictures from the hosts that ALLOW_IMAGE_URLS names, and from nowhere else.

A URL in a request can be used to attack other machines from here (SSRF). Therefore: https only; the host of every hop
must be on the list; it is resolved once, and all of its addresses must be public; the connection goes to an address
that was checked, and the certificate must be for the host's name. No cookies, no credentials, no proxy.
"""

from __future__ import annotations

import asyncio
import logging
import ssl
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import httpcore2

import sidecar
from sidecar.errors import InputError, PictureRejected
from sidecar.http.images.https_url import HttpsUrl, is_allowed, join_https_url, parse_https_url
from sidecar.http.images.name_resolution import Resolve
from sidecar.http.images.public_addresses import IPAddress, is_public

logger = logging.getLogger(__name__)

_MAX_REDIRECTS = 3
_REDIRECTS = {301, 302, 303, 307, 308}
_FETCHES_AT_ONCE = 16
_HEADERS = (
    (b"Accept", b"image/*"),
    (b"Accept-Encoding", b"identity"),
    (b"User-Agent", f"sidecar/{sidecar.__version__}".encode()),
)


@dataclass(frozen=True, slots=True)
class FetchLimits:
    """Limits of fetches. `timeout_s` covers a whole fetch, from name lookup to body.

    `hosts` are the patterns of ALLOW_IMAGE_URLS.
    """

    hosts: tuple[str, ...]
    max_bytes: int
    timeout_s: float


class ImageFetcher:
    """Fetches pictures by URL, at most 16 at once; `is_admissible` decides which addresses may be connected to."""

    def __init__(
        self,
        limits: FetchLimits,
        resolve: Resolve,
        ssl_context: ssl.SSLContext | None = None,
        is_admissible: Callable[[IPAddress], bool] = is_public,
    ) -> None:
        self._limits = limits
        self._resolve = resolve
        # Created only if needed: it loads all certificate authorities of the system.
        self._ssl_context = ssl_context or (ssl.create_default_context() if limits.hosts else None)
        self._is_admissible = is_admissible
        self._slots = asyncio.Semaphore(_FETCHES_AT_ONCE)

    async def fetch(self, text: str) -> bytes:
        """The body of the response. Raises InputError (`image_url_refused`, `image_url_failed`), PictureRejected."""
        url = self._parse(text)
        async with self._slots:
            try:
                async with asyncio.timeout(self._limits.timeout_s):
                    return await self._follow(url)
            except TimeoutError as error:
                message = f"{url.host!r} did not send it within {self._limits.timeout_s:g} s (IMAGE_URL_TIMEOUT_S)."
                raise InputError("image_url_failed", message) from error

    async def _follow(self, url: HttpsUrl) -> bytes:
        for _ in range(1 + _MAX_REDIRECTS):
            answer = await self._request(url)
            if isinstance(answer, bytes):
                return answer
            url = answer
        raise InputError("image_url_failed", f"More than {_MAX_REDIRECTS} redirects, the last to {url.host!r}.")

    async def _request(self, url: HttpsUrl) -> bytes | HttpsUrl:
        """One hop: the picture, or the URL it redirects to."""
        backend = _CheckedBackend(await self._resolve_checked(url.host))
        try:
            async with (
                httpcore2.AsyncConnectionPool(self._ssl_context, network_backend=backend) as pool,
                pool.stream("GET", _to_httpcore_url(url), headers=_HEADERS) as response,
            ):
                if response.status in _REDIRECTS:
                    return self._redirect_target(url, _header(response, b"location"))
                if response.status != 200:
                    raise InputError("image_url_failed", f"{url.host!r} answered {response.status}.")
                return await self._read_body(response)
        except (httpcore2.NetworkError, httpcore2.TimeoutException, httpcore2.ProtocolError, ssl.SSLError) as error:
            logger.info("No picture from %s: %r", url.host, error)
            raise InputError("image_url_failed", f"{url.host!r} could not be reached, or hung up.") from error

    async def _resolve_checked(self, host: str) -> list[IPAddress]:
        """The addresses of `host`, all of them admissible."""
        try:
            addresses = await self._resolve(host)
        except (OSError, UnicodeError) as error:
            logger.info("%s cannot be resolved: %s", host, error)
            raise InputError("image_url_failed", f"The name {host!r} cannot be resolved.") from error
        refused = [address for address in addresses if not self._is_admissible(address)]
        if refused or not addresses:
            logger.warning("No picture was fetched from %s, which has the address %s", host, refused)
            raise InputError("image_url_refused", f"{host!r} has an address that is not public.")
        return addresses

    async def _read_body(self, response: httpcore2.Response) -> bytes:
        """The whole body. Raises PictureRejected if it exceeds MAX_IMAGE_BYTES, InputError if compressed or empty."""
        if _header(response, b"content-encoding") not in {"", "identity"}:
            raise InputError("image_url_failed", "It was sent compressed, although no compression was asked for.")
        declared = _header(response, b"content-length")
        image = bytearray()
        async for chunk in response.aiter_stream():
            if len(image) + len(chunk) > self._limits.max_bytes or int(declared or 0) > self._limits.max_bytes:
                message = f"It has more than {self._limits.max_bytes} bytes. The limit is MAX_IMAGE_BYTES."
                raise PictureRejected("too_many_bytes", message)
            image += chunk
        if not image:
            raise InputError("empty_file", "It is empty.")
        return bytes(image)

    def _redirect_target(self, url: HttpsUrl, location: str) -> HttpsUrl:
        try:
            target = join_https_url(url, location)
        except ValueError as error:
            raise InputError("image_url_refused", f"{url.host!r} redirects, but {error}.") from error
        return self._require_allowed(target)

    def _parse(self, text: str) -> HttpsUrl:
        if not self._limits.hosts:
            message = "Pictures are not fetched from URLs here (ALLOW_IMAGE_URLS is not set). Send it as a data URI."
            raise InputError("image_url_refused", message)
        try:
            url = parse_https_url(text)
        except ValueError as error:
            raise InputError("image_url_refused", f"It is not fetched: {error}.") from error
        return self._require_allowed(url)

    def _require_allowed(self, url: HttpsUrl) -> HttpsUrl:
        if not is_allowed(url, self._limits.hosts):
            name = url.host if url.port == 443 else f"{url.host}:{url.port}"
            raise InputError("image_url_refused", f"{name!r} is not among the hosts of ALLOW_IMAGE_URLS.")
        return url


class _CheckedBackend(httpcore2.AsyncNetworkBackend):
    """Connects to the checked addresses in order, even if the host name resolves to others by now."""

    def __init__(self, addresses: Sequence[IPAddress]) -> None:
        self._addresses = addresses
        self._network = httpcore2.AnyIOBackend()

    async def connect_tcp(
        self,
        host: str,  # noqa: ARG002 - resolving the name again could give another address
        port: int,
        timeout: float | None = None,  # noqa: ASYNC109
        local_address: str | None = None,
        socket_options: Iterable[httpcore2.SOCKET_OPTION] | None = None,
    ) -> httpcore2.AsyncNetworkStream:
        *others, last = self._addresses
        for address in others:
            try:
                return await self._network.connect_tcp(str(address), port, 1.0, local_address, socket_options)
            except (httpcore2.ConnectError, httpcore2.ConnectTimeout):
                continue
        return await self._network.connect_tcp(str(last), port, timeout, local_address, socket_options)


def _to_httpcore_url(url: HttpsUrl) -> httpcore2.URL:
    return httpcore2.URL(scheme=b"https", host=url.host.encode(), port=url.port, target=url.target.encode())


def _header(response: httpcore2.Response, name: bytes) -> str:
    """The header's first value, decoded as latin-1; empty if absent."""
    values = [value for key, value in response.headers if key.lower() == name]
    return values[0].decode("latin-1").strip() if values else ""

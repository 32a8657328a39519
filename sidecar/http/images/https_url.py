"""Strict parsing of https URLs: the host that is checked is the host that is connected to."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from urllib.parse import urljoin

_MAX_CHARS = 8192
_PARTS = re.compile(r"https://(?P<authority>[^/?#]*)(?P<path>[^?#]*)(?P<query>(?:\?[^#]*)?)(?:#.*)?", re.IGNORECASE)
_CHARACTERS = re.compile(r"[\x21-\x7e]+")  # no blanks, no control characters
_LABEL = r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?"
_HOST = re.compile(rf"{_LABEL}(?:\.{_LABEL})*")
_ADDRESS = re.compile(r"(?:.*\.)?(?:[0-9]+|0x[0-9a-f]*)")  # as clients read it: 127.1, 2130706433, 0x7f000001
_PORT = re.compile(r"[0-9]{1,5}")


@dataclass(frozen=True, slots=True)
class HttpsUrl:
    """A parsed https URL; `target` is path and query, as sent."""

    host: str
    port: int
    target: str

    def __str__(self) -> str:
        port = "" if self.port == 443 else f":{self.port}"
        return f"https://{self.host}{port}{self.target}"


def parse_https_url(text: str) -> HttpsUrl:
    """The URL in `text`. Raises ValueError with the reason if it is not https, or parsers could read it differently."""
    if len(text) > _MAX_CHARS:
        raise ValueError(f"the URL has more than {_MAX_CHARS} characters")
    if not _CHARACTERS.fullmatch(text) or "\\" in text:
        raise ValueError("a URL is ASCII without blanks and backslashes; encode the rest as %XX, names as punycode")
    parts = _PARTS.fullmatch(text)
    if parts is None:
        raise ValueError("only https:// URLs are fetched")
    if "@" in parts["authority"]:
        raise ValueError("a URL with user or password is not fetched")
    name, colon, port = parts["authority"].lower().partition(":")
    host = name.removesuffix(".")
    if not _HOST.fullmatch(host) or len(host) > 253 or _ADDRESS.fullmatch(host):
        raise ValueError("the host must be a name, not an address")
    if colon and not (_PORT.fullmatch(port) and 0 < int(port) < 65536):
        raise ValueError("the port is not a number from 1 to 65535")
    return HttpsUrl(host, int(port) if colon else 443, (parts["path"] or "/") + parts["query"])


def join_https_url(base: HttpsUrl, location: str) -> HttpsUrl:
    """The URL that a redirect from `base` to `location` leads to. Raises ValueError."""
    if not _CHARACTERS.fullmatch(location):  # checked before joining, which drops some of them
        raise ValueError("the address it redirects to is not a URL")
    return parse_https_url(urljoin(str(base), location))


def is_allowed(url: HttpsUrl, patterns: Iterable[str]) -> bool:
    """Whether one of `patterns` matches the URL's host and port; a pattern without a port means 443."""
    for pattern in patterns:
        host, _, port = pattern.lower().partition(":")
        fits = url.host.endswith(host[1:]) if host.startswith("*.") else url.host == host
        if fits and url.port == int(port or 443):
            return True
    return False

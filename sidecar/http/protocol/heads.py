"""Checks of a request's head that uvicorn leaves out: version, ambiguous headers, form of the target."""

from __future__ import annotations

from dataclasses import dataclass

import httptools

from sidecar.errors import InputError

Headers = list[tuple[bytes, bytes]]

_VERSIONS = ("1.0", "1.1")


@dataclass(frozen=True, slots=True)
class Head:
    """The head of a request, parsed: names of headers in lower case, `version` such as 1.1, `target` as it was sent."""

    method: bytes
    target: bytes
    version: str
    headers: Headers

    def check(self) -> None:
        """Raises InputError for a head of another protocol, or with more than one possible meaning."""
        if self.version not in _VERSIONS:
            raise InputError("http_version_not_supported", f"The service speaks HTTP/1.1, not HTTP/{self.version}.")
        if sum(name == b"host" for name, _ in self.headers) > 1:
            raise InputError("malformed_request", "The request has more than one Host header.")
        codings = [value.strip().lower() for name, value in self.headers if name == b"transfer-encoding"]
        if codings and (codings != [b"chunked"] or self.version == "1.0"):
            message = "The only Transfer-Encoding is `chunked`, in HTTP/1.1. To compress, use Content-Encoding: gzip."
            raise InputError("unsupported_transfer_encoding", message)

    def with_path_target(self) -> Head:
        """The same request with a path as its target: `*` of OPTIONS is `/`, a URL is its path and the header Host.

        The URL's host counts, whatever the header says (RFC 9112, 3.2.2). Raises InputError for any other target.
        """
        if self.target.startswith(b"/"):
            return self
        if self.target == b"*" and self.method == b"OPTIONS":
            return Head(self.method, b"/", self.version, self.headers)
        url = httptools.parse_url(self.target)
        if url.schema not in {b"http", b"https"} or not url.host:
            raise InputError("malformed_request", "The target of the request is neither a path nor a URL.")
        host = b"[%b]" % url.host if b":" in url.host else url.host
        authority = b"%b:%d" % (host, url.port) if url.port else host
        headers = [(b"host", authority), *(header for header in self.headers if header[0] != b"host")]
        target = (url.path or b"/") + (b"?" + url.query if url.query else b"")
        return Head(self.method, target, self.version, headers)

    def without_upgrade(self) -> bytes:
        """The head in bytes, but for `Upgrade`: how an offer to upgrade is declined (RFC 9110, 7.8)."""
        lines = [b"%b %b HTTP/%b" % (self.method, self.target, self.version.encode())]
        lines += [b"%b: %b" % header for header in self.headers if header[0] != b"upgrade"]
        return b"\r\n".join([*lines, b"", b""])

"""Checks of a request's head, and its target as a path."""

from __future__ import annotations

import pytest

from sidecar.errors import InputError
from sidecar.http.protocol.heads import Head, Headers

HOST: Headers = [(b"host", b"localhost")]
CHUNKED = (b"transfer-encoding", b"chunked")


def head(target: bytes = b"/", method: bytes = b"GET", version: str = "1.1", headers: Headers = HOST) -> Head:
    return Head(method, target, version, headers)


@pytest.mark.parametrize(
    ("head", "code"),
    [
        (head(version="2.0"), "http_version_not_supported"),
        (head(headers=[*HOST, *HOST]), "malformed_request"),
        (head(headers=[(b"transfer-encoding", b"gzip, chunked")]), "unsupported_transfer_encoding"),
        (
            head(headers=[CHUNKED, CHUNKED]),
            "unsupported_transfer_encoding",
        ),
        (head(headers=[CHUNKED], version="1.0"), "unsupported_transfer_encoding"),
    ],
)
def test_a_head_of_another_version_or_with_ambiguous_headers_is_rejected(head: Head, code: str) -> None:
    with pytest.raises(InputError) as raised:
        head.check()
    assert raised.value.code == code


@pytest.mark.parametrize("headers", [[], HOST, [(b"transfer-encoding", b" Chunked ")]])
def test_an_unambiguous_head_passes(headers: Headers) -> None:
    head(headers=headers).check()


@pytest.mark.parametrize(
    ("target", "path", "host"),
    [
        (b"/embed?a=1", b"/embed?a=1", b"localhost"),
        (b"http://other/embed?a=1", b"/embed?a=1", b"other"),
        (b"https://other:8443", b"/", b"other:8443"),
        (b"http://[::1]:9000/x", b"/x", b"[::1]:9000"),
    ],
)
def test_a_url_as_target_becomes_a_path_and_the_only_host(target: bytes, path: bytes, host: bytes) -> None:
    changed = head(target, headers=[*HOST, (b"accept", b"*/*")]).with_path_target()
    assert changed.target == path
    assert sorted(changed.headers) == [(b"accept", b"*/*"), (b"host", host)]


def test_an_asterisk_is_the_root_for_options_only() -> None:
    assert head(b"*", b"OPTIONS").with_path_target().target == b"/"
    with pytest.raises(InputError, match="neither a path nor a URL"):
        head(b"ftp://host/x").with_path_target()


def test_a_declined_upgrade_leaves_the_rest_of_the_head() -> None:
    offer = head(b"/x", headers=[*HOST, (b"connection", b"upgrade"), (b"upgrade", b"h2c")])
    assert offer.without_upgrade() == b"GET /x HTTP/1.1\r\nhost: localhost\r\nconnection: upgrade\r\n\r\n"

from __future__ import annotations

import pytest

from sidecar.http.images.https_url import HttpsUrl, is_allowed, join_https_url, parse_https_url

GOOD = {
    "https://pictures.example/a.png": HttpsUrl("pictures.example", 443, "/a.png"),
    "HTTPS://Pictures.Example./a.png?b=%20#c": HttpsUrl("pictures.example", 443, "/a.png?b=%20"),
    "https://pictures.example": HttpsUrl("pictures.example", 443, "/"),
    "https://pictures.example:8443?x": HttpsUrl("pictures.example", 8443, "/?x"),
    "https://pictures.example//evil.example/@/a": HttpsUrl("pictures.example", 443, "//evil.example/@/a"),
    "https://xn--bcher-kva.example/": HttpsUrl("xn--bcher-kva.example", 443, "/"),
}

BAD = [
    *("", "http://pictures.example/", "ftp://pictures.example/", "//pictures.example/", "https:pictures.example/"),
    *(
        "https:///a.png",
        "https://:443/",
        "https://./",
        "https://a..b/",
        "https://-a.example/",
        "https://a_.b-.example/",
    ),
    # With a user, or another host, before or after the host name.
    *(
        "https://user@pictures.example/",
        "https://user:word@pictures.example/",
        "https://pictures.example@evil.example/",
    ),
    *("https://evil.example\\@pictures.example/", "https://pictures.example\\.evil.example/"),
    # Blanks and control characters, which other parsers drop or stop at.
    *(
        "https://pictures.example/a b",
        "https://pict\nures.example/",
        "https://pictures.example\t/",
        " https://a.example",
    ),
    *("https://pictures.example/\x00", "https://pictures.example/\r\nHost: evil.example", "https://a.example/\x7f"),
    *("https://bücher.example/", "https://pictures.example/ä", "https://pictures。example/", "https://①②⑦.⓪.⓪.①/"),
    *("https://pictures.example%2eevil/", "https://%70ictures.example/", "https://pictures.example:port/"),
    *("https://pictures.example:0/", "https://pictures.example:65536/", "https://pictures.example:+80/", "https://a:/"),
    # IP addresses in every notation.
    *("https://127.0.0.1/", "https://127.1/", "https://2130706433/", "https://0x7f000001/", "https://0x7f.1/"),
    *("https://0177.0.0.1/", "https://017700000001/", "https://127.0.0.1./", "https://0/", "https://1.2.3.4.5/"),
    *("https://[::1]/", "https://[::ffff:127.0.0.1]/", "https://[fe80::1%25eth0]/", "https://[v1.a]/", "https://[::1"),
    "https://pictures.example/" + "a" * 9000,
]


@pytest.mark.parametrize("text", GOOD)
def test_a_valid_url_is_parsed(text: str) -> None:
    assert parse_https_url(text) == GOOD[text]


@pytest.mark.parametrize("text", BAD)
def test_an_ambiguous_url_or_one_without_a_host_name_is_rejected(text: str) -> None:
    with pytest.raises(ValueError, match=r"^(only|a URL|the URL|the host|the port)"):
        parse_https_url(text)


@pytest.mark.parametrize(
    ("location", "url"),
    [
        ("b.png", "https://a.example:8443/c/b.png"),
        ("/b.png?x=1", "https://a.example:8443/b.png?x=1"),
        ("../../../b.png", "https://a.example:8443/b.png"),
        ("//b.example/x", "https://b.example/x"),
        ("https://b.example", "https://b.example/"),
    ],
)
def test_a_redirect_is_joined_as_in_browsers(location: str, url: str) -> None:
    assert str(join_https_url(HttpsUrl("a.example", 8443, "/c/a.png"), location)) == url


@pytest.mark.parametrize("location", ["", "b c", "http://a.example/", "/\n/evil.example", "https://u@a.example/"])
def test_a_redirect_to_an_invalid_url_is_rejected(location: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        join_https_url(HttpsUrl("a.example", 443, "/c/a.png"), location)


@pytest.mark.parametrize(
    ("url", "pattern", "allowed"),
    [
        ("https://a.example/", "a.example", True),
        ("https://A.EXAMPLE./", "a.example", True),
        ("https://b.a.example/", "a.example", False),
        ("https://xa.example/", "a.example", False),
        ("https://a.example.evil/", "a.example", False),
        ("https://b.a.example/", "*.a.example", True),
        ("https://c.b.a.example/", "*.a.example", True),
        ("https://a.example/", "*.a.example", False),
        ("https://xa.example/", "*.a.example", False),
        ("https://a.example:8443/", "a.example", False),
        ("https://a.example:8443/", "a.example:8443", True),
        ("https://a.example/", "a.example:8443", False),
        ("https://a.example:443/", "a.example", True),
    ],
)
def test_a_pattern_allows_its_host_and_port(url: str, pattern: str, allowed: bool) -> None:
    assert is_allowed(parse_https_url(url), ["other.example", pattern]) is allowed

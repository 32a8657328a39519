"""Loopback addresses and names, in all the ways they can be written."""

from __future__ import annotations

import pytest

from sidecar.loopback import is_loopback_address, is_loopback_host, resolves_to_loopback


@pytest.mark.parametrize("address", ["127.0.0.1", "127.255.0.9", "::1", "::ffff:127.0.0.1"])
def test_loopback_addresses_are_recognised(address: str) -> None:
    assert is_loopback_address(address)


@pytest.mark.parametrize(
    "address",
    ["0.0.0.0", "::", "10.0.0.1", "128.0.0.1", "::ffff:10.0.0.1", "fe80::1%lo", "", "localhost", "127.1", "0127.0.0.1"],  # noqa: S104
)
def test_everything_else_is_no_loopback_address(address: str) -> None:
    assert not is_loopback_address(address)


@pytest.mark.parametrize(
    "name",
    [
        "localhost",
        "LocalHost",
        "localhost.",
        "app.localhost",
        "127.0.0.1",
        "[::1]",
        "localhost:9000",
        "[::1]:",
        "127.9.9.9:1",
    ],
)
def test_names_that_always_resolve_to_loopback_are_recognised(name: str) -> None:
    assert is_loopback_host(name)


@pytest.mark.parametrize(
    "name", ["", "example.org", "localhost.example.org", "127.0.0.1.nip.io", "notlocalhost", "[::2]", "2130706433"]
)
def test_names_that_may_resolve_to_loopback_are_not(name: str) -> None:
    assert not is_loopback_host(name)


@pytest.mark.parametrize(
    "host",
    [
        *("[::1", "::1]", "[[::1]]", "[::1%25evil.com]", "[::1%lo]", "[::1]evil.com", "[localhost]", "[127.0.0.1"),
        *(
            "localhost:evil.com:80",
            "localhost:80:80",
            "localhost:x",
            "localhost:１",
            "me@localhost",
            "evil.com/.localhost",
        ),
        *("localhost\n", "localhost:80\n", " localhost", "évil.localhost"),
    ],
)
def test_malformed_hosts_are_not_loopback(host: str) -> None:
    assert not is_loopback_host(host)


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "::1", "127.1", "0177.0.0.1", "2130706433"])
def test_hosts_that_resolve_to_loopback_are_found(host: str) -> None:
    assert resolves_to_loopback(host)


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "0", "10.0.0.1", "0x0a000001", "::ffff:10.0.0.1"])  # noqa: S104
def test_hosts_that_resolve_elsewhere_are_found(host: str) -> None:
    assert not resolves_to_loopback(host)

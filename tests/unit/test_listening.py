"""The sockets that are opened for each BIND_HOST."""

from __future__ import annotations

import errno
import socket
from contextlib import ExitStack
from typing import Any

import pytest

from sidecar.listening import CannotListen, bind_hosts, open_listeners


def listened_at(bind_host: str) -> list[str]:
    with ExitStack() as opened:
        listeners = open_listeners(bind_host, 0)
        for listener in listeners:
            opened.enter_context(listener)
        return [str(listener.getsockname()[0]) for listener in listeners]


@pytest.fixture
def without_ipv6(monkeypatch: pytest.MonkeyPatch) -> None:
    """Simulates a machine whose kernel has IPv6 switched off."""
    real = socket.socket

    class Socket(real):  # type: ignore[valid-type, misc]
        def __init__(self, family: int = -1, *others: Any, **named: Any) -> None:
            if family == socket.AF_INET6:
                raise OSError(errno.EAFNOSUPPORT, "Address family not supported by protocol")
            super().__init__(family, *others, **named)

    monkeypatch.setattr(socket, "socket", Socket)


def test_names_are_split_at_commas_and_lose_their_brackets() -> None:
    assert bind_hosts(" 127.0.0.1, [::1],localhost ,") == ["127.0.0.1", "::1", "localhost"]


@pytest.mark.parametrize(
    ("bind_host", "addresses"),
    [
        ("127.0.0.1", ["127.0.0.1"]),
        ("127.0.0.1,127.0.0.1", ["127.0.0.1"]),
        ("127.0.0.2, 127.0.0.1", ["127.0.0.2", "127.0.0.1"]),
        ("127.0.0.1,0.0.0.0,127.0.0.2", ["0.0.0.0"]),  # noqa: S104
    ],
)
def test_each_address_gets_one_listener(bind_host: str, addresses: list[str]) -> None:
    assert listened_at(bind_host) == addresses


@pytest.mark.usefixtures("without_ipv6")
@pytest.mark.parametrize(("bind_host", "address"), [("::", "0.0.0.0"), ("::1,127.0.0.1", "127.0.0.1")])  # noqa: S104
def test_without_ipv6_only_ipv4_is_served(bind_host: str, address: str) -> None:
    assert listened_at(bind_host) == [address]


@pytest.mark.usefixtures("without_ipv6")
@pytest.mark.parametrize("bind_host", ["::1", "fe80::1,127.0.0.1"])
def test_an_address_that_is_missing_is_an_error(bind_host: str) -> None:
    with pytest.raises(CannotListen, match="Address family not supported"):
        open_listeners(bind_host, 0)


@pytest.mark.parametrize("bind_host", ["no-such-host.invalid", "a" * 300, "198.51.100.7,127.0.0.1", "bücher..de"])
def test_an_error_closes_the_sockets_opened_before(bind_host: str) -> None:
    with pytest.raises(CannotListen, match=r"^cannot listen on port 0 of "):
        open_listeners(bind_host, 0)

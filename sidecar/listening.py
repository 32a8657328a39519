"""The listening sockets of the service."""

from __future__ import annotations

import errno
import logging
import os
import socket
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass

from sidecar.errors import SidecarError

logger = logging.getLogger(__name__)

_BACKLOG = 2048
_ANY_IPV4, _ANY_IPV6, _LOOPBACK_IPV6 = "0.0.0.0", "::", "::1"  # noqa: S104 - compared, and bound if asked for
_NO_SUCH_FAMILY = {errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL, errno.EPROTONOSUPPORT}


class CannotListen(SidecarError):
    """A socket cannot listen on `port` of `host`; `number` is the errno of the obstacle."""

    def __init__(self, host: str, port: int, error: OSError) -> None:
        reason = os.strerror(error.errno) if error.errno and error.errno > 0 else error.strerror or str(error)
        super().__init__(f"cannot listen on port {port} of {host}: {reason}")
        self.host = host
        self.number = error.errno


@dataclass(frozen=True, slots=True)
class _Address:
    """`optional`: skipped if the machine has no such address and there are others to listen on."""

    host: str
    family: socket.AddressFamily
    socket_address: tuple[object, ...]
    optional: bool


def bind_hosts(bind_host: str) -> list[str]:
    """The names and addresses in BIND_HOST, separated by commas; IPv6 with or without brackets."""
    hosts = [host.strip() for host in bind_host.split(",")]
    return [host[1:-1] if host.startswith("[") and host.endswith("]") else host for host in hosts if host]


def open_listeners(bind_host: str, port: int) -> list[socket.socket]:
    """Listening sockets for all of BIND_HOST, at least one. The caller closes them. Blocks. Raises CannotListen.

    `::` is every address of both families, with a socket for each family, so that IPv4 clients have IPv4 addresses. A
    family or address that the machine lacks is skipped if others remain.
    """
    addresses = _addresses(bind_host, port)
    listeners: list[socket.socket] = []
    missing: CannotListen | None = None
    with ExitStack() as opened:
        for address in addresses:
            try:
                listeners.append(opened.enter_context(_listen(address)))
            except OSError as error:
                missing = CannotListen(address.host, port, error)
                if not address.optional or error.errno not in _NO_SUCH_FAMILY:
                    raise missing from error
                logger.info("Not served at %s, which this machine does not have.", address.socket_address[0])
        if not listeners and missing is not None:
            raise missing
        opened.pop_all()
    return listeners


def format_address(listener: socket.socket) -> str:
    """Address and port of a socket, written as in a URL."""
    host, port = listener.getsockname()[:2]
    return f"[{host}]:{port}" if listener.family == socket.AF_INET6 else f"{host}:{port}"


def _addresses(bind_host: str, port: int) -> list[_Address]:
    found: dict[tuple[object, ...], _Address] = {}
    for host in bind_hosts(bind_host):
        for address in _addresses_of(host, port):
            found.setdefault(address.socket_address, address)
    for family, every in ((socket.AF_INET, _ANY_IPV4), (socket.AF_INET6, _ANY_IPV6)):
        if any(address.socket_address[0] == every for address in found.values()):  # it includes the others
            found = {
                key: each for key, each in found.items() if each.family != family or each.socket_address[0] == every
            }
    return list(found.values())


def _addresses_of(host: str, port: int) -> Iterator[_Address]:
    try:
        resolved = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except (OSError, UnicodeError) as error:
        failure = error if isinstance(error, OSError) else OSError(None, "it is no name of a host")
        raise CannotListen(host, port, failure) from error
    for family, _, _, _, socket_address in resolved:
        optional = len(resolved) > 1 or socket_address[0] in {_ANY_IPV6, _LOOPBACK_IPV6}
        yield _Address(host, family, socket_address, optional)
        if socket_address[0] == _ANY_IPV6:
            yield _Address(host, socket.AF_INET, (_ANY_IPV4, port), optional=True)


def _listen(address: _Address) -> socket.socket:
    listener = socket.socket(address.family, socket.SOCK_STREAM)
    try:
        # As every server does: bind although connections of an earlier process linger in TIME_WAIT.
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if address.family == socket.AF_INET6:
            listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        listener.bind(address.socket_address)
        listener.listen(_BACKLOG)
    except BaseException:
        listener.close()
        raise
    return listener

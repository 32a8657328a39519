"""Resolves host names in threads."""

from __future__ import annotations

import socket
import threading
from collections.abc import Awaitable, Callable
from ipaddress import ip_address
from typing import TypeAlias

from sidecar.concurrency import in_daemon_thread
from sidecar.http.images.public_addresses import IPAddress

_MAX_LOOKUPS = 16


# Returns the addresses of a host, best first. Raises OSError if there are none, or the lookup fails.
Resolve: TypeAlias = Callable[[str], Awaitable[list[IPAddress]]]

# Runs blocking work in a daemon thread of that name, which does not delay the end of the process.
InThread: TypeAlias = Callable[[str, Callable[[], list[IPAddress]]], Awaitable[list[IPAddress]]]


class NameResolver:
    """The system's resolver in threads of its own, so that a name server that hangs blocks nothing else."""

    def __init__(self, in_thread: InThread = in_daemon_thread) -> None:
        self._in_thread = in_thread
        self._slots = threading.BoundedSemaphore(_MAX_LOOKUPS)

    async def __call__(self, host: str) -> list[IPAddress]:
        """The addresses of `host`. Raises OSError, also while too many lookups hang."""
        if not self._slots.acquire(blocking=False):
            raise OSError("too many lookups are unanswered")
        return await self._in_thread("name-resolution", lambda: self._look_up(host))

    def _look_up(self, host: str) -> list[IPAddress]:
        try:
            found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
        finally:
            self._slots.release()
        return list(dict.fromkeys(ip_address(str(address[0]).partition("%")[0]) for *_, address in found))

"""Loopback addresses and names, which only this machine can reach."""

from __future__ import annotations

import ipaddress
import re
import socket

REMEDIES = "Set API_KEYS or API_KEYS_FILE, or ALLOW_ANONYMOUS=1 if anyone who can reach the port may use it."


_HOST = re.compile(r"([a-z0-9._-]+|\[[0-9a-f:.]+\])(?::[0-9]*)?", re.IGNORECASE | re.ASCII)


def is_loopback_address(address: str) -> bool:
    """True if `address` is a loopback IP literal."""
    try:
        ip = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return False
    mapped = ip.ipv4_mapped if isinstance(ip, ipaddress.IPv6Address) else None
    return (mapped or ip).is_loopback


def is_loopback_host(host: str) -> bool:
    """True for a loopback address, or a name that cannot resolve elsewhere. `host` as in a URL, perhaps with a port."""
    parsed = _HOST.fullmatch(host)
    if parsed is None:
        return False
    name = parsed[1].lower().rstrip(".")
    # The first comparisons are fast; parsing an address is not.
    return name in {"localhost", "127.0.0.1"} or name.endswith(".localhost") or is_loopback_address(name.strip("[]"))


def resolves_to_loopback(host: str) -> bool:
    """True if every address of `host` is loopback, or if it has none. Resolves names, so it blocks."""
    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        return True
    return all(is_loopback_address(str(address[0])) for *_, address in found)

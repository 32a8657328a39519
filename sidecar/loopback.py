"""Whether an address can be reached from this machine alone."""

from __future__ import annotations

import ipaddress
import re
import socket

WAYS_OUT = "Set API_KEYS or API_KEYS_FILE, or ALLOW_ANONYMOUS=1 if everybody who reaches the port may use it."


_HOST = re.compile(r"([a-z0-9._-]+|\[[0-9a-f:.]+\])(?::[0-9]*)?", re.IGNORECASE | re.ASCII)


def is_loopback_address(address: str) -> bool:
    """Of an IP address, as text; anything else is none."""
    try:
        ip = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return False
    mapped = ip.ipv4_mapped if isinstance(ip, ipaddress.IPv6Address) else None
    return (mapped or ip).is_loopback


def is_loopback_host(host: str) -> bool:
    """Of a host as a URL has it, with or without a port: an address, or a name that nobody can point elsewhere."""
    taken_apart = _HOST.fullmatch(host)
    if taken_apart is None:
        return False
    name = taken_apart[1].lower().rstrip(".")
    # The first comparisons are quick, which taking an address apart is not.
    return name in {"localhost", "127.0.0.1"} or name.endswith(".localhost") or is_loopback_address(name.strip("[]"))


def resolves_to_loopback(host: str) -> bool:
    """Whether every address of `host` is one. A name that cannot be resolved has none elsewhere. Blocks."""
    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        return True
    return all(is_loopback_address(str(address[0])) for *_, address in found)

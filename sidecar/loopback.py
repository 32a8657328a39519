"""Whether an address can be reached from this machine alone."""

from __future__ import annotations

import ipaddress
import socket

WAYS_OUT = "Set API_KEYS or API_KEYS_FILE, or ALLOW_ANONYMOUS=1 if everybody who reaches the port may use it."


def is_loopback_address(address: str) -> bool:
    """Of an IP address, as text; anything else is none."""
    try:
        ip = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return False
    mapped = ip.ipv4_mapped if isinstance(ip, ipaddress.IPv6Address) else None
    return (mapped or ip).is_loopback


def is_loopback_name(host: str) -> bool:
    """Of a host as it stands in a URL: an address, or a name that nobody can point elsewhere."""
    name = host.lower().rstrip(".")
    return name == "localhost" or name.endswith(".localhost") or is_loopback_address(name.strip("[]"))


def resolves_to_loopback(host: str) -> bool:
    """Whether every address of `host` is one. A name that cannot be resolved has none elsewhere. Blocks."""
    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        return True
    return all(is_loopback_address(str(address[0])) for *_, address in found)

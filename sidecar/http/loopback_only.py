"""Without keys only this machine is served: neither others, nor pages of others in a browser here."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from urllib.parse import urlsplit

from starlette.types import Scope

from sidecar.http.headers import header_values
from sidecar.loopback import WAYS_OUT, is_loopback_address, is_loopback_host

_USUAL_ADDRESS = "127.0.0.1"  # known without taking it apart, which costs more than all the rest


@dataclass(frozen=True, slots=True)
class Outsider:
    """Why a request does not come from a program of this machine."""

    code: str
    message: str


def find_outsider(scope: Scope, cors_origins: Collection[str]) -> Outsider | None:
    """None for a request that arrived on loopback, under a name of loopback, from no page of another site.

    A page that has its own name resolve to 127.0.0.1 (DNS rebinding) shows in Host, one that posts here from
    elsewhere in Origin.
    """
    address = _server_address(scope)
    if not (address == _USUAL_ADDRESS or is_loopback_address(address) or address.startswith("/")):
        message = f"The service has no keys, and without them it is not served at {address}. {WAYS_OUT}"
        return Outsider("no_keys", message)
    for host in header_values(scope, b"host"):
        if not is_loopback_host(host):
            message = f"The service has no keys, and without them it is served as localhost, not as {host}. {WAYS_OUT}"
            return Outsider("untrusted_host", message)
    for origin in header_values(scope, b"origin"):
        if not _may_ask(origin, cors_origins):
            message = f"The service has no keys, and without them pages of {origin} may not use it: CORS_ALLOW_ORIGINS."
            return Outsider("untrusted_origin", message)
    return None


def _server_address(scope: Scope) -> str:
    """The address that the connection arrived at; the path of a Unix socket."""
    server = scope.get("server")
    return str(server[0]) if server else "an unknown address"


def _may_ask(origin: str, cors_origins: Collection[str]) -> bool:
    if "*" in cors_origins or origin in cors_origins:
        return True
    try:
        return is_loopback_host(urlsplit(origin).netloc)
    except ValueError:
        return False

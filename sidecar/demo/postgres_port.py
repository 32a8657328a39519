"""The port of the demo's Postgres: the same at every start, so that a URL that was noted stays right."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from sidecar.demo.directory import DemoDirectory
from sidecar.embedded_postgres.server import EmbeddedPostgres
from sidecar.errors import DatabaseUnavailable, SidecarError
from sidecar.listening import CannotListen, open_listeners
from sidecar.port_holder import name_port_holder

DEFAULT_PORT = 15432  # below the ports that systems give to clients, which may be in use at any moment
_HOST = "127.0.0.1"
_PORTS_TO_TRY = 1000


class PostgresPortTaken(SidecarError):
    """Another program listens on the port that the demo's Postgres had before, or was to get."""


def start_postgres(
    directory: DemoDirectory, version: str, wanted_port: int | None, say: Callable[[str], None]
) -> EmbeddedPostgres:
    """Starts Postgres on `wanted_port`, else on the port that `directory` keeps, else on the first free one.

    The directory keeps the port. Raises PostgresPortTaken rather than take another one than was wanted or kept: a URL
    that somebody noted would lead to another program's server.
    """
    port = wanted_port or directory.kept_port
    if port is not None:
        if not _is_free(port):
            raise PostgresPortTaken(
                f"port {port} of {_HOST}, that of this demo's Postgres, is in use by {name_port_holder(port)}.\n"
                f"HINT: Stop that, or move this Postgres for good: sidecar demo --postgres-port {_first_free(port + 1)}"
            )
        return _start(directory, version, port)
    for free in _free_ports(DEFAULT_PORT):
        if free != DEFAULT_PORT:
            say(f"Port {DEFAULT_PORT} is in use by {name_port_holder(DEFAULT_PORT)}; this Postgres gets {free}.")
        try:
            return _start(directory, version, free)
        except DatabaseUnavailable:
            if _is_free(free):  # else another program was faster: on to the next one
                raise
    raise PostgresPortTaken(
        f"all ports of {_HOST} from {DEFAULT_PORT} to {DEFAULT_PORT + _PORTS_TO_TRY - 1} are in use.\n"
        "HINT: Name a free one: sidecar demo --postgres-port PORT"
    )


def _start(directory: DemoDirectory, version: str, port: int) -> EmbeddedPostgres:
    postgres = EmbeddedPostgres(directory.postgres, version, port=port)
    postgres.start()
    directory.keep_port(port)
    return postgres


def _free_ports(first: int) -> Iterator[int]:
    return (port for port in range(first, min(first + _PORTS_TO_TRY, 65536)) if _is_free(port))


def _first_free(first: int) -> int:
    return next(_free_ports(first), DEFAULT_PORT)


def _is_free(port: int) -> bool:
    try:
        listeners = open_listeners(_HOST, port)
    except CannotListen:
        return False
    for listener in listeners:
        listener.close()
    return True

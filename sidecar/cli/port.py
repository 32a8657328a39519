"""The port that a service is to listen on."""

from __future__ import annotations

import errno
import socket

from sidecar.cli.complaint import PortUnavailable


def check_port(host: str, port: int, advice: str) -> None:
    """Raises PortUnavailable if nobody can listen there now; `advice` says what to do if the port is taken."""
    try:
        (family, kind, _, _, address), *_ = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        with socket.socket(family, kind) as probe:
            # As the server does: a connection that ended a moment ago is no obstacle.
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
            probe.listen(1)
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise PortUnavailable(f"port {port} of {host} is in use by another program.\nHINT: {advice}") from error
        raise PortUnavailable(
            f"cannot listen on port {port} of {host}: {error.strerror or error}\n"
            "HINT: BIND_HOST and BIND_PORT (or --port) say where."
        ) from error

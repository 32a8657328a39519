"""The port that a service is to listen on."""

from __future__ import annotations

import errno

from sidecar.cli.errors import PortUnavailable
from sidecar.listening import CannotListen, open_listeners


def check_port(bind_host: str, port: int, advice: str) -> None:
    """Raises PortUnavailable if nobody can listen there now; `advice` says what to do if the port is taken."""
    try:
        listeners = open_listeners(bind_host, port)
    except CannotListen as error:
        if error.number == errno.EADDRINUSE:
            message = f"port {port} of {error.host} is in use by another program.\nHINT: {advice}"
        else:
            message = f"{error}\nHINT: BIND_HOST and BIND_PORT (or --port) say where."
        raise PortUnavailable(message) from error
    for listener in listeners:
        listener.close()

"""Free ports for tests."""

from __future__ import annotations

import socket


def find_free_port() -> int:
    """A port of 127.0.0.1 on which no program listens."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port: int = taken.getsockname()[1]
    return port

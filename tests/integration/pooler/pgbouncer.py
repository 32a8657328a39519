"""PgBouncer in transaction mode in front of the tests' server, where the program is installed."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

from sidecar.embedded_postgres.user import find_server_user
from tests.ports import find_free_port
from tests.waiting import wait_until

# Debian installs it outside the PATH of ordinary users.
PROGRAM = shutil.which("pgbouncer", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin")

# Each transaction gets another server connection than the previous one, so nothing that needs a session works.
_CONFIGURATION = """
[databases]
* = host={host} port={server_port} user={user} password={password}
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {port}
unix_socket_dir =
auth_type = any
pool_mode = transaction
server_round_robin = 1
default_pool_size = 10
max_client_conn = 100
ignore_startup_parameters = {ignored}
"""


@contextmanager
def pgbouncer(directory: Path, database_url: str, ignored: str = "") -> Iterator[str]:
    """The URL of the same database through a pooler. `ignored`: startup parameters that it accepts and drops."""
    assert PROGRAM is not None
    server = urlsplit(database_url)
    port = find_free_port()
    configuration = directory / "pgbouncer.ini"
    values = {"host": server.hostname, "server_port": server.port, "user": server.username, "password": server.password}
    configuration.write_text(_CONFIGURATION.format(port=port, ignored=ignored, **values))
    configuration.chmod(0o644)
    log_path = directory / "pgbouncer.log"
    user = find_server_user()  # PgBouncer refuses to run as root
    with log_path.open("wb") as log:
        process = subprocess.Popen([PROGRAM, configuration], stdout=log, stderr=log, cwd="/", **user.popen_arguments())
    try:
        wait_until(lambda: _listens(port), lambda: f"PgBouncer\n{log_path.read_text()}")
        yield urlunsplit(server._replace(netloc=f"{server.username}:{server.password}@127.0.0.1:{port}"))
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(10)


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0

"""A Postgres server started from Python, without Docker, root or anything to install beside the Python package.

It never outlives the process that started it. A shell between the two holds one end of a pipe: when the other end
closes, because the server is stopped or because this process was killed, the shell shuts the server down.
"""

from __future__ import annotations

import fcntl
import os
import signal
import socket
import subprocess
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import IO, Self

from sidecar.embedded_postgres.cluster import ENVIRONMENT, Cluster
from sidecar.embedded_postgres.programs import find_programs
from sidecar.embedded_postgres.user import find_server_user
from sidecar.errors import DatabaseUnavailable

_SUPERVISE = """
exec 3<&0 </dev/null
"$@" 3<&- &
server=$!
{ read -r _ <&3; kill -INT "$server"; } 2>/dev/null &
wait "$server"; status=$?
kill $! 2>/dev/null
exit "$status"
"""
_PORT_TAKEN = "Address already in use"
_LOCK_TIMEOUT_S = 3.0
_START_TIMEOUT_S = 120.0
_STOP_TIMEOUT_S = 30.0
_POLL_S = 0.02


class EmbeddedPostgres:
    """One server over one data directory, on a TCP port of 127.0.0.1 and a Unix socket.

    `data_dir` is created if it is missing, and keeps its data. A server started by root runs as another user, who must
    be able to enter it. `port` 0 takes a free one. `settings` are server settings, such as `{"fsync": "off"}`. The
    superuser is `postgres`, with a random password. Every method blocks.
    """

    def __init__(
        self, data_dir: Path, version: str = "18", *, port: int = 0, settings: Mapping[str, str] | None = None
    ) -> None:
        self._data_dir = data_dir.absolute()
        self.version = version
        self._port = port
        self._settings = dict(settings or {})
        self._process: subprocess.Popen[bytes] | None = None
        self._url: str | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.stop()

    @property
    def url(self) -> str:
        """The URL of the running server, with the password. Raises DatabaseUnavailable if it was not started."""
        if self._url is None:
            raise DatabaseUnavailable(f"No server was started on {self._data_dir}.")
        return self._url

    @property
    def bin_dir(self) -> Path:
        """The folder with `psql`, `pg_dump`, `pgbench` and so on, of the server's version."""
        return find_programs(self.version)

    def start(self) -> str:
        """Starts the server and returns its URL, for psql, asyncpg and psycopg alike.

        Raises DatabaseUnavailable, with the reason, if a server already runs there, or this one does not start.
        """
        cluster = self._cluster()
        cluster.create_directory()
        with cluster.log.open("ab") as log:
            _lock(log, cluster)
            programs = cluster.initialise(sync=self._settings.get("fsync") != "off")
            while True:
                log.truncate(0)
                port = self._port or _find_free_port()
                try:
                    self._start_on(port, programs, cluster, log)
                except DatabaseUnavailable as error:
                    # Another program took the free port first.
                    if self._port or _PORT_TAKEN not in str(error):
                        raise
                else:
                    self._url = f"postgresql://postgres:{cluster.password}@127.0.0.1:{port}/postgres"
                    return self._url

    def stop(self) -> None:
        """Shuts the server down, if it runs. Open connections are closed, nothing committed is lost."""
        if self._process is not None:
            self._shut_down(self._process)
            self._process = self._url = None
            # The shell may have been killed: only the lock shows that the server is gone.
            with self._cluster().log.open("ab") as log:
                _lock(log, self._cluster())

    def delete_data(self) -> None:
        """Deletes all databases of the stopped server. Its password stays, for the next start, which makes new ones.

        Raises DatabaseUnavailable if a server runs there.
        """
        cluster = self._cluster()
        if cluster.directory.exists():
            with cluster.log.open("ab") as log:
                _lock(log, cluster)
                cluster.delete_data()

    def _cluster(self) -> Cluster:
        return Cluster(self._data_dir, self.version, find_server_user())

    def _start_on(self, port: int, programs: Path, cluster: Cluster, log: IO[bytes]) -> None:
        settings = {
            "listen_addresses": "127.0.0.1",
            "port": str(port),
            "unix_socket_directories": cluster.socket_directory,
            **self._settings,
        }
        options = [option for name, value in settings.items() for option in ("-c", f"{name}={value}")]
        self._process = subprocess.Popen(
            ["/bin/sh", "-c", _SUPERVISE, "sh", programs / "postgres", "-D", cluster.data, *options],
            cwd="/",
            env=ENVIRONMENT,
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=log,
            # Ctrl-C in the terminal is meant for this process, which stops the server when it is done.
            start_new_session=True,
            **cluster.user.popen_arguments(),
        )
        try:
            _wait_until_ready(self._process, cluster)
        except BaseException:
            self._shut_down(self._process)
            self._process = None
            raise

    @staticmethod
    def _shut_down(process: subprocess.Popen[bytes]) -> None:
        if process.stdin is not None:
            process.stdin.close()
        try:
            process.wait(_STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            # The server recovers from its WAL at the next start.
            os.killpg(process.pid, signal.SIGQUIT)
            process.wait()


def _lock(log: IO[bytes], cluster: Cluster) -> None:
    """Takes the lock that the server holds while it lives. Waits for a server that is shutting down."""
    began = time.monotonic()
    while True:
        try:
            fcntl.flock(log, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            postmaster = cluster.read_postmaster()
            stopping = postmaster is not None and postmaster.status == "stopping"
            if time.monotonic() - began > (_STOP_TIMEOUT_S if stopping else _LOCK_TIMEOUT_S):
                who = f"A server (process {postmaster.pid})" if postmaster else "Another process"
                raise DatabaseUnavailable(
                    f"{who} is already using {cluster.directory}. Stop it, or choose another data directory."
                ) from error
            time.sleep(_POLL_S)
        else:
            return


def _wait_until_ready(process: subprocess.Popen[bytes], cluster: Cluster) -> None:
    deadline = time.monotonic() + _START_TIMEOUT_S
    while time.monotonic() < deadline:
        postmaster = cluster.read_postmaster()
        if postmaster and postmaster.status == "ready" and _is_ours(postmaster.pid, process):
            return
        if process.poll() is not None:
            raise DatabaseUnavailable(f"Postgres did not start on {cluster.directory}:\n{_last_lines(cluster.log)}")
        time.sleep(_POLL_S)
    raise DatabaseUnavailable(
        f"Postgres was not ready on {cluster.directory} after {_START_TIMEOUT_S:g} s:\n{_last_lines(cluster.log)}"
    )


def _is_ours(pid: int, process: subprocess.Popen[bytes]) -> bool:
    try:
        return os.getsid(pid) == process.pid
    except ProcessLookupError:  # a file left over from an earlier server
        return False


def _last_lines(log: Path) -> str:
    return "\n".join(log.read_text(errors="replace").splitlines()[-10:])


def _find_free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port

"""The demo's data directory."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from sidecar.embedded_postgres.user import find_server_user
from sidecar.errors import ConfigurationError, DatabaseUnavailable

_DEFAULT = Path(".demo")
_DEFAULT_OF_ROOT = Path("/var/lib/sidecar-demo")
_LOCK_NAME = "demo.lock"


@dataclass(frozen=True, slots=True)
class DemoDirectory:
    """Paths inside the directory, which is locked for this process. `path` is absolute."""

    path: Path

    @property
    def postgres(self) -> Path:
        return self.path / "postgres"

    @property
    def earlier_model(self) -> Path:
        """The model of random weights that earlier versions kept here."""
        return self.path / "model"

    @property
    def url_file(self) -> Path:
        """A file with the URL of the running Postgres, password included: only its owner can read it."""
        return self.path / "database_url"

    @property
    def env_file(self) -> Path:
        """A file for a shell to source: `sidecar.demo.shell_environment` writes it. Only its owner can read it."""
        return self.path / "env"

    @property
    def kept_port(self) -> int | None:
        """The port of the Postgres of earlier runs; None before the first, or if the file was damaged."""
        try:
            port = int(self._port_file.read_text())
        except (FileNotFoundError, ValueError):
            return None
        return port if 0 < port < 65536 else None

    def keep_port(self, port: int) -> None:
        if self.kept_port != port:
            write_private(self._port_file, f"{port}\n")

    @property
    def _port_file(self) -> Path:
        return self.path / "postgres_port"


def write_private(path: Path, text: str) -> None:
    """Replaces the file by one that only its owner can read. A reader, or a crash, never sees half of it."""
    new = path.with_name(f"{path.name}.new")
    new.unlink(missing_ok=True)
    with os.fdopen(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(text)
    new.replace(path)


def choose_directory() -> Path:
    """`.demo` in the working directory; `/var/lib/sidecar-demo` if root's Postgres, another user, cannot enter it."""
    here = _DEFAULT.absolute()
    return here if find_server_user().first_unreachable(here.parent) is None else _DEFAULT_OF_ROOT


@contextmanager
def open_directory(path: Path) -> Iterator[DemoDirectory]:
    """Creates the directory if it is missing, and locks it for the block.

    Raises ConfigurationError if it cannot be used or holds other files, DatabaseUnavailable if a demo runs on it.
    """
    path = path.expanduser().absolute()
    lock_path = path / _LOCK_NAME
    try:
        if not path.exists():
            path.mkdir(parents=True)
            path.chmod(0o711)  # root's Postgres runs as another user, who has to traverse it
        elif not lock_path.exists() and any(path.iterdir()):
            raise ConfigurationError(
                [f"--data-dir {path} holds files of another program.\nHINT: Name an empty or a new directory."]
            )
        lock = lock_path.open("a+")
    except OSError as error:
        raise ConfigurationError([f"--data-dir {path} cannot be used: {error.strerror}"]) from error
    with lock:
        _lock(lock.fileno(), path)
        lock.truncate(0)
        lock.write(f"{os.getpid()}\n")
        lock.flush()
        yield DemoDirectory(path)


def _lock(file: int, path: Path) -> None:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        process = (path / _LOCK_NAME).read_text().strip()
        raise DatabaseUnavailable(
            f"a demo (process {process}) is already running on {path}.\n"
            "HINT: Stop it, or start a second one beside it: sidecar demo --port 9001 --data-dir another-directory"
        ) from error

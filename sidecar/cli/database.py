"""The database of a command: its URL, and a connection for operations."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Literal

from sidecar.cli.errors import warn
from sidecar.errors import ConfigurationError

if TYPE_CHECKING:
    from pydantic import SecretStr

    from sidecar.operations.operations import Operations


def find_database_url(option: str | None) -> SecretStr:
    """`--database-url`, else DATABASE_URL. Raises ConfigurationError."""
    from sidecar.config import load_settings

    settings = load_settings() if option is None else load_settings({"DATABASE_URL": option})
    if settings.database_url is None:
        hint = "HINT: export DATABASE_URL=postgresql://user:password@host:5432/database, or give --database-url."
        raise ConfigurationError([f"DATABASE_URL is not set.\n{hint}"])
    return settings.database_url


def find_direct_url(option: str | None) -> SecretStr:
    """`--database-url`, else LISTEN_DATABASE_URL, which bypasses a pooler, else DATABASE_URL.

    Raises ConfigurationError.
    """
    from sidecar.config import load_settings

    direct = None if option is not None else load_settings().listen_database_url
    return direct or find_database_url(option)


@contextmanager
def open_database(
    option: str | None, right: Literal["reader", "worker", "installer"] = "reader", table: str | None = None
) -> Iterator[Operations]:
    """Operations on the command's database, whose schema is migrated; the server's warnings go to stderr.

    `right`: what the command needs, on `table`; where the role lacks it, the error's hint grants it.

    Raises ConfigurationError, DatabaseError.
    """
    from sidecar.operations.operations import open_operations
    from sidecar.operations.rights import Right

    with open_operations(find_database_url(option), warn, Right(right), table) as operations:
        yield operations

"""A primary with a streaming standby, both started for the test."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from urllib.parse import urlsplit, urlunsplit

import psycopg

from sidecar.embedded_postgres.cluster import ENVIRONMENT, Cluster
from sidecar.embedded_postgres.server import EmbeddedPostgres
from sidecar.embedded_postgres.user import find_server_user

SETTINGS = {"fsync": "off", "full_page_writes": "off", "wal_level": "replica", "max_wal_senders": "4"}


@dataclass(frozen=True, slots=True)
class Pair:
    """`url` names both, the primary first."""

    primary: EmbeddedPostgres
    standby: EmbeddedPostgres

    @property
    def url(self) -> str:
        one, other = urlsplit(self.primary.url), urlsplit(self.standby.url)
        return urlunsplit(one._replace(netloc=f"{one.netloc},{other.hostname}:{other.port}"))


@contextmanager
def primary_and_standby(
    directory: Path, version: str, settings: Mapping[str, str] = MappingProxyType({})
) -> Iterator[Pair]:
    """`settings` are for both, beside those of the pair."""
    both = {**SETTINGS, **settings}
    with ExitStack() as stack:
        primary = EmbeddedPostgres(directory / "primary", version, settings=both)
        stack.enter_context(primary)
        _copy(primary, directory / "standby")
        standby = EmbeddedPostgres(directory / "standby", version, settings=both)
        stack.enter_context(standby)
        yield Pair(primary, standby)


def _copy(primary: EmbeddedPostgres, directory: Path) -> None:
    source, copy = (Cluster(path, primary.version, find_server_user()) for path in (primary._data_dir, directory))
    copy.create_directory()
    copy._password_file.write_text(source.password)
    copy.user.share_with_group(copy._password_file, 0o640)
    copy.data.mkdir()
    copy.user.give_ownership(copy.data, 0o700)
    subprocess.run(
        [primary.bin_dir / "pg_basebackup", "-D", copy.data, "-R", "-c", "fast", "--no-sync", "-d", primary.url],
        cwd="/",
        env=ENVIRONMENT,
        check=True,
        capture_output=True,
        **copy.user.popen_arguments(),
    )


def execute(url: str, *statements: str) -> None:
    with psycopg.connect(url, autocommit=True) as connection:
        for statement in statements:
            connection.execute(statement.encode())

"""Roles that have only their grants, and a database in which one of them installed the schemas."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from urllib.parse import quote, urlsplit, urlunsplit
from uuid import uuid4

import psycopg
from psycopg import sql

from sidecar.operations.migrations import migrate
from tests.integration.sql.session import run
from tests.servers import Server

ROLES = ("installer", "owner", "worker", "reader", "outsider")
PASSWORD = "pw"


@dataclass(frozen=True)
class Cast:
    """Names of roles, none a superuser. `owner` owns schema `shop` and is a member of `installer`; `outsider` has no
    grants.
    """

    installer: str
    owner: str
    worker: str
    reader: str
    outsider: str

    def url(self, database_url: str, role: str) -> str:
        """The database's URL for this role."""
        parts = urlsplit(database_url)
        return urlunsplit(parts._replace(netloc=f"{quote(role)}:{PASSWORD}@{parts.hostname}:{parts.port}"))


@dataclass(frozen=True)
class Stage:
    """A database for one test. `admin` is the URL of a superuser, for statements that no role of the cast may run."""

    cast: Cast
    admin: str

    @property
    def installer(self) -> str:
        return self.cast.url(self.admin, self.cast.installer)

    @property
    def owner(self) -> str:
        return self.cast.url(self.admin, self.cast.owner)

    @property
    def worker(self) -> str:
        return self.cast.url(self.admin, self.cast.worker)

    @property
    def reader(self) -> str:
        return self.cast.url(self.admin, self.cast.reader)

    @property
    def outsider(self) -> str:
        return self.cast.url(self.admin, self.cast.outsider)


@contextmanager
def cast_of_roles(server: Server) -> Iterator[Cast]:
    """Creates the roles and drops them at the end, when no database may contain objects or grants of theirs."""
    suffix = uuid4().hex[:8]
    cast = Cast(*(f"{role} {suffix}" if role == "worker" else f"{role}_{suffix}" for role in ROLES))
    names = [sql.Identifier(name) for name in vars(cast).values()]
    with psycopg.connect(server.url, autocommit=True) as admin:
        for name in names:
            admin.execute(sql.SQL("create role {} login password {}").format(name, sql.Literal(PASSWORD)))
        admin.execute(sql.SQL("grant {} to {}").format(sql.Identifier(cast.installer), sql.Identifier(cast.owner)))
    try:
        yield cast
    finally:
        with psycopg.connect(server.url, autocommit=True) as admin:
            for name in names:
                admin.execute(sql.SQL("drop role {}").format(name))


@contextmanager
def installed_database(server: Server, cast: Cast) -> Iterator[str]:
    """The name of a database where the installer has migrated, and the worker and the reader have their grants."""
    name = server.create_database()
    try:
        _install(server.database_url(name), cast)
        yield name
    finally:
        server.drop_database(name)


def _install(url: str, cast: Cast) -> None:
    with psycopg.connect(url, autocommit=True) as admin:
        run(
            admin,
            f"create extension vector; create schema sidecar authorization {cast.installer}; "
            f"create schema sidecar_internal authorization {cast.installer}",
        )
        run(admin, f"create schema shop authorization {cast.owner}")
    migrate(cast.url(url, cast.installer))
    with psycopg.connect(cast.url(url, cast.installer), autocommit=True) as installer:
        run(installer, "select sidecar.grant_worker(%s::text::regrole)", f'"{cast.worker}"')
        run(installer, "select sidecar.grant_reader(%s::text::regrole)", cast.reader)

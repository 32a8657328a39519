"""Most tests here run in one transaction, rolled back at the end, in a database that they share.

shared_database_url     for the whole run
└── db                  a session in a transaction that is rolled back
database_url
└── committed           a session in autocommit, in a database for one test: for tests with several sessions
"""

from __future__ import annotations

from collections.abc import Iterator

import psycopg
import pytest

from tests.integration.sql.session import Connection, run
from tests.servers import Server


@pytest.fixture(scope="session")
def shared_database_url(postgres_server: Server, migrated_template: str) -> Iterator[str]:
    with postgres_server.lend_database(migrated_template) as url:
        yield url


@pytest.fixture
def db(shared_database_url: str) -> Iterator[Connection]:
    with psycopg.connect(shared_database_url) as connection:
        yield connection
        connection.rollback()


@pytest.fixture
def tidied(shared_database_url: str) -> Iterator[Connection]:
    with psycopg.connect(shared_database_url, autocommit=True) as connection:
        yield connection
        run(connection, "reset all")
        run(connection, "select sidecar.unwatch(relation, target, drop_target => true) from sidecar_internal.watches")
        run(connection, "delete from sidecar_internal.sidecars")
        for (table,) in run(
            connection, "select oid::regclass::text from pg_class where relname in ('items', 'others')"
        ):
            run(connection, f"drop table {table}")


@pytest.fixture
def committed(database_url: str) -> Iterator[Connection]:
    with psycopg.connect(database_url, autocommit=True) as connection:
        yield connection

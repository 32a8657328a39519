"""A sidecar with the demo's model, a Postgres and a key, shared by the tests of all foreign clients.

clients_database_url   a migrated database
└── service            `sidecar serve` on it
    └── open_page      a page of docs/recipes, in a directory of its own; its tables are dropped after the test
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest
from PIL import Image
from psycopg import sql

from tests.clients.programs import ENVIRONMENT, NODE_MODULES, PROGRAMS
from tests.integration.recipes.page import Page
from tests.integration.server.process import Process, sidecar_process
from tests.servers import Server
from tests.tiny_models.cross_encoder import make_tiny_cross_encoder

KEY = "a-key-of-the-tests-of-clients"  # not a secret
OpenPage = Callable[[str], Page]

_TABLES_AND_VIEWS = """
    select c.relkind, n.nspname, c.relname from pg_class c join pg_namespace n on n.oid = c.relnamespace
    where c.relkind in ('r', 'p', 'v') and n.nspname !~ '^(pg_|information_schema|sidecar)'
      and not exists (select from pg_depend d where d.objid = c.oid and d.deptype = 'e')
    order by c.relkind desc
"""


@pytest.fixture(scope="session")
def clients_database_url(postgres_server: Server, migrated_template: str) -> Iterator[str]:
    with postgres_server.lend_database(migrated_template) as url:
        yield url


@pytest.fixture(scope="session")
def reranker(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The id of a tiny cross-encoder."""
    return f"local-dir:{make_tiny_cross_encoder(tmp_path_factory.mktemp('cross-encoder'))}"


@pytest.fixture(scope="session")
def service(tmp_path_factory: pytest.TempPathFactory, clients_database_url: str, reranker: str) -> Iterator[Process]:
    settings = {
        "DATABASE_URL": clients_database_url,
        "VISION_MODEL_ID": "demo",
        "REQUIRE_CUDA": "0",
        "RERANK_MODEL_ID": reranker,
        "API_KEYS": KEY,
    }
    directory = tmp_path_factory.mktemp("sidecar")
    with sidecar_process(directory, ("-c", "from sidecar.cli import main; main()", "serve"), **settings) as process:
        process.await_ready(timeout_s=60)  # it imports torch
        yield process
        process.stop()
        assert process.exit_code() == 0, process.log


@pytest.fixture
def open_page(service: Process, clients_database_url: str, reranker: str, tmp_path: Path) -> Iterator[OpenPage]:
    directory = tmp_path / "project"
    directory.mkdir()
    (directory / "node_modules").symlink_to(NODE_MODULES)
    (directory / "package.json").write_text('{"type": "module"}')
    Image.linear_gradient("L").convert("RGB").save(directory / "photo.jpg")
    environment = {
        **ENVIRONMENT,
        "SIDECAR_KEY": KEY,
        "SIDECAR_MODEL": "demo",
        "SIDECAR_RERANK_MODEL": reranker,
    }
    yield lambda name: Page(name, directory, clients_database_url, service.url, PROGRAMS, environment)
    _drop_tables(clients_database_url)


def _drop_tables(database_url: str) -> None:
    with psycopg.connect(database_url, autocommit=True) as connection:
        for kind, schema, name in connection.execute(_TABLES_AND_VIEWS).fetchall():
            statement = "drop view if exists {} cascade" if kind == "v" else "drop table if exists {} cascade"
            _execute_drop(connection, sql.SQL(statement).format(sql.Identifier(schema, name)))


def _execute_drop(connection: psycopg.Connection, statement: sql.Composed) -> None:
    """Retries the DROP: a catalog entry may change under it while the sidecar builds an index."""
    for _ in range(10):
        try:
            connection.execute(statement)
        except psycopg.errors.InternalError_ as error:
            if "tuple concurrently updated" not in str(error):
                raise
        else:
            return
    raise AssertionError(f"the catalogues keep changing under {statement.as_string()}")

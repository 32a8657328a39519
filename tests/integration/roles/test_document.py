"""The statements of docs/roles.md succeed when run as the roles that the page names."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import psycopg
import pytest

from sidecar.operations.migrations import migrate
from tests.encoders import HashEncoder
from tests.integration.ingest.composition import running_ingest
from tests.integration.ingest.watched_table import run, user, value
from tests.servers import Server
from tests.waiting import wait_until_async

DOCUMENT = Path(__file__).parents[3] / "docs" / "roles.md"
BLOCK = re.compile(r"^```sql\n-- as (\w+)[^\n]*\n(.*?)^```", re.MULTILINE | re.DOTALL)
ROLES = ("sidecar_installer", "shop_owner", "sidecar_worker", "shop_reader")


@pytest.fixture
def database_url(postgres_server: Server) -> Iterator[str]:
    """A database for the page's statements; the roles they create are dropped afterwards."""
    try:
        with postgres_server.lend_database() as url:
            yield url
    finally:
        with psycopg.connect(postgres_server.url, autocommit=True) as admin:
            for role in ROLES:
                admin.execute(f"drop role if exists {role}".encode())


def url_of(database_url: str, role: str) -> str:
    parts = urlsplit(database_url)
    who = parts.netloc if role == "postgres" else f"{role}:secret-{ROLES.index(role) + 1}@{parts.hostname}:{parts.port}"
    return urlunsplit(parts._replace(netloc=who))


async def test_every_block_succeeds_as_the_role_that_it_names(database_url: str) -> None:
    text = DOCUMENT.read_text(encoding="utf-8")
    blocks = BLOCK.findall(text)
    assert len(blocks) == text.count("```sql") == 7
    (role, prepare), *rest = blocks
    await _run(url_of(database_url, role), prepare)
    migrate(url_of(database_url, "sidecar_installer"))
    worker = url_of(database_url, "sidecar_worker")
    async with running_ingest(worker, HashEncoder()), user(database_url) as admin:
        for role, block in rest:
            await _run(url_of(database_url, role), block)

        async def is_indexed() -> bool:
            return "_hnsw_" in str(await value(admin, "select index from sidecar.status"))

        await wait_until_async(is_indexed, "the index that a member of the owner builds", timeout_s=20)
        assert await run(admin, "select embedded, failed, state from sidecar.status") == [(2, 0, "up to date")]


async def _run(url: str, block: str) -> None:
    async with user(url) as connection:
        for statement in filter(str.strip, block.split(";\n")):
            await run(connection, statement)

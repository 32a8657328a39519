"""A watched table, a gated encoder, and sessions that ask for query vectors."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from typing import Any, TypeAlias

import psycopg
import pytest

from sidecar.sql_queries import query_server
from tests.integration.ingest.gated_encoder import GatedEncoder
from tests.integration.search.shop import DIMENSIONS, connect, make_products, searching
from tests.integration.sql.session import Connection
from tests.waiting import wait_until_async

Session: TypeAlias = psycopg.AsyncConnection[tuple[Any, ...]]
EMBED = "call sidecar.embed(%s::text, target => 'products.e', vector => null, timeout_ms => %s)"


@pytest.fixture
def db(database_url: str) -> Iterator[Connection]:
    """A user's session, in autocommit."""
    with connect(database_url) as connection:
        yield connection


@pytest.fixture
def encoder(db: Connection) -> GatedEncoder:
    """Creates and watches `products`; the encoder makes the same vectors as theirs."""
    make_products(db)
    return GatedEncoder(dimensions=DIMENSIONS)


@pytest.fixture
async def service(database_url: str, encoder: GatedEncoder, db: Connection) -> AsyncIterator[None]:
    """A sidecar that answers queries in SQL."""
    async with searching(database_url, encoder):
        await until_answering(db)
        yield


@asynccontextmanager
async def session(url: str) -> AsyncIterator[Session]:
    connection = await psycopg.AsyncConnection.connect(url, autocommit=True)
    try:
        yield connection
    finally:
        await connection.close()


async def embed(connection: Session, text: str, timeout_ms: int = 20_000) -> list[float]:
    """The vector that the procedure answers."""
    row = await (await connection.execute(EMBED, (text, timeout_ms))).fetchone()
    assert row is not None
    return [float(number) for number in row[0].strip("[]").split(",")]


async def until_answering(db: Connection, servers: int = 1) -> None:
    """Waits until that many sidecars are registered."""
    await until(lambda: count(db, "query_servers") == servers)


async def until(holds: Callable[[], bool]) -> None:
    async def holds_now() -> bool:
        return holds()

    await wait_until_async(holds_now, "the condition of the test")


def count(db: Connection, table: str, condition: str = "true") -> int:
    row = db.execute(f"select count(*) from sidecar_internal.{table} where {condition}").fetchone()
    assert row is not None
    return int(row[0])


@pytest.fixture
def quick_cleaning(monkeypatch: pytest.MonkeyPatch) -> None:
    """Old answers are deleted ten times a second."""
    monkeypatch.setattr(query_server, "CLEANING_INTERVAL_S", 0.1)

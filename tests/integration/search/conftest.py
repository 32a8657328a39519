from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import httpx
import pytest

from tests.encoders import HashEncoder
from tests.integration.search.shop import connect, make_products, searching
from tests.integration.sql.session import Connection


@pytest.fixture
def db(database_url: str) -> Iterator[Connection]:
    """A user's session, in autocommit, in the test's own database."""
    with connect(database_url) as connection:
        yield connection


@pytest.fixture
def encoder(db: Connection) -> HashEncoder:
    """Creates and watches `products`; returns the encoder of its vectors."""
    return make_products(db)


@pytest.fixture
async def client(database_url: str, encoder: HashEncoder) -> AsyncIterator[httpx.AsyncClient]:
    async with searching(database_url, encoder) as client:
        yield client

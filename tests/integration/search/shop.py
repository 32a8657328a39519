"""A watched table with vectors, and a service that searches it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import httpx
import psycopg
from psycopg import sql
from pydantic import SecretStr

from sidecar.app import create_app
from tests.encoders import HashEncoder
from tests.integration.http.conftest import is_ready, make_settings
from tests.integration.sql.session import Connection, run
from tests.waiting import wait_until_async

DIMENSIONS = 16
TITLES = ("red bicycle", "green mug", "old lighthouse", "small boat", "paper lamp", "tin robot")
EXPOSED = ("title", "price", "tenant")

_TABLE = """
    create table products (id bigint primary key, title text, price numeric, tenant int, secret text);
    insert into products values (1, 'red bicycle', 99.90, 7, 's1'), (2, 'green mug', 4.5, 7, 's2'),
                                (3, 'old lighthouse', null, 8, 's3'), (4, 'small boat', 1e3, 8, 's4'),
                                (5, 'paper lamp', 12, null, 's5'), (6, 'tin robot', 12.00, 7, 's6');
"""


def make_encoder() -> HashEncoder:
    return HashEncoder(dimensions=DIMENSIONS)


def make_products(db: Connection, arguments: str = "expose => array['title', 'price', 'tenant']") -> HashEncoder:
    """Creates `products`, watched and with vectors of its titles; returns the encoder of those vectors."""
    run(db, _TABLE)
    run(db, f"select sidecar.watch('products', 'title', target => 'e', dimensions => {DIMENSIONS}, {arguments})")
    encoder = make_encoder()
    fill_in(db, encoder, "products", "title", "e")
    return encoder


def fill_in(db: Connection, encoder: HashEncoder, table: str, source: str, target: str) -> None:
    """Writes the vector of each row's text, as a sidecar with this encoder would."""
    run(db, "set sidecar.writer = 'on'")
    statement = sql.SQL("update {0} set {1} = %s::vector where {2} = %s").format(
        *(sql.Identifier(*name.split(".")) for name in (table, target, source))
    )
    texts = sql.SQL("select distinct {} from {}").format(sql.Identifier(source), sql.Identifier(*table.split(".")))
    for (text,) in db.execute(texts).fetchall():
        db.execute(statement, (vector_literal(encoder, text), text))
    run(db, "reset sidecar.writer")
    claim_space(db, encoder)


def claim_space(db: Connection, encoder: HashEncoder) -> None:
    """Records that the vectors of all watches are of this encoder."""
    run(db, "update sidecar_internal.watches set fingerprint = %s, encoder = %s", encoder.fingerprint, encoder.model_id)


def vector_literal(encoder: HashEncoder, text: str) -> str:
    return "[" + ",".join(map(repr, encoder.vector_of(text).tolist())) + "]"


@asynccontextmanager
async def searching(database_url: str | None, encoder: HashEncoder, **changes: Any) -> AsyncIterator[httpx.AsyncClient]:
    """A ready service; `changes` are fields of Settings. It ingests no rows unless `ingest=True`."""
    url = SecretStr(database_url) if database_url else None
    settings = make_settings(**{"database_url": url, "ingest": False, "enable_tta": False, **changes})
    app = create_app(settings, load_encoder=lambda _settings: encoder)
    transport = httpx.ASGITransport(app)
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1") as client,
    ):
        await wait_until_async(lambda: is_ready(client), "/readyz")
        yield client


async def search(client: httpx.AsyncClient, **body: Any) -> Mapping[str, Any]:
    """The answer to a search that must succeed, of `products` by default."""
    response = await client.post("/search", json={"table": "products", **body})
    assert response.status_code == 200, response.text
    answer: Mapping[str, Any] = response.json()
    return answer


def keys(answer: Mapping[str, Any]) -> list[Any]:
    """The value of each result's single key column."""
    return [next(iter(result["key"].values())) for result in answer["results"]]


def connect(url: str) -> Connection:
    return psycopg.connect(url, autocommit=True)

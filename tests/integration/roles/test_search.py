"""`POST /search` run as the worker's role, which has only its grants."""

from __future__ import annotations

import psycopg
import pytest

from tests.integration.http.errors import assert_error
from tests.integration.ingest.watched_table import Connection, run, user, value
from tests.integration.roles.cast import Stage
from tests.integration.roles.test_row_security import bypassing
from tests.integration.search.shop import DIMENSIONS, make_encoder, make_products, search, searching

BODY = {"table": "shop.products", "text": "green mug"}
EXPOSE = f"""
    select sidecar.watch('shop.products', 'title', 'e', dimensions => {DIMENSIONS}, expose => array['price'],
                         replace => true)
"""


def make_shop(stage: Stage) -> None:
    """`shop.products`, watched by its owner, who exposes title, price and tenant."""
    with psycopg.connect(stage.owner, autocommit=True, options="-c search_path=shop,public") as connection:
        make_products(connection)


async def test_watch_grants_the_worker_select_on_the_exposed_columns_only(stage: Stage, owner: Connection) -> None:
    make_shop(stage)
    async with searching(stage.worker, make_encoder()) as client, user(stage.worker) as worker:
        answer = await search(client, **BODY, k=1, filter={"tenant": 7})
        assert answer["results"][0]["columns"] == {"title": "green mug", "price": 4.5, "tenant": 7}
        readable = "select has_column_privilege('shop.products', 'secret', 'select')"
        assert await value(worker, readable) is False


async def test_an_exposed_column_without_grant_fails_a_search_unless_other_columns_are_named(
    stage: Stage, owner: Connection
) -> None:
    make_shop(stage)
    await run(owner, f'revoke select (price) on shop.products from "{stage.cast.worker}"')
    async with searching(stage.worker, make_encoder()) as client:
        response = await client.post("/search", json=BODY)
        said = "shop.products cannot be searched: permission denied for table products."
        assert_error(response, 503, "search_denied", said)
        assert "`sidecar doctor`" in response.json()["error"]["message"]
        assert len((await search(client, **BODY, columns=["title"]))["results"]) == 6
        await run(owner, EXPOSE)
        assert "price" in (await search(client, **BODY, k=1))["results"][0]["columns"]


async def test_row_security_that_hides_rows_fails_the_search_instead_of_omitting_them(
    stage: Stage, owner: Connection, admin: Connection
) -> None:
    make_shop(stage)
    await run(owner, "alter table shop.products enable row level security")
    await run(owner, "create policy low on shop.products using (id <= 2)")
    async with searching(stage.worker, make_encoder()) as client:
        response = await client.post("/search", json=BODY)
        assert_error(
            response, 503, "search_denied", "shop.products cannot be searched: query would be affected by row-l"
        )
        async with bypassing(admin, stage.cast.worker):
            assert len((await search(client, **BODY))["results"]) == 6


async def test_search_exposed_applies_the_readers_own_rights_and_policies(
    stage: Stage, owner: Connection, admin: Connection
) -> None:
    make_shop(stage)
    nearest = (
        f"select key ->> 'id' from sidecar.search_exposed('shop.products', array_fill(1::real, array[{DIMENSIONS}]))"
    )
    async with user(stage.reader) as reader:
        await run(owner, f"grant usage on schema shop to {stage.cast.reader}")
        with pytest.raises(psycopg.errors.InsufficientPrivilege, match="permission denied for table products"):
            await run(reader, nearest)
        await run(owner, f"grant select on shop.products to {stage.cast.reader}")
        assert len(await run(reader, nearest)) == 6
        await run(owner, "alter table shop.products enable row level security")
        await run(owner, "create policy low on shop.products using (id <= 2)")
        assert {key for (key,) in await run(reader, nearest)} == {"1", "2"}

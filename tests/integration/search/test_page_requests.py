"""Pages and `min_score` over REST."""

from __future__ import annotations

import base64
from typing import Any

import httpx
import pytest

from sidecar.http.search.pages import MAX_PAGED_ROWS
from tests.encoders import HashEncoder
from tests.integration.http.errors import assert_error
from tests.integration.search.shop import keys, search
from tests.integration.sql.session import Connection, run

QUERY: dict[str, Any] = {"text": "red bicycle"}


async def page_after_page(client: httpx.AsyncClient, k: int, **body: Any) -> list[Any]:
    found: list[Any] = []
    after: str | None = None
    for _ in range(10):
        answer = await search(client, k=k, after=after, **body)
        found += keys(answer)
        after = answer["next"]
        if after is None:
            return found
    raise AssertionError(found)


@pytest.mark.parametrize("k", [1, 2, 4, 6, 7])
async def test_pages_after_each_other_are_the_whole_search(client: httpx.AsyncClient, k: int) -> None:
    whole = keys(await search(client, **QUERY))
    assert len(whole) == 6
    assert await page_after_page(client, k, **QUERY) == whole
    condition = {"tenant": {"$in": [7, 8]}}
    narrowed = keys(await search(client, **QUERY, filter=condition))
    assert await page_after_page(client, k, **QUERY, filter=condition) == narrowed


async def test_rows_of_equal_distance_come_in_the_order_of_keys(client: httpx.AsyncClient, db: Connection) -> None:
    run(db, "set sidecar.writer = 'on'; update products set e = (select e from products where id = 1) where id > 2")
    found = await page_after_page(client, 2, **QUERY)
    assert found == [1, 3, 4, 5, 6, 2]


async def test_offset_skips_rows(client: httpx.AsyncClient) -> None:
    whole = keys(await search(client, **QUERY))
    for offset in range(7):
        assert keys(await search(client, **QUERY, k=2, offset=offset)) == whole[offset : offset + 2]


async def test_pages_leave_out_the_rows_that_the_query_names(client: httpx.AsyncClient) -> None:
    query = {"query": [{"key": 1}, {"text": "green mug", "weight": 0.5}]}
    whole = keys(await search(client, **query))
    assert len(whole) == 5
    assert await page_after_page(client, 2, **query) == whole
    assert [keys(await search(client, **query, k=2, offset=n)) for n in (0, 2, 4)] == [whole[:2], whole[2:4], whole[4:]]


async def test_offset_pages_through_diverse_rows(client: httpx.AsyncClient) -> None:
    whole = await search(client, **QUERY, diversity=0.5)
    assert whole["next"] is None
    pages = [keys(await search(client, **QUERY, diversity=0.5, k=3, offset=offset)) for offset in (0, 3)]
    assert pages[0] + pages[1] == keys(whole)


async def test_min_score_bounds_the_cosine(client: httpx.AsyncClient) -> None:
    answer = await search(client, **QUERY)
    scores = [1 - result["distance"] for result in answer["results"]]
    for least in (-1, scores[2], scores[2] + 1e-5):
        limited = await search(client, **QUERY, min_score=least)
        assert keys(limited) == [key for key, score in zip(keys(answer), scores, strict=True) if score >= least]
    assert (await search(client, **QUERY, k=2, min_score=1))["next"] is None


async def test_a_cursor_holds_for_the_search_that_gave_it(client: httpx.AsyncClient, encoder: HashEncoder) -> None:
    cursor = (await search(client, **QUERY, k=2))["next"]
    assert len(keys(await search(client, **QUERY, k=3, after=cursor, columns=["title"], min_score=-1))) == 3
    for other in ({"text": "green mug"}, {"filter": {"tenant": 7}}, {"table": "public.products"}):
        response = await client.post("/search", json={"table": "products", **QUERY, "after": cursor, **other})
        assert_error(response, 422, "wrong_cursor", "`after` is of another search", "after")


async def test_a_cursor_that_was_tampered_with_is_refused(client: httpx.AsyncClient) -> None:
    written = base64.urlsafe_b64decode((await search(client, **QUERY, k=2))["next"])
    for old, new, code in (
        (b'"id"', b'"it"', "wrong_cursor"),
        (b'"n": 2', b'"n": %d' % MAX_PAGED_ROWS, "out_of_range"),
        (b'"key": {', b'"key": {"x": {}, ', None),
        (b'"id": ', b'"id": "x", "y": ', "wrong_cursor"),
        (b'"distance": ', b'"distance": "x", "y": ', "wrong_cursor"),
    ):
        assert old in written
        after = base64.urlsafe_b64encode(written.replace(old, new)).decode()
        response = await client.post("/search", json={"table": "products", **QUERY, "after": after})
        if code is None:
            assert response.status_code == 200
        else:
            assert response.status_code == 422, (new, response.text)
            assert response.json()["error"]["code"] == code, new

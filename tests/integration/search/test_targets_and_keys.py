"""`targets` with keys bound to tables, targets and rows: each target is searched as if it were the only one."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.integration.http.errors import assert_error
from tests.integration.search.catalogue import make_catalogue
from tests.integration.search.shop import DIMENSIONS, connect, keys, searching
from tests.integration.sql.session import run

OF_TARGET, TENANT, MIXED, PARTED, MISFIT, SPLIT = (
    f"{name}-key-0123456789" for name in ("one", "tenant", "mixed", "part", "misfit", "split")
)

FILE = f"""
[[keys]]
key = "{OF_TARGET}"
scopes = ["search"]
tables = [{{ table = "public.catalogue", target = "t" }}]

[[keys]]
key = "{TENANT}"
scopes = ["search"]
filter = {{ tenant = 7 }}

[[keys]]
key = "{MIXED}"
scopes = ["search"]
tables = [{{ table = "public.catalogue", target = "t" }},
          {{ table = "public.catalogue", target = "p", filter = {{ tenant = 7 }} }}]

[[keys]]
key = "{PARTED}"
scopes = ["search"]
tables = [{{ table = "public.catalogue", target = "t", filter = {{ tenant = 7 }} }},
          {{ table = "public.catalogue", target = "p", filter = {{ title = ["tin robot", "old lighthouse"] }} }}]

[[keys]]
name = "misfit"
key = "{MISFIT}"
scopes = ["search"]
tables = [{{ table = "public.catalogue", target = "t", filter = {{ price = 12 }} }},
          {{ table = "public.catalogue", target = "p", filter = {{ price = 12 }} }}]

[[keys]]
name = "split"
key = "{SPLIT}"
scopes = ["search"]
tables = [{{ table = "public.catalogue", target = "t", filter = {{ price = 12 }} }},
          {{ table = "public.catalogue", target = "p", filter = {{ tenant = 7 }} }}]
"""


@pytest.fixture
async def client(database_url: str, tmp_path: Path) -> AsyncIterator[httpx.AsyncClient]:
    with connect(database_url) as db:
        encoder = make_catalogue(db)
        run(db, f"select sidecar.watch('catalogue', 'secret', 'hidden', dimensions => {DIMENSIONS})")
    file = tmp_path / "keys"
    file.write_text(FILE)
    async with searching(database_url, encoder, api_keys_file=file) as client:
        yield client


async def search(client: httpx.AsyncClient, key: str, targets: list[Any], **body: Any) -> httpx.Response:
    asked = {"table": "catalogue", "targets": targets, "text": "red bicycle", **body}
    return await client.post("/search", json=asked, headers={"Authorization": f"Bearer {key}"})


async def test_a_target_that_the_key_does_not_open_is_like_one_that_does_not_exist(client: httpx.AsyncClient) -> None:
    assert (await search(client, OF_TARGET, ["t"])).status_code == 200
    for spelt in ("p", {"target": "p", "weight": 0}):
        existing = await search(client, OF_TARGET, ["t", spelt])
        invented = await search(client, OF_TARGET, ["t", "x" if spelt == "p" else {"target": "x", "weight": 0}])
        assert existing.status_code == invented.status_code == 404
        assert existing.text == invented.text.replace("'x'", "'p'")
        assert "Its targets: t." in existing.text
    assert_error(
        await search(client, OF_TARGET, ["t"], table="public.others"),
        403,
        "forbidden_table",
        "The key opens no table of this name",
    )


async def test_the_filter_of_a_key_holds_in_each_target(client: httpx.AsyncClient) -> None:
    for targets in (["t", "p"], ["p", "t"], ["p"]):
        found = (await search(client, TENANT, targets)).json()
        assert set(keys(found)) <= {1, 2, 5, 6}
        assert {place for result in found["results"] for place in result["ranks"].values()} <= {1, 2, 3, 4}
    widened = await search(client, TENANT, ["t", "p"], filter={"$or": [{"tenant": 8}, {"tenant": 7}]})
    assert set(keys(widened.json())) == {1, 2, 5, 6}


async def test_a_row_has_to_pass_the_filters_of_all_targets(client: httpx.AsyncClient) -> None:
    assert len(keys((await search(client, MIXED, ["t"])).json())) == 6
    assert set(keys((await search(client, MIXED, ["t", "p"])).json())) == {1, 2, 5, 6}
    for targets in (["t", "p"], ["p", "t"]):
        assert keys((await search(client, PARTED, targets)).json()) == [6]
        assert keys((await search(client, PARTED, targets, filter={"id": {"$ne": 6}})).json()) == []
    named = {"text": None, "query": [{"key": 1, "target": "t"}]}
    hidden = await search(client, PARTED, ["t", "p"], **named)
    assert_error(hidden, 422, "row_not_found", "`query[0].key`: public.catalogue has no row", "query[0].key")
    wrong = await search(client, PARTED, ["t", "p"], filter={"tenant": "many"})
    assert_error(wrong, 422, "invalid_filter_value", "`filter.tenant`: invalid input", "filter.tenant")


async def test_a_filter_that_fits_one_target_only_is_refused_and_the_log_says_why(
    client: httpx.AsyncClient, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    assert set(keys((await search(client, MISFIT, ["t"])).json())) == {5, 6}
    refused = await search(client, MISFIT, ["t", "p"])
    assert_error(refused, 403, "filter_not_applicable", "The key's own filter cannot be applied to this table.")
    assert "price" not in refused.text
    (complaint,) = [record.getMessage() for record in caplog.records if record.levelno == logging.ERROR]
    assert complaint == (
        "The key 'misfit' cannot search public.catalogue.p: its filter in API_KEYS_FILE cannot be applied: column "
        "'price' is neither a key nor exposed: sidecar.watch(…, expose => …, replace => true)."
    )


async def test_a_filter_of_one_target_on_a_column_that_another_does_not_expose_is_refused_and_the_log_says_why(
    client: httpx.AsyncClient, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    assert set(keys((await search(client, SPLIT, ["t"])).json())) == {5, 6}
    assert set(keys((await search(client, SPLIT, ["p"])).json())) == {1, 2, 5, 6}
    named = {"text": None, "query": [{"key": 5, "target": "p"}]}
    for targets in (["t", "p"], ["p", "t"]):
        for body in ({}, named):
            refused = await search(client, SPLIT, targets, **body)
            assert_error(refused, 403, "filter_not_applicable", "The key's own filter cannot be applied to this table.")
            assert "price" not in refused.text
    said = (
        "The key 'split' cannot search public.catalogue.p: its filter in API_KEYS_FILE cannot be applied: column "
        "'price' is neither a key nor exposed: sidecar.watch(…, expose => …, replace => true)."
    )
    assert {record.getMessage() for record in caplog.records if record.levelno == logging.ERROR} == {said}


async def test_the_filter_of_a_target_without_vectors_holds_too(client: httpx.AsyncClient, database_url: str) -> None:
    with connect(database_url) as db:
        run(db, "update sidecar_internal.watches set fingerprint = null where target = 'p'")
    for body in ({}, {"diversity": 0.5}):
        assert set(keys((await search(client, MIXED, ["t", "p"], **body)).json())) == {1, 2, 5, 6}
    assert len(keys((await search(client, MIXED, ["t"])).json())) == 6

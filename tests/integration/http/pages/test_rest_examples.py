"""The answers in the sections Watches, Failures and Events of docs/rest.md."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from pydantic import SecretStr

from tests.encoders import HashEncoder
from tests.integration.http.events.stream import listening
from tests.integration.http.live_server import live_server
from tests.integration.search.shop import claim_space, connect, searching
from tests.integration.sql.session import run
from tests.waiting import wait_until_async

PAGE = (Path(__file__).parents[4] / "docs" / "rest.md").read_text(encoding="utf-8")


def first_block(section: str, language: str) -> str:
    """The first block of that language in a section of the page."""
    part = PAGE.partition(f"\n## {section}\n")[2]
    found = re.search(rf"^```{language}\n(.*?)^```", part, re.MULTILINE | re.DOTALL)
    assert found is not None
    return found[1]


async def test_the_watch_of_the_search_is_listed_as_the_page_says(database_url: str) -> None:
    expected = json.loads(first_block("Watches", "json"))
    (model,) = (watch["model"] for watch in expected["watches"])
    encoder = HashEncoder(model)
    with connect(database_url) as db:
        run(db, first_block("Search", "sql"))
        claim_space(db, encoder)
    async with searching(database_url, encoder) as client:
        assert (await client.get("/watches")).json() == expected


async def test_a_sample_has_the_fields_that_the_page_shows(database_url: str) -> None:
    expected = json.loads(first_block("Events", "json"))
    with connect(database_url) as db:
        run(db, first_block("Search", "sql"))
    async with (
        live_server(HashEncoder(), database_url=SecretStr(database_url), ingest=False) as port,
        listening(f"http://127.0.0.1:{port}") as stream,
    ):
        sample = await stream.next_of("sample", lambda data: data["watches"])
    assert sample.keys() == expected.keys()
    assert sample["lanes"].keys() == expected["lanes"].keys()
    for part in ("watches", "lanes"):
        (name, *_) = expected[part]
        assert sample[part][name].keys() == expected[part][name].keys()
    assert sample["queries"].keys() == expected["queries"].keys()


async def test_a_failure_is_listed_as_the_page_says(database_url: str) -> None:
    expected = json.loads(first_block("Failures", "json"))
    encoder = HashEncoder()
    with connect(database_url) as db:
        run(db, "create table photos (id bigint primary key, photo bytea)")
        db.execute("insert into photos values (3, %s)", (b"this is no picture",))
        run(db, "select sidecar.watch('photos', 'photo')")
    async with searching(database_url, encoder, ingest=True) as client:

        async def read() -> Any:
            return (await client.get("/failures", params={"table": "photos", "limit": 20})).json()

        async def has_failed() -> bool:
            return bool((await read())["failures"])

        await wait_until_async(has_failed, "the failure")
        answer = await read()
    for failures in (answer["failures"], expected["failures"]):
        assert isinstance(failures[0].pop("at"), str)
    assert answer == expected

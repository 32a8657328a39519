"""The demo's pictures can be looked at: its watch exposes them."""

from __future__ import annotations

import asyncio
import io

from PIL import Image

from sidecar.demo.example import create_example
from tests.encoders import HashEncoder
from tests.integration.search.shop import searching


async def test_the_emoji_have_thumbnails(database_url: str) -> None:
    assert await asyncio.to_thread(create_example, database_url)
    async with searching(database_url, HashEncoder()) as client:
        listed = (await client.get("/watches")).json()["watches"]
        assert {watch["target"]: watch["has_thumbnails"] for watch in listed} == {
            "name_embedding": False,
            "picture_embedding": True,
        }
        assert [[column["name"] for column in watch["columns"]] for watch in listed] == [
            ["emoji", "name", "category", "keywords"]
        ] * 2
        query = {"table": "emoji", "target": "picture_embedding", "key": "1", "size": "64"}
        thumbnail = await client.get("/thumbnail", params=query)
    assert thumbnail.status_code == 200, thumbnail.text
    assert max(Image.open(io.BytesIO(thumbnail.content)).size) == 64

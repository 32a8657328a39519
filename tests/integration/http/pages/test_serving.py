"""The client in docs/serving.md retries after `Retry-After`."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path
from typing import Any

import httpx

from tests.integration.http.blocking_encoder import BlockingEncoder
from tests.integration.http.live_server import live_server

PAGE = Path(__file__).parents[4] / "docs" / "serving.md"
BLOCK = re.compile(r"^```python\n(.*?)^```", re.MULTILINE | re.DOTALL)


async def test_the_client_waits_for_retry_after_and_succeeds() -> None:
    (block,) = BLOCK.findall(PAGE.read_text(encoding="utf-8"))
    names: dict[str, Any] = {}
    exec(compile(block, str(PAGE), "exec"), names)  # noqa: S102 - our own document
    encoder = BlockingEncoder()
    async with live_server(encoder, enable_tta=False, query_queue_views=2, query_cache_bytes=0) as port:
        seen: list[int] = []
        url = f"http://127.0.0.1:{port}"
        with httpx.Client(base_url=url, event_hooks={"response": [lambda r: _note(r, seen, encoder)]}) as client:
            encoder.hold()
            async with httpx.AsyncClient(base_url=url) as others:
                first = asyncio.create_task(others.post("/embed/text", json={"text": "first"}), name="first")
                await asyncio.to_thread(encoder.entered.wait, 10)
                full = asyncio.create_task(others.post("/embed/text/batch", json={"texts": ["a", "b"]}), name="full")
                await _until_it_waits(others)
                vectors = await asyncio.to_thread(names["embed_texts"], client, ["a green mug", "a ship"])
                assert {(await first).status_code, (await full).status_code} == {200}
    assert seen == [429, 200]
    assert [len(vector) for vector in vectors] == [1152, 1152]


def _note(response: httpx.Response, seen: list[int], encoder: BlockingEncoder) -> None:
    seen.append(response.status_code)
    encoder.release()


async def _until_it_waits(client: httpx.AsyncClient) -> None:
    while (await client.get("/status")).json()["lanes"]["query"]["waiting"] < 2:
        await asyncio.sleep(0)

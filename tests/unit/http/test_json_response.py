"""Large responses are the same JSON as small ones, and are serialized without blocking the event loop."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import numpy as np
import orjson
import pytest
from pydantic import BaseModel
from starlette.types import Message

from sidecar.http.json_response import JsonResponse, LargeJsonResponse, serialize_list


class Answer(BaseModel):
    name: str
    items: Any
    others: Any = None


async def body_of(response: LargeJsonResponse) -> bytes:
    sent: list[Message] = []

    async def receive() -> Message:
        raise AssertionError

    async def send(message: Message) -> None:
        sent.append(message)

    await response({"type": "http"}, receive, send)
    start, *parts = sent
    assert [part["more_body"] for part in parts] == [True] * (len(parts) - 1) + [False]
    assert dict(start["headers"])[b"content-type"] == b"application/json"
    body = b"".join(part["body"] for part in parts)
    assert int(dict(start["headers"])[b"content-length"]) == len(body)
    assert max(len(part["body"]) for part in parts) < 2 * 1024 * 1024, "it was copied into one"
    return body


@pytest.mark.parametrize("count", [0, 1, 15, 16, 17, 100])
async def test_a_response_in_pieces_is_the_same_json(count: int) -> None:
    items: Sequence[object] = [
        {"index": index, "vector": np.array([index / 3, -1e-9], np.float32)} for index in range(count)
    ]
    others = [f"\0 \\u0000 ü {index}" for index in range(count)]
    whole = Answer(name="\0", items=items, others={"a": others, "b": others})
    lists = {"a": await serialize_list(others), "b": await serialize_list(iter(others))}
    in_pieces = Answer(name="\0", items=await serialize_list(items), others=lists)
    body = await body_of(LargeJsonResponse(in_pieces, {"x-a": "b"}))
    assert body == JsonResponse(whole).body
    assert orjson.loads(body)["others"]["b"] == others


async def test_a_response_may_be_a_list_alone() -> None:
    vectors = np.random.default_rng(1).random((1000, 700), np.float32)
    body = await body_of(LargeJsonResponse(await serialize_list(vectors)))
    np.testing.assert_array_equal(np.array(orjson.loads(body), np.float32), vectors)


async def test_the_event_loop_runs_while_a_list_is_serialized() -> None:
    turns = 0

    async def count_turns() -> None:
        nonlocal turns
        while True:
            await asyncio.sleep(0)
            turns += 1

    counting = asyncio.create_task(count_turns())
    await serialize_list(range(1600))
    counting.cancel()
    assert turns >= 99

"""Valid requests to `/embed/…`, and their responses."""

from __future__ import annotations

import asyncio
from itertools import pairwise
from typing import Any

import httpx
import numpy as np

from tests.encoders import HashEncoder
from tests.integration.http.conftest import Serving
from tests.integration.http.pictures import picture

ENCODER = HashEncoder()
LONG = " ".join(f"word{number}" for number in range(65))


def assert_space(answer: dict[str, Any]) -> None:
    assert (answer["dim"], answer["model"], answer["fingerprint"]) == (1152, "hash", ENCODER.fingerprint)


async def test_a_text_gets_its_vector_and_fingerprint(client: httpx.AsyncClient) -> None:
    response = await client.post("/embed/text", json={"text": "a red bicycle"})
    assert response.status_code == 200
    assert response.headers["content-type"] == "application/json"
    answer = response.json()
    assert set(answer) == {"embedding", "dim", "model", "fingerprint", "truncated", "unreadable", "pair_scale"}
    assert_space(answer)
    assert answer["truncated"] is False
    np.testing.assert_array_equal(np.float32(answer["embedding"]), ENCODER.vector_of("a red bicycle"))


async def test_texts_get_vectors_and_truncation_flags_in_order(client: httpx.AsyncClient) -> None:
    response = await client.post("/embed/text/batch", json={"texts": ["b", LONG[:190], "a"], "unknown": "is ignored"})
    answer = response.json()
    assert set(answer) == {"embeddings", "dim", "model", "fingerprint", "truncated", "unreadable"}
    assert_space(answer)
    assert answer["truncated"] == [False, False, False]
    expected = [ENCODER.vector_of(text) for text in ("b", LONG[:190], "a")]
    np.testing.assert_array_equal(np.float32(answer["embeddings"]), expected)


async def test_a_text_longer_than_the_context_is_reported_as_truncated(serving: Serving) -> None:
    async with serving() as client:
        one = (await client.post("/embed/text", json={"text": LONG})).json()
        many = (await client.post("/embed/text/batch", json={"texts": ["short", LONG]})).json()
    assert one["truncated"] is True
    assert many["truncated"] == [False, True]


async def test_a_text_in_an_unknown_script_is_reported_as_unreadable(
    client: httpx.AsyncClient,
) -> None:
    one = (await client.post("/embed/text", json={"text": "ᏣᎳᎩ"})).json()
    many = (await client.post("/embed/text/batch", json={"texts": ["a cat", "ᏣᎳᎩ", "a big cat ᏣᎳᎩ"]})).json()
    assert one["unreadable"] is True
    assert many["unreadable"] == [False, True, False]


async def test_a_picture_gets_a_unit_vector(client: httpx.AsyncClient) -> None:
    response = await client.post("/embed/image", files={"file": ("photo.png", picture())})
    assert response.status_code == 200
    answer = response.json()
    assert set(answer) == {"embedding", "dim", "model", "fingerprint", "truncated", "unreadable", "pair_scale"}
    assert_space(answer)
    assert answer["truncated"] is False
    assert abs(np.linalg.norm(answer["embedding"]) - 1) < 1e-6


async def test_a_part_without_a_file_name_is_a_picture_by_its_media_type(client: httpx.AsyncClient) -> None:
    named = (await client.post("/embed/image", files={"file": ("a.png", picture())})).json()["embedding"]
    response = await client.post("/embed/image", files={"file": (None, picture(), "image/png")})
    assert response.json()["embedding"] == named


async def test_a_batch_of_pictures_gets_the_vectors_of_single_requests_in_order(client: httpx.AsyncClient) -> None:
    pictures = [picture(colour) for colour in ("red", "green", "blue", "white", "black")]
    alone = [(await client.post("/embed/image", files={"file": ("p", one)})).json()["embedding"] for one in pictures]
    files = [("file", (f"{index}.png", one)) for index, one in enumerate(pictures)]
    answer = (await client.post("/embed/image/batch", files=files, data={"note": "other fields are ignored"})).json()
    assert answer["embeddings"] == alone
    assert answer["truncated"] == [False] * 5
    assert all(one != other for one, other in pairwise(alone))


async def test_concurrent_requests_share_micro_batches(serving: Serving) -> None:
    encoder = HashEncoder()
    async with serving(lambda _settings: encoder) as client:
        before = len(encoder.calls)
        answers = await asyncio.gather(*(client.post("/embed/text", json={"text": f"text {n}"}) for n in range(40)))
    assert {answer.status_code for answer in answers} == {200}
    assert sum(encoder.calls[before:]) == 40
    assert len(encoder.calls[before:]) < 40


async def test_numbers_read_back_as_the_computed_float32(client: httpx.AsyncClient) -> None:
    answer = await client.post("/embed/text", json={"text": "digits"})
    digits = answer.text.partition("[")[2].partition("]")[0].split(",")
    assert max(map(len, digits)) <= 16


async def test_a_batch_with_reserved_capacity_is_not_rejected_halfway(serving: Serving) -> None:
    files = [("file", (f"{index}.png", picture(colour))) for index, colour in enumerate(("red", "green", "blue") * 3)]
    async with serving(enable_tta=False, query_queue_views=10) as client:
        response = await client.post("/embed/image/batch", files=files)
    assert response.status_code == 200, response.text
    assert len(response.json()["embeddings"]) == 9

"""Inputs for which the model computes no finite vector: each gets an error of its own, and no response contains NaN."""

from __future__ import annotations

import asyncio
import base64

import httpx
import numpy as np
import pytest

from tests.encoders import SPOILT_WORD, SpoilingEncoder
from tests.integration.http.blocking_encoder import BlockingEncoder
from tests.integration.http.conftest import Serving
from tests.integration.http.errors import assert_error
from tests.integration.http.pictures import picture
from tests.integration.http.rerank.tiny_reranker import TinyReranker

BAD_TEXT = f"an {SPOILT_WORD} of numbers"
BLACK = picture("black")
URI, BLACK_URI = (f"data:image/png;base64,{base64.b64encode(image).decode()}" for image in (picture(), BLACK))
NO_VECTOR = "The model has no vector for this "


def embeds(encoder: SpoilingEncoder, text: str, response: httpx.Response) -> bool:
    assert response.status_code == 200, response.text
    return bool((np.float32(response.json()["embedding"]) == encoder.vector_of(text)).all())


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), float("-inf"), 0.0, 1e30])
@pytest.mark.parametrize("enable_tta", [False, True])
async def test_an_input_without_a_vector_is_named_and_others_are_answered(
    serving: Serving, bad: float, enable_tta: bool
) -> None:
    encoder = SpoilingEncoder(bad)
    async with serving(lambda _settings: encoder, enable_tta=enable_tta) as client:
        spoilt, *good = await asyncio.gather(
            client.post("/embed/text", json={"text": BAD_TEXT}),
            *(client.post("/embed/text", json={"text": f"text {number}"}) for number in range(8)),
        )
        assert_error(spoilt, 422, "no_vector", f"`text`: {NO_VECTOR}text", "text")
        assert all(embeds(encoder, f"text {number}", response) for number, response in enumerate(good))
        for response, param in (
            (await client.post("/embed/text/batch", json={"texts": ["a", BAD_TEXT]}), "texts[1]"),
            (await client.post("/embed/image", files={"file": ("a.png", BLACK)}), "file"),
            (
                await client.post("/embed/image/batch", files=[("file", ("a", picture())), ("file", ("b", BLACK))]),
                "file[1]",
            ),
            (await client.post("/v1/embeddings", json={"model": "hash", "input": ["a", BAD_TEXT]}), "input[1]"),
            (
                await client.post(
                    "/v1/embeddings", json={"model": "hash", "input": ["a", BLACK_URI], "encoding_format": "base64"}
                ),
                "input[1]",
            ),
            (await client.post("/v2/rerank", json={"query": BAD_TEXT, "documents": [{"image": URI}]}), "query"),
            (
                await client.post(
                    "/v2/rerank", json={"query": "a", "documents": [{"image": URI}, {"image": BLACK_URI}]}
                ),
                "documents[1]",
            ),
        ):
            assert_error(response, 422, "no_vector", f"`{param}`: {NO_VECTOR}", param)
        assert (await client.get("/readyz")).status_code == 200


async def test_a_device_without_any_finite_result_is_a_device_error(serving: Serving) -> None:
    encoder = SpoilingEncoder()
    async with serving(lambda _settings: encoder) as client:
        encoder.broken = True
        for response in (
            await client.post("/embed/text", json={"text": "a"}),
            await client.post("/embed/image", files={"file": ("a.png", picture())}),
        ):
            assert_error(response, 503, "device_error", "The device fails: ")


async def test_a_result_without_a_vector_is_not_cached(serving: Serving) -> None:
    """From the query cache it would be served again after the device has recovered."""
    encoder = SpoilingEncoder()
    async with serving(lambda _settings: encoder, query_cache_bytes=1 << 20) as client:
        assert (await client.post("/embed/text", json={"text": BAD_TEXT})).status_code == 422
        encoder._spoilt_token = b"nothing of the kind"
        assert embeds(encoder, BAD_TEXT, await client.post("/embed/text", json={"text": BAD_TEXT}))


@pytest.fixture(scope="module")
def reranker(tmp_path_factory: pytest.TempPathFactory) -> TinyReranker:
    return TinyReranker(tmp_path_factory.mktemp("cross-encoder"))


async def test_a_document_without_a_score_is_named(
    serving: Serving, reranker: TinyReranker, monkeypatch: pytest.MonkeyPatch
) -> None:
    spoil_scores(monkeypatch, tokens=9)
    async with serving(lambda _settings: BlockingEncoder(), **reranker.settings) as client:
        for path, name, documents in (
            ("/rerank", "texts", ["a", "b", "a b c d"]),
            ("/v1/rerank", "documents", ["a", "b", "a b c d"]),
            ("/v2/rerank", "documents", ["a", "b", "a b c d"]),
        ):
            response = await client.post(path, json={"query": "a b", name: documents})
            assert_error(response, 422, "no_score", "The model computes no finite score", f"{name}[2]")
            good = await client.post(path, json={"query": "a b", name: documents[:2]})
            assert good.status_code == 200
            assert "null" not in good.text


def spoil_scores(monkeypatch: pytest.MonkeyPatch, tokens: int) -> None:
    """From now on, pairs of `tokens` tokens get infinite scores."""
    from sidecar.model.reranker.cross_encoder import CrossEncoderScorer

    original = CrossEncoderScorer.score_pairs

    def score_pairs(scorer, pairs):  # type: ignore[no-untyped-def]
        scores = original(scorer, pairs)
        scores[[len(pair.token_ids) == tokens for pair in pairs]] = np.float32("inf")
        return scores

    monkeypatch.setattr(CrossEncoderScorer, "score_pairs", score_pairs)

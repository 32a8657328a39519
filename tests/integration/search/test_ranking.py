"""Match probabilities of texts and pictures, and reranking by a cross-encoder."""

from __future__ import annotations

import math
from pathlib import Path

import httpx
import numpy as np
import pytest

from sidecar.batching.encoder import PairScale
from tests.encoders import HashEncoder
from tests.integration.http.embed.test_no_vector import spoil_scores
from tests.integration.http.errors import assert_error
from tests.integration.http.pictures import data_uri
from tests.integration.http.rerank.tiny_reranker import TinyReranker
from tests.integration.ingest.watched_table import picture
from tests.integration.search.shop import (
    DIMENSIONS,
    TITLES,
    claim_space,
    keys,
    make_products,
    search,
    searching,
)
from tests.integration.sql.session import Connection, run

SCALE = PairScale(scale=112.33, bias=-16.54)


@pytest.fixture
def pictures(db: Connection, encoder: HashEncoder) -> HashEncoder:
    """`photos`, whose vectors are those of the texts 'a', 'b', 'c' and of half 'a', half 'b'."""
    encoder.pair_scale = SCALE
    run(db, "create table photos (id int primary key, photo bytea, caption text)")
    watch = f"select sidecar.watch('photos', 'photo', 'e', dimensions => {DIMENSIONS}, expose => array['caption'])"
    run(db, watch)
    a, b, c = (encoder.vector_of(text) for text in "abc")
    half = (a + b) / np.linalg.norm(a + b)
    run(db, "set sidecar.writer = 'on'")
    for row, vector in enumerate((a, b, c, half), 1):
        run(db, "insert into photos values (%s, 'x', 'a caption', %s::real[]::vector)", row, vector.tolist())
    claim_space(db, encoder)
    return encoder


async def test_the_match_probability_is_the_sigmoid_of_the_models_pair_scale(
    database_url: str, pictures: HashEncoder
) -> None:
    async with searching(database_url, pictures) as client:
        answer = await search(client, table="photos", text="a")
    assert answer["match_probability_calibrated"] is True
    assert answer["warnings"] == []
    a, b, c = (pictures.vector_of(text).astype(np.float64) for text in "abc")
    half = (a + b) / np.linalg.norm(a + b)
    cosines = dict(enumerate((a @ a, a @ b, a @ c, a @ half), 1))
    for result in answer["results"]:
        logit = SCALE.scale * cosines[result["key"]["id"]] + SCALE.bias
        assert result["match_probability"] == pytest.approx(1 / (1 + math.exp(-logit)), rel=1e-3)
    assert keys(answer)[0] == 1
    assert answer["results"][0]["match_probability"] > 0.999999


async def test_with_tta_the_probability_is_reported_as_uncalibrated(database_url: str, pictures: HashEncoder) -> None:
    async with searching(database_url, pictures, enable_tta=True) as client:
        answer = await search(client, table="photos", text="a")
    assert answer["match_probability_calibrated"] is False
    assert answer["results"][0]["match_probability"] > 0.999999
    (said,) = answer["warnings"]
    assert "ENABLE_TTA" in said


async def test_a_picture_finds_texts_and_matches_them(database_url: str, encoder: HashEncoder) -> None:
    encoder.pair_scale = PairScale(scale=0.0, bias=0.0)
    async with searching(database_url, encoder) as client:
        answer = await search(client, image=data_uri(picture(1)))
    assert len(answer["results"]) == len(TITLES)
    assert {result["match_probability"] for result in answer["results"]} == {0.5}


async def test_only_pairs_of_text_and_picture_have_a_match_probability(
    database_url: str, pictures: HashEncoder
) -> None:
    vector = pictures.vector_of("a").tolist()
    async with searching(database_url, pictures) as client:
        for body in (
            {"table": "products", "text": "a"},
            {"table": "photos", "image": data_uri(picture(1))},
            {"table": "photos", "vector": vector},
        ):
            answer = await search(client, **body)
            assert {result["match_probability"] for result in answer["results"]} == {None}
            assert answer["match_probability_calibrated"] is None


async def test_a_model_without_a_pair_scale_has_no_match_probability(database_url: str, pictures: HashEncoder) -> None:
    pictures.pair_scale = None
    async with searching(database_url, pictures) as client:
        answer = await search(client, table="photos", text="a")
    assert answer["results"][0]["match_probability"] is None


@pytest.fixture(scope="module")
def reranker(tmp_path_factory: pytest.TempPathFactory) -> TinyReranker:
    return TinyReranker(Path(tmp_path_factory.mktemp("cross-encoder")))


async def test_the_nearest_rows_are_reranked(database_url: str, encoder: HashEncoder, reranker: TinyReranker) -> None:
    raw = reranker.predict("red mug", TITLES)
    async with searching(database_url, encoder, **reranker.settings) as client:
        answer = await search(client, text="red mug", rerank={})
        by_column = await search(client, text="red mug", rerank={"column": "title"}, columns=[], k=2)
        nearest = await search(client, text="red mug", k=3)
        few = await search(client, text="red mug", k=2, rerank={"top_k": 3})
    scores = [result["rerank_score"] for result in answer["results"]]
    assert scores == sorted(scores, reverse=True)
    assert scores == pytest.approx([1 / (1 + math.exp(-float(raw[key - 1]))) for key in keys(answer)], rel=1e-4)
    assert answer["rerank_model"] == reranker.model_id
    assert keys(by_column) == keys(answer)[:2]
    assert set(keys(few)) < set(keys(nearest))
    assert len(keys(few)) == 2


async def test_equal_scores_keep_their_order_and_rows_without_a_text_come_last(
    database_url: str, db: Connection, encoder: HashEncoder, reranker: TinyReranker
) -> None:
    run(db, "update products set title = 'the same' where id <> 3; update products set title = null where id = 3")
    async with searching(database_url, encoder, **reranker.settings) as client:
        plain = await search(client, text="old lighthouse")
        answer = await search(client, text="old lighthouse", rerank={})
    assert keys(plain)[0] == 3
    assert keys(answer) == [*keys(plain)[1:], 3]
    assert answer["results"][-1]["rerank_score"] is None


async def test_reranking_may_read_an_embedded_column_that_is_not_exposed(
    database_url: str, db: Connection, reranker: TinyReranker
) -> None:
    encoder = make_products(db, "expose => '{}'")
    async with searching(database_url, encoder, **reranker.settings) as client:
        answer = await search(client, text="red mug", rerank={}, k=1)
        assert answer["results"][0]["rerank_score"] is not None
        assert answer["results"][0]["columns"] == {}
        response = await client.post("/search", json={"table": "products", "text": "x", "rerank": {"column": "secret"}})
        assert_error(response, 403, "column_not_exposed", "`rerank.column`", "rerank.column")


async def test_pictures_are_reranked_by_their_captions(
    database_url: str, pictures: HashEncoder, reranker: TinyReranker
) -> None:
    async with searching(database_url, pictures, **reranker.settings) as client:
        answer = await search(client, table="photos", text="a", rerank={"column": "caption"})
        assert len({result["rerank_score"] for result in answer["results"]}) == 1
        response = await client.post("/search", json={"table": "photos", "text": "a", "rerank": {}})
        assert_error(response, 422, "rerank_needs_column", "public.photos.e holds pictures", "rerank.column")


async def test_an_impossible_rerank_is_rejected(client: httpx.AsyncClient) -> None:
    body = {"table": "products", "vector": [1.0] * DIMENSIONS, "rerank": {}}
    assert_error(await client.post("/search", json=body), 422, "rerank_needs_text", "`rerank` reads texts", "rerank")


async def test_with_reranking_off_it_is_a_404_with_the_reason(database_url: str, encoder: HashEncoder) -> None:
    async with searching(database_url, encoder, rerank="off") as client:
        response = await client.post("/search", json={"table": "products", "text": "a", "rerank": {}})
        assert_error(response, 404, "rerank_disabled", "Reranking is switched off")
        assert len((await search(client, text="a"))["results"]) == len(TITLES)


async def test_a_row_without_a_finite_score_comes_last(
    database_url: str, db: Connection, encoder: HashEncoder, reranker: TinyReranker, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(db, "update products set title = 'a b c d e f g' where id = 3")
    spoil_scores(monkeypatch, tokens=12)
    async with searching(database_url, encoder, **reranker.settings) as client:
        answer = await search(client, text="a b", rerank={})
    assert keys(answer)[-1] == 3
    scores = [result["rerank_score"] for result in answer["results"]]
    assert scores[-1] is None
    assert None not in scores[:-1]

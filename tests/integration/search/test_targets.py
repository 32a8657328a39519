"""`targets`: `POST /search` finds the rows that are nearest in several vector columns of a table."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

from tests.encoders import HashEncoder
from tests.integration.http.errors import assert_error
from tests.integration.http.pictures import data_uri
from tests.integration.http.rerank.tiny_reranker import TinyReranker
from tests.integration.ingest.watched_table import picture
from tests.integration.search import shop
from tests.integration.search.catalogue import ITEMS, distances_from, make_catalogue, ranks_of, scores_of
from tests.integration.search.shop import DIMENSIONS, keys, searching, vector_literal
from tests.integration.sql.session import Connection, run

BOTH = ["t", "p"]


@pytest.fixture
def encoder(db: Connection) -> HashEncoder:
    return make_catalogue(db)


async def search(client: httpx.AsyncClient, **body: Any) -> Mapping[str, Any]:
    return await shop.search(client, **{"table": "catalogue", "targets": BOTH, **body})


async def refusal(client: httpx.AsyncClient, **body: Any) -> httpx.Response:
    asked = {"table": "catalogue", "targets": BOTH, "text": "red bicycle", **body}
    return await client.post("/search", json={name: value for name, value in asked.items() if value is not None})


async def test_rows_have_their_score_and_their_distance_and_rank_in_each_target(
    client: httpx.AsyncClient, encoder: HashEncoder
) -> None:
    answer = await search(client, text="red bicycle")
    distances = distances_from(encoder, "red bicycle")
    ranks = ranks_of(distances)
    scores = scores_of(ranks)
    assert keys(answer) == list(scores)
    for result in answer["results"]:
        row = result["key"]["id"]
        assert result["score"] == pytest.approx(scores[row])
        assert result["ranks"] == ranks[row]
        wanted = {
            name: each if each is None else pytest.approx(each, abs=1e-5) for name, each in distances[row].items()
        }
        assert result["distances"] == wanted
        assert result["distance"] == min(each for each in result["distances"].values() if each is not None)
        assert result["match_probability"] is None, "distances of texts and of pictures are among them"
        assert result["columns"] == {"title": ITEMS[row - 1][1], "tenant": ITEMS[row - 1][4]}
    assert answer["watches"] == [
        {"table": "public.catalogue", "target": "t", "kind": "text"},
        {"table": "public.catalogue", "target": "p", "kind": "image"},
    ]
    assert answer["watch"] == answer["watches"][0]
    assert answer["next"] is None


async def test_the_answer_is_that_of_search_targets(
    client: httpx.AsyncClient, db: Connection, encoder: HashEncoder
) -> None:
    statement = (
        "select key, score, distances, ranks from sidecar.search_targets('catalogue', %s, %s, k => 4, weights => %s)"
    )
    for text, targets, names, weights in (
        ("green mug", ["p", "t"], ["p", "t"], [1.0, 1.0]),
        ("green mug", ["t", {"target": "p", "weight": 0.1}], BOTH, [1.0, 0.1]),
        ("steam", [{"target": "p"}], ["p"], [1.0]),
        ("steam", [{"target": "p", "weight": 0}, {"target": "t", "weight": 1000}], ["p", "t"], [0.0, 1000.0]),
    ):
        answer = await search(client, text=text, targets=targets, k=4)
        in_sql = run(db, statement, vector_literal(encoder, text), names, weights)
        assert [(r["key"], pytest.approx(r["score"]), r["ranks"]) for r in answer["results"]] == [
            (key, score, ranks) for key, score, _, ranks in in_sql
        ]
        for result, (_, _, distances, _) in zip(answer["results"], in_sql, strict=True):
            assert result["distances"] == pytest.approx(distances, abs=1e-6)


async def test_pictures_vectors_and_mixtures_are_searched_for(client: httpx.AsyncClient, encoder: HashEncoder) -> None:
    mug = encoder.vector_of("green mug").tolist()
    by_text = await search(client, text="green mug")
    for query in ({"vector": mug}, {"query": [{"text": "green mug", "weight": 2}]}, {"query": [{"vector": mug}]}):
        assert keys(await search(client, **query)) == keys(by_text)
    seen = await search(client, image=data_uri(picture(1)))
    assert len(seen["results"]) == 6


async def test_a_row_stands_for_its_vector_in_the_target_that_is_named(
    client: httpx.AsyncClient, encoder: HashEncoder
) -> None:
    answer = await search(client, query=[{"key": 3, "target": "p"}])  # its photo shows a red bicycle
    by_text = await search(client, text="red bicycle")
    assert keys(answer) == [row for row in keys(by_text) if row != 3]
    withal = await search(client, query=[{"key": "3", "target": "p"}], include_keys=True)
    assert keys(withal) == keys(by_text)
    both = await search(client, query=[{"key": 3, "target": "p"}, {"key": 2, "target": "t"}])
    mixed = await search(client, query=[{"text": "red bicycle"}, {"text": "green mug"}])
    assert keys(both) == [row for row in keys(mixed) if row not in {2, 3}]
    single = {"targets": None, "target": "p", "query": [{"key": 3, "target": "p"}]}
    assert set(keys((await refusal(client, text=None, **single)).json())) == {1, 2, 5, 6}


async def test_the_filter_holds_in_each_target_and_a_page_is_a_part_of_the_whole(client: httpx.AsyncClient) -> None:
    whole = await search(client, text="red bicycle", filter={"tenant": 7})
    assert sorted(keys(whole)) == [1, 2, 5, 6]
    assert {place for r in whole["results"] for place in r["ranks"].values()} == {1, 2, 3, 4}
    assert keys(await search(client, text="red bicycle", filter={"tenant": 7}, offset=1, k=2)) == keys(whole)[1:3]
    near = [r["key"]["id"] for r in whole["results"] if r["distance"] <= 0.5]
    assert keys(await search(client, text="red bicycle", filter={"tenant": 7}, min_score=0.5)) == near == [1]


async def test_rows_are_reranked_by_the_text_of_the_first_target_of_texts(
    database_url: str, encoder: HashEncoder, tmp_path: Path
) -> None:
    async with searching(database_url, encoder, **TinyReranker(tmp_path / "reranker").settings) as client:
        plain = await search(client, text="red boat")
        for options in ({}, {"column": "title"}):
            answer = await search(client, text="red boat", targets=["p", "t"], rerank=options)
            scores = [result["rerank_score"] for result in answer["results"]]
            assert scores == sorted(scores, reverse=True)
            assert None not in scores
            assert sorted(keys(answer)) == sorted(keys(plain))
        pictures = await refusal(client, targets=["p"], rerank={})
        said = "public.catalogue.p holds pictures: name an exposed text column"
        assert_error(pictures, 422, "rerank_needs_column", said, "rerank.column")
        hidden = await refusal(client, rerank={"column": "price"})
        said = "`rerank.column`: the watch with the target 'p' does not expose a column 'price'"
        assert_error(hidden, 403, "column_not_exposed", said, "rerank.column")


async def test_similarity_of_rows_is_the_mean_of_that_in_each_target(
    client: httpx.AsyncClient, encoder: HashEncoder
) -> None:
    answer = await search(client, text="red bicycle", diversity=0.5, k=4)
    plain = await search(client, text="red bicycle")
    assert keys(answer)[0] == keys(plain)[0]
    assert answer["results"][0]["similarity_above"] is None

    def vectors(row: int) -> list[Any]:
        _, title, seen, *_ = ITEMS[row - 1]
        return [np.zeros(DIMENSIONS) if text is None else encoder.vector_of(text) for text in (title, seen)]

    def similarity(one: int, other: int) -> float:
        count = [sum(each.any() for each in vectors(row)) for row in (one, other)]
        return float(sum(a @ b for a, b in zip(vectors(one), vectors(other), strict=True))) / float(
            np.sqrt(np.prod(count))
        )

    for place, result in enumerate(answer["results"][1:], 1):
        above = max(similarity(result["key"]["id"], row) for row in keys(answer)[:place])
        assert result["similarity_above"] == pytest.approx(above, abs=1e-5)


async def test_a_target_without_vectors_finds_nothing_and_a_warning_names_it(
    client: httpx.AsyncClient, db: Connection, encoder: HashEncoder
) -> None:
    run(db, "update sidecar_internal.watches set fingerprint = null where target = 'p'")
    answer = await search(client, text="red bicycle")
    assert answer["warnings"] == ["p: The watch holds no vectors yet."]
    assert {(result["distances"]["p"], result["ranks"]["p"]) for result in answer["results"]} == {(None, None)}
    assert [result["ranks"]["t"] for result in answer["results"]] == [1, 2, 3, 4, 5, 6]
    run(db, "update sidecar_internal.watches set fingerprint = null")
    empty = await search(client, text="red bicycle")
    assert (empty["results"], len(empty["warnings"])) == ([], 2)


async def test_a_target_of_another_model_is_refused(client: httpx.AsyncClient, db: Connection) -> None:
    run(db, "update sidecar_internal.watches set fingerprint = 'another' where target = 'p'")
    said = "The vectors of public.catalogue.p are of another model"
    assert_error(await refusal(client), 409, "other_model", said, "table")


WRONG: list[tuple[dict[str, Any], int, str, str, str]] = [
    ({"targets": []}, 422, "empty_list", "`targets` is empty; name at least one", "targets"),
    ({"targets": "t"}, 422, "wrong_type", "`targets` must be a list", "targets"),
    ({"targets": [3]}, 422, "wrong_type", "`targets[0]` must be a string or an object", "targets[0]"),
    ({"targets": ["t"] * 9}, 422, "too_long", "`targets` has 9 items; it must have at most 8.", "targets"),
    ({"targets": ["t", "t"]}, 422, "duplicate_target", "`targets[1]` names 't' again", "targets[1]"),
    (
        {"targets": ["t", {"target": "t", "weight": 2}]},
        422,
        "duplicate_target",
        "`targets[1].target` names 't' again",
        "targets[1].target",
    ),
    (
        {"targets": [{"weight": 2}]},
        422,
        "missing_field",
        "The body has no field `targets[0].target`",
        "targets[0].target",
    ),
    (
        {"targets": [{"target": "t", "weight": -1}]},
        422,
        "out_of_range",
        "`targets[0].weight` must be at least 0.0, not -1",
        "targets[0].weight",
    ),
    (
        {"targets": [{"target": "t", "share": 1}]},
        422,
        "unknown_field",
        "The body has an unknown field, `targets[0].share`",
        "targets[0].share",
    ),
    ({"targets": ["t", "q"]}, 404, "unknown_watch", "'catalogue' has no watch with the target 'q'", "targets[1]"),
    ({"targets": ["t", "p\0"]}, 404, "unknown_watch", "'catalogue' has no watch with the", "targets[1]"),
    (
        {"targets": [{"target": "photo"}]},
        404,
        "unknown_watch",
        "'catalogue' has no watch with the target 'photo'. Its targets: t, p.",
        "targets[0].target",
    ),
    ({"targets": None}, 422, "ambiguous_watch", "`target` may be t, p: name one, or several as `targets`.", "target"),
    ({"target": "t"}, 422, "wrong_target", "Give `target` or `targets`, not both.", "targets"),
    ({"hybrid": {}}, 422, "wrong_target", "`targets` cannot go with `hybrid`: leave one of them out", "hybrid"),
    (
        {"text": None, "query": [{"key": 3}]},
        422,
        "wrong_target",
        "`query[0].key`: the row has several vectors; name in `query[0].target` one of t, p.",
        "query[0].key",
    ),
    (
        {"text": None, "query": [{"text": "a"}, {"key": 3, "target": "hidden"}]},
        422,
        "wrong_target",
        "`query[1].target` is not searched, but t, p.",
        "query[1].target",
    ),
    (
        {"text": None, "query": [{"text": "a", "target": "t"}]},
        422,
        "wrong_query",
        "`query[0].target` says which vector of a row is taken: it goes with `key` only.",
        "query[0].target",
    ),
    (
        {"text": None, "query": [{"key": 4, "target": "p"}]},
        422,
        "row_without_vector",
        '`query[0].key`: the row {"id":4} of public.catalogue has no vector in p',
        "query[0].key",
    ),
    ({"after": "x"}, 422, "wrong_page", "`after` cannot go with `targets`: use `offset`", "targets"),
    (
        {"columns": ["tenant", "price"]},
        403,
        "column_not_exposed",
        "`columns[1]`: the watch with the target 'p' does not expose a column 'price'. Key and",
        "columns[1]",
    ),
    (
        {"filter": {"price": 12}},
        403,
        "column_not_exposed",
        "`filter.price`: the watch with the target 'p' does not expose a column 'price'.",
        "filter.price",
    ),
    ({"filter": {"tenant": "many"}}, 422, "invalid_filter_value", "`filter.tenant`: invalid input", "filter.tenant"),
]


async def test_what_cannot_be_searched_together_is_refused_in_words(client: httpx.AsyncClient) -> None:
    for change, status, code, message, param in WRONG:
        response = await refusal(client, **change)
        assert response.status_code == status, (change, response.text)
        assert_error(response, status, code, message, param)


@pytest.mark.parametrize(
    "fused", [{"targets": ["a", "b"]}, {"target": "a", "hybrid": {"text": "and", "config": "simple"}}]
)
async def test_no_row_comes_twice_in_the_first_hundred_by_pages(
    database_url: str, db: Connection, fused: dict[str, Any]
) -> None:
    run(db, "create table many (id bigint primary key, one text, other text)")
    for source, target in (("one", "a"), ("other", "b")):
        run(db, f"select sidecar.watch('many', '{source}', '{target}', dimensions => {DIMENSIONS}, "
                      "expose => array['one'])")  # fmt: skip
    run(db, "insert into many select n, repeat('and ', n % 7) || n, 'other ' || n from generate_series(1, 300) n")
    encoder = shop.make_encoder()
    for source, target in (("one", "a"), ("other", "b")):
        shop.fill_in(db, encoder, "many", source, target)
    options = {"table": "many", "text": "something", **fused}
    async with searching(database_url, encoder) as client:
        pages = [keys(await shop.search(client, **options, k=10, offset=offset)) for offset in range(0, 300, 10)]
        whole = keys(await shop.search(client, **options, k=25))
    first = [row for page in pages[:10] for row in page]
    assert len(set(first)) == len(first) == 100
    assert first[:25] == whole
    assert all(len(page) == 10 for page in pages)

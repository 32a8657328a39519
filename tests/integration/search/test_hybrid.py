"""`hybrid`: `POST /search` ranks by vectors and by words, as sidecar.hybrid_search does."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.encoders import HashEncoder
from tests.integration.http.errors import assert_error
from tests.integration.http.rerank.tiny_reranker import TinyReranker
from tests.integration.search.shop import (
    DIMENSIONS,
    claim_space,
    keys,
    make_encoder,
    make_products,
    search,
    searching,
    vector_literal,
)
from tests.integration.sql.session import Connection, refused, run, value

IN_SQL = "select key, score, vector_rank, text_rank from sidecar.hybrid_search('products', %s::vector, %s, k => %s{})"


def in_sql(
    db: Connection, encoder: HashEncoder, text: str, words: str, k: int, more: str = ""
) -> list[tuple[Any, ...]]:
    rows = run(db, IN_SQL.format(more), vector_literal(encoder, text), words, k)
    return [(key, pytest.approx(score), vector_rank, text_rank) for key, score, vector_rank, text_rank in rows]


def over_rest(answer: Any) -> list[tuple[Any, ...]]:
    return [(r["key"], r["score"], r["vector_rank"], r["text_rank"]) for r in answer["results"]]


@pytest.fixture
def unembedded(db: Connection, encoder: HashEncoder) -> Connection:
    run(db, "insert into products (id, title, tenant) values (7, 'a boat without a vector', 8)")
    return db


async def test_rows_ranks_and_scores_are_those_of_hybrid_search(
    client: httpx.AsyncClient, unembedded: Connection, encoder: HashEncoder
) -> None:
    for text in ("small boat", "red mug", "bicycle -red or lamp", "the"):
        answer = await search(client, text=text, hybrid={}, k=5)
        assert over_rest(answer) == in_sql(unembedded, encoder, text, text, 5)
    answer = await search(
        client,
        text="red mug",
        hybrid={"text": "boat", "candidates": 2, "rrf_constant": 0, "vector_weight": 0.5, "text_weight": 3},
    )
    more = ", candidates => 2, rrf_constant => 0, vector_weight => 0.5, text_weight => 3"
    assert over_rest(answer) == in_sql(unembedded, encoder, "red mug", "boat", 10, more)


async def test_every_row_with_a_vector_has_its_distance(
    client: httpx.AsyncClient, unembedded: Connection, encoder: HashEncoder
) -> None:
    answer = await search(client, text="red mug", hybrid={"text": "boat", "candidates": 1})
    distances = {result["key"]["id"]: result["distance"] for result in answer["results"]}
    plain = await search(client, text="red mug")
    exact = {result["key"]["id"]: result["distance"] for result in plain["results"]}
    assert answer["results"][0]["vector_rank"] is None or answer["results"][1]["vector_rank"] is None
    assert distances == {key: None if key == 7 else pytest.approx(exact[key], abs=1e-6) for key in distances}
    assert {result["score"] for result in plain["results"]} == {None}


async def test_filter_columns_and_keys_of_the_query_apply(client: httpx.AsyncClient, db: Connection) -> None:
    answer = await search(
        client, query=[{"key": 3}], hybrid={"text": "lighthouse or boat"}, filter={"tenant": 8}, columns=["price"]
    )
    assert [(r["key"], r["columns"]) for r in answer["results"]] == [({"id": 4}, {"price": 1000})]
    assert answer["results"][0]["text_rank"] == 1


async def test_words_are_matched_by_the_configuration_that_is_named(client: httpx.AsyncClient) -> None:
    english = await search(client, text="bicycles", hybrid={}, k=6)
    simple = await search(client, text="bicycles", hybrid={"config": "simple"}, k=6)
    assert [r["text_rank"] for r in english["results"] if r["key"]["id"] == 1] == [1]
    assert {r["text_rank"] for r in simple["results"]} == {None}


async def test_hybrid_rows_are_reranked_and_made_diverse(
    database_url: str, encoder: HashEncoder, tmp_path: Path
) -> None:
    async with searching(database_url, encoder, **TinyReranker(tmp_path / "reranker").settings) as client:
        answer = await search(client, text="red boat", hybrid={"text": "red or boat"}, rerank={}, k=4)
        scores = [result["rerank_score"] for result in answer["results"]]
        assert scores == sorted(scores, reverse=True)
        assert any(result["text_rank"] is not None for result in answer["results"])
        diverse = await search(client, text="red boat", hybrid={"text": "red or boat"}, diversity=0.5, k=4)
        best = await search(client, text="red boat", hybrid={"text": "red or boat"}, k=1)
        assert keys(diverse)[0] == keys(best)[0]
        assert [result["similarity_above"] is None for result in diverse["results"]] == [True, False, False, False]


@pytest.fixture
async def photos(database_url: str, db: Connection) -> AsyncIterator[httpx.AsyncClient]:
    """`photos`, with captions, a tsvector of them, and a companion; `secret` is not exposed."""
    encoder = make_encoder()
    run(
        db,
        f"""
        create domain words as tsvector;
        create table photos (id int primary key, photo bytea, caption varchar(80), secret text, named words,
                             words tsvector generated always as (to_tsvector('simple', caption)) stored);
        select sidecar.watch('photos', 'photo', 'e', dimensions => {DIMENSIONS}, companion => 'photo_vectors',
                             expose => array['caption', 'words', 'named']);
        insert into photos values (1, 'x', 'a cat', 'tin', null), (2, 'x', 'two cats', 'tin', null),
                                  (3, 'x', null, 'tin', 'cats');
        """,
    )
    claim_space(db, encoder)
    run(db, "set sidecar.writer = 'on'")
    for row, text in enumerate("abc", 1):
        run(db, "insert into photo_vectors (id, e) values (%s, %s::vector)", row, vector_literal(encoder, text))
    async with searching(database_url, encoder) as client:
        yield client


async def test_pictures_are_searched_with_their_captions_or_a_tsvector(photos: httpx.AsyncClient) -> None:
    captions = await search(photos, table="photos", text="cat", hybrid={"columns": ["caption"]})
    assert {r["key"]["id"]: r["text_rank"] for r in captions["results"]} == {1: 1, 2: 1, 3: None}
    words = await search(photos, table="photos", text="cats", hybrid={"columns": ["words"], "config": "simple"})
    assert {r["key"]["id"]: r["text_rank"] for r in words["results"]} == {1: None, 2: 1, 3: None}
    assert all(r["distance"] is not None for r in words["results"])
    named = await search(photos, table="photos", text="cats", hybrid={"columns": ["named"], "config": "simple"})
    assert {r["key"]["id"]: r["text_rank"] for r in named["results"]} == {1: None, 2: None, 3: 1}


REFUSED: list[tuple[dict[str, Any], int, str, str, str]] = [
    ({"hybrid": {}}, 422, "hybrid_needs_columns", "public.photos.e holds pictures: name", "hybrid.columns"),
    ({"hybrid": {"columns": []}}, 422, "empty_list", "`hybrid.columns` is empty", "hybrid.columns"),
    ({"hybrid": {"columns": ["secret"]}}, 403, "column_not_exposed", "`hybrid.columns[0]`", "hybrid.columns[0]"),
    ({"hybrid": {"columns": ["id"]}}, 422, "column_not_text", "`hybrid.columns`: column 'id' is no", "hybrid.columns"),
    (
        {"hybrid": {"columns": ["caption", "words"]}},
        422,
        "column_not_text",
        "`hybrid.columns`: column 'words' is a tsvector, which is searched alone",
        "hybrid.columns",
    ),
    (
        {"hybrid": {"columns": ["caption"], "config": "klingon"}},
        422,
        "unknown_config",
        "`hybrid.config`: there is no text search configuration 'klingon'.",
        "hybrid.config",
    ),
    (
        {"hybrid": {"columns": ["caption"], "config": "13"}},
        422,
        "unknown_config",
        "`hybrid.config`: there",
        "hybrid.config",
    ),
    (
        {"hybrid": {"columns": ["caption"], "config": "-"}},
        422,
        "unknown_config",
        "`hybrid.config`: there",
        "hybrid.config",
    ),
    ({"hybrid": {"candidates": 0}}, 422, "out_of_range", "`hybrid.candidates` must be at least 1", "hybrid.candidates"),
    ({"hybrid": {"candidates": 99}}, 422, "out_of_range", "`hybrid.candidates` is 99; at most", "hybrid.candidates"),
    ({"hybrid": {"text": " "}}, 422, "empty_text", "`hybrid.text` is empty", "hybrid.text"),
    (
        {"text": None, "vector": [1.0] * DIMENSIONS, "hybrid": {}},
        422,
        "hybrid_needs_text",
        "`hybrid` matches words: give the query as `text`",
        "hybrid",
    ),
]


async def test_impossible_hybrid_searches_are_refused(
    photos: httpx.AsyncClient, db: Connection, database_url: str
) -> None:
    async with searching(database_url, make_encoder(), max_search_rows=90) as client:
        for change, status, code, message, param in REFUSED:
            response = await client.post("/search", json={"table": "photos", "text": "cat", **change})
            assert response.status_code == status, (change, response.text)
            assert_error(response, status, code, message, param)


async def test_words_of_a_column_that_is_embedded_but_not_exposed_are_not_matched(
    db: Connection, database_url: str
) -> None:
    encoder = make_products(db, "expose => array['price']")
    async with searching(database_url, encoder) as client:
        response = await client.post("/search", json={"table": "products", "text": "mug", "hybrid": {}})
    said = "public.products.e embeds columns that are not exposed: name exposed text columns"
    assert_error(response, 422, "hybrid_needs_columns", said, "hybrid.columns")


def test_columns_that_are_not_exposed_are_refused_in_sql_too(db: Connection) -> None:
    make_products(db)
    document = "select sidecar_internal.exposed_document(w, array[%s], 'english') from sidecar_internal.watches w"
    with refused(db, "42809", "column 'secret' is no exposed text", "Name exposed text columns"):
        run(db, document, "secret")


def test_the_documented_gin_index_and_the_hnsw_index_serve(db: Connection) -> None:
    make_products(db)
    run(
        db,
        f"""
        set sidecar.writer = 'on';
        insert into products (id, title, e) select n, case when n % 50 = 0 then 'cats' else 'item ' || n end,
            (select array_agg(sin(n * i)) from generate_series(1, {DIMENSIONS}) i)::vector
            from generate_series(100, 5000) n;
        create index products_hnsw on products using hnsw ((e::halfvec({DIMENSIONS})) halfvec_cosine_ops);
        create index products_gin on products using gin (to_tsvector('english', coalesce(title, '')));
        analyze products; set hnsw.iterative_scan = strict_order
        """,
    )
    statement = value(
        db,
        """
        select sidecar_internal.hybrid_exposed_statement(w, sidecar_internal.hybrid_ranking(
                   w, sidecar_internal.exposed_document(w, array['title'], 'english'),
                   sidecar_internal.filter_condition(w, '{"tenant": null}', 't', w.expose)), w.expose, '{}')
        from sidecar_internal.get_watch('products', 'e') w
        """,
    )
    run(db, f"prepare hybrid (real[], tsquery, integer, integer, float, float, integer) as {statement}")
    arguments = f"(array_fill(0.5::real, array[{DIMENSIONS}]), 'cats', 100, 60, 1, 1, 10)"
    plan = "\n".join(line for (line,) in run(db, f"explain (costs off) execute hybrid {arguments}"))
    assert "Index Scan using products_hnsw" in plan, plan
    assert "Bitmap Index Scan on products_gin" in plan, plan
    assert "Index Scan using products_pkey" in plan, plan
    assert "Seq Scan" not in plan, plan
    assert len(run(db, f"execute hybrid {arguments}")) == 10

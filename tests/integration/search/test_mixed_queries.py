"""`query`: texts, pictures, vectors and rows, mixed by their weights."""

from __future__ import annotations

from typing import Any

import httpx
import numpy as np
import pytest
from numpy.typing import NDArray

from tests.encoders import HashEncoder
from tests.integration.http.errors import assert_error
from tests.integration.http.pictures import data_uri
from tests.integration.ingest.watched_table import picture
from tests.integration.search.shop import (
    DIMENSIONS,
    TITLES,
    claim_space,
    connect,
    keys,
    make_products,
    search,
    searching,
    vector_literal,
)
from tests.integration.sql.session import Connection, run


def unit(vector: NDArray[Any]) -> NDArray[Any]:
    return np.asarray(vector / np.linalg.norm(vector))


def distances(answer: Any) -> dict[int, float]:
    return {result["key"]["id"]: result["distance"] for result in answer["results"]}


def expected(encoder: HashEncoder, query: NDArray[Any]) -> dict[int, float]:
    """The distance of each product's title from a query vector."""
    return {row: 1 - float(unit(query) @ encoder.vector_of(title)) for row, title in enumerate(TITLES, 1)}


async def test_the_query_vector_is_the_weighted_sum_of_texts_pictures_vectors_and_rows(
    client: httpx.AsyncClient, encoder: HashEncoder
) -> None:
    photo = data_uri(picture(1))
    embedded = (await client.post("/v1/embeddings", json={"input": photo, "modality": "image"})).json()
    seen = np.array(embedded["data"][0]["embedding"])
    own = np.arange(1.0, DIMENSIONS + 1)
    answer = await search(
        client,
        query=[
            {"image": photo},
            {"text": "in red", "weight": 0.5},
            {"text": "leather", "weight": -0.5},
            {"key": 3, "weight": 2},
            {"vector": own.tolist(), "weight": -0.25},
        ],
        include_keys=True,
    )
    red, leather, row = (encoder.vector_of(text) for text in ("in red", "leather", TITLES[2]))
    mixed = seen + 0.5 * red - 0.5 * leather + 2 * row - 0.25 * unit(own)
    assert distances(answer) == pytest.approx(expected(encoder, mixed), abs=1e-5)
    assert {result["match_probability"] for result in answer["results"]} == {None}


async def test_one_part_finds_what_the_plain_field_finds(client: httpx.AsyncClient) -> None:
    plain = await search(client, text="green mug")
    mixed = await search(client, query=[{"text": "green mug", "weight": 3}])
    assert keys(mixed) == keys(plain)
    assert distances(mixed) == pytest.approx(distances(plain), abs=1e-6)


async def test_rows_named_by_key_are_left_out_unless_asked_for(client: httpx.AsyncClient, encoder: HashEncoder) -> None:
    query = [{"key": 3}, {"key": "5"}, {"key": {"id": 3}}]
    without = await search(client, query=query)
    assert sorted(keys(without)) == [1, 2, 4, 6]
    assert len((await search(client, query=query, k=4))["results"]) == 4
    withal = await search(client, query=query, include_keys=True)
    assert keys(withal)[0] == 3
    mean = 2 * encoder.vector_of(TITLES[2]) + encoder.vector_of(TITLES[4])
    assert distances(withal) == pytest.approx(expected(encoder, mean), abs=1e-5)
    assert [key for key in keys(withal) if key not in {3, 5}] == keys(without)


async def test_a_row_is_compared_whatever_the_filter_says(client: httpx.AsyncClient) -> None:
    answer = await search(client, query=[{"key": 1}], filter={"tenant": 8})
    assert sorted(keys(answer)) == [3, 4]


async def test_rows_of_a_companion_are_named_by_all_their_key_columns(db: Connection, database_url: str) -> None:
    encoder = make_products(db)
    run(db, "create table parts (tenant int, code text, title text, primary key (tenant, code))")
    run(db, "insert into parts values (1, '007', 'a bolt'), (1, '7', 'a nut'), (2, '007', 'a screw')")
    run(db, f"select sidecar.watch('parts', 'title', 'e', companion => 'vectors', dimensions => {DIMENSIONS})")
    claim_space(db, encoder)
    run(db, "set sidecar.writer = 'on'")
    for title in ("a bolt", "a nut", "a screw"):
        statement = "insert into vectors (tenant, code, e) select tenant, code, %s::vector from parts where title = %s"
        run(db, statement, vector_literal(encoder, title), title)
    async with searching(database_url, encoder) as client:
        answer = await search(client, table="parts", query=[{"key": {"tenant": 1, "code": "007"}}])
        assert {(r["key"]["tenant"], r["key"]["code"]) for r in answer["results"]} == {(1, "7"), (2, "007")}
        nut = unit(encoder.vector_of("a bolt")) @ encoder.vector_of("a nut")
        assert answer["results"][[r["key"]["code"] for r in answer["results"]].index("7")]["distance"] == (
            pytest.approx(1 - nut, abs=1e-5)
        )
        response = await client.post("/search", json={"table": "parts", "query": [{"key": "007"}]})
        said = '`query[0].key` must be an object of the key columns: {"tenant": …, "code": …}.'
        assert_error(response, 422, "wrong_key", said, "query[0].key")


IMPOSSIBLE: list[tuple[list[Any], str, str, str]] = [
    ([], "empty_list", "`query` is empty", "query"),
    ([{}], "wrong_query", "`query[0]`: give one of `text`, `image`, `vector` and `key`, there is none", "query[0]"),
    (
        [{"text": "a", "key": 1}],
        "wrong_query",
        "`query[0]`: give one of `text`, `image`, `vector` and `key`, not `text` and `key`.",
        "query[0].text",
    ),
    ([{"text": "a"}, {"text": " "}], "empty_text", "`query[1].text` is empty", "query[1].text"),
    ([{"image": "no picture"}], "invalid_image_reference", "`query[0].image` must be", "query[0].image"),
    ([{"vector": [1.0]}], "wrong_dimensions", "`query[0].vector` has 1 numbers", "query[0].vector"),
    ([{"vector": [0.0] * DIMENSIONS}], "invalid_vector", "`query[0].vector` has no direction", "query[0].vector"),
    ([{"key": 1}, {"key": 99}], "row_not_found", "`query[1].key`: public.products has no row", "query[1].key"),
    ([{"key": 1}, {"key": "x"}], "wrong_key", "`query[1].key`: invalid input syntax for type bigint", "query[1].key"),
    ([{"key": {"title": "a"}}], "wrong_key", "`query[0].key` names 'title'; the key columns are id.", "query[0].key"),
    ([{"key": 1e300}], "wrong_key", "`query[0].key` is a number that JSON does not carry exactly", "query[0].key"),
    ([{"key": "a\0"}], "wrong_key", "`query[0].key` contains the character NUL (U+0000)", "query[0].key"),
    ([{"key": 7}], "row_without_vector", '`query[0].key`: the row {"id":7} of public.products has no', "query[0].key"),
    ([{"text": "a", "weight": 0}], "no_direction", "`query` has no direction", "query"),
    ([{"text": "a"}, {"text": "a", "weight": -1}], "no_direction", "`query` has no direction", "query"),
    ([{"text": "a", "weight": 1e9}], "out_of_range", "`query[0].weight` must be at most 1000", "query[0].weight"),
    ([{"text": "a", "wieght": 1}], "unknown_field", "The body has an unknown field", "query[0].wieght"),
    ([{"text": "a"}] * 65, "too_long", "`query` has", "query"),
]


async def test_impossible_queries_are_refused_by_the_part_that_is_wrong(
    client: httpx.AsyncClient, db: Connection
) -> None:
    run(db, "insert into products values (7, 'not embedded')")
    for query, code, message, param in IMPOSSIBLE:
        response = await client.post("/search", json={"table": "products", "query": query})
        assert_error(response, 422, code, message, param)


async def test_a_query_beside_a_text_is_refused(client: httpx.AsyncClient) -> None:
    response = await client.post("/search", json={"table": "products", "text": "a", "query": [{"key": 1}]})
    assert_error(response, 422, "wrong_query", "Give one of `text`, `image`, `vector` and `query`, not", "text")


async def test_more_pictures_than_a_request_may_have_are_refused_before_any_is_decoded(
    database_url: str, encoder: HashEncoder
) -> None:
    async with searching(database_url, encoder, max_batch_images=2) as client:
        body = {"table": "products", "query": [{"image": "no picture at all"}] * 3}
        assert_error(
            await client.post("/search", json=body), 422, "too_many_pictures", "`query` has 3 pictures", "query"
        )


async def test_the_answer_says_where_the_time_went(client: httpx.AsyncClient) -> None:
    plain = await search(client, text="green mug")
    assert {stage for stage, spent in plain["stages_ms"].items() if spent is not None} == {"text", "database"}
    assert sum(spent for spent in plain["stages_ms"].values() if spent is not None) <= plain["took_ms"] + 0.01
    mixed = await search(client, query=[{"image": data_uri(picture(1))}, {"key": 1}])
    assert {stage for stage, spent in mixed["stages_ms"].items() if spent is not None} == {"picture", "database"}


def test_rows_are_read_by_their_primary_key(db: Connection, database_url: str) -> None:
    make_products(db)
    run(db, "insert into products select n, 'x' from generate_series(100, 5000) n; analyze products")
    with connect(database_url) as session:
        scanned = "select coalesce(seq_scan, 0) from pg_stat_user_tables where relname = 'products'"
        before = run(session, scanned)
        assert (
            len(
                run(
                    session,
                    "select * from sidecar_internal.row_vectors('products', 'e', %s::jsonb[], '{}')",
                    ['{"id": 1}', '{"id": 4999}', '{"id": 77777}'],
                )
            )
            == 2
        )
        run(session, "select pg_stat_force_next_flush()")
        assert run(session, scanned) == before

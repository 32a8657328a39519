"""`POST /search`: nearest rows to a text, a picture or a vector, with the columns that the watch exposes."""

from __future__ import annotations

from pathlib import Path

import httpx
import numpy as np
import pytest

from sidecar.http.search.answers import SearchAnswer
from tests.encoders import HashEncoder
from tests.integration.change.dumps import dump, restore
from tests.integration.ingest.watched_table import user
from tests.integration.search.shop import DIMENSIONS, TITLES, keys, make_encoder, search, searching
from tests.integration.sql.session import Connection, run, value


async def test_the_answer_has_keys_distances_and_exposed_columns_nearest_first(
    client: httpx.AsyncClient, encoder: HashEncoder
) -> None:
    answer = await search(client, text="green mug", k=3)
    SearchAnswer.model_validate(answer)
    query = encoder.vector_of("green mug")
    expected = sorted((1 - float(encoder.vector_of(title) @ query), index) for index, title in enumerate(TITLES, 1))[:3]
    assert keys(answer) == [index for _, index in expected]
    assert [r["distance"] for r in answer["results"]] == pytest.approx([distance for distance, _ in expected], abs=1e-6)
    first = answer["results"][0]
    assert first["key"] == {"id": 2}
    assert first["columns"] == {"title": "green mug", "price": 4.5, "tenant": 7}
    assert first["match_probability"] is None
    assert first["rerank_score"] is None
    assert answer["watch"] == {"table": "public.products", "target": "e", "kind": "text"}
    assert (answer["model"], answer["fingerprint"]) == (encoder.model_id, encoder.fingerprint)
    assert (answer["match_probability_calibrated"], answer["rerank_model"], answer["warnings"]) == (None, None, [])
    assert answer["took_ms"] > 0


async def test_numbers_keep_all_their_digits(client: httpx.AsyncClient, db: Connection) -> None:
    run(db, "update products set price = 12345678901234567890.1200 where id = 2")
    response = await client.post("/search", json={"table": "products", "text": "green mug", "k": 1})
    assert '"price":12345678901234567890.1200' in response.text.replace(" ", "")


async def test_columns_selects_exposed_and_key_columns(client: httpx.AsyncClient) -> None:
    for columns, expected in ((["price"], {"price": 4.5}), ([], {}), (["tenant", "id"], {"tenant": 7, "id": 2})):
        answer = await search(client, text="green mug", k=1, columns=columns)
        assert answer["results"][0]["columns"] == expected
        assert list(answer["results"][0]["columns"]) == columns


FILTERS: list[tuple[dict[str, object], set[int]]] = [
    ({"tenant": 7}, {1, 2, 6}),
    ({"tenant": "7"}, {1, 2, 6}),
    ({"tenant": [7, 8]}, {1, 2, 3, 4, 6}),
    ({"tenant": []}, set()),
    ({"tenant": None}, {5}),
    ({"tenant": 7, "price": 12}, {6}),
    ({"price": [1000, 12.0, "99.9"]}, {1, 4, 5, 6}),
    ({"title": "tin robot"}, {6}),
    ({"id": [1, 5]}, {1, 5}),
    ({}, {1, 2, 3, 4, 5, 6}),
]


async def test_filters_compare_key_and_exposed_columns(client: httpx.AsyncClient) -> None:
    for condition, expected in FILTERS:
        answer = await search(client, text="red bicycle", filter=condition)
        assert set(keys(answer)) == expected, condition
        distances = [result["distance"] for result in answer["results"]]
        assert distances == sorted(distances)


async def test_a_vector_of_any_length_is_normalised(client: httpx.AsyncClient, encoder: HashEncoder) -> None:
    by_text = await search(client, text="tin robot")
    vector = (encoder.vector_of("tin robot").astype(np.float64) * 1e-3).tolist()
    by_vector = await search(client, vector=vector)
    assert keys(by_vector) == keys(by_text)
    assert keys(by_text)[0] == 6


async def test_a_truncated_text_is_reported(client: httpx.AsyncClient) -> None:
    assert (await search(client, text="word " * 100))["truncated"] is True
    assert (await search(client, text="word"))["truncated"] is False


async def test_a_text_in_an_unknown_script_is_reported_as_unreadable(client: httpx.AsyncClient) -> None:
    assert (await search(client, text="ᏣᎳᎩ"))["unreadable"] is True
    assert (await search(client, text="word"))["unreadable"] is False


async def test_table_names_follow_the_rules_of_sql(
    client: httpx.AsyncClient, db: Connection, encoder: HashEncoder
) -> None:
    for name in ("public.products", "PRODUCTS", '"public"."products"'):
        assert keys(await search(client, table=name, text="tin robot", k=1)) == [6]
    run(db, 'create schema "Odd"; alter table products set schema "Odd"; alter table "Odd".products rename to "a ""b"')
    assert keys(await search(client, table='"Odd"."a ""b"', text="tin robot", k=1)) == [6]
    assert keys(await search(client, table='"a ""b"', target="e", text="tin robot", k=1)) == [6]


async def test_ties_are_ordered_by_key(client: httpx.AsyncClient, db: Connection) -> None:
    run(db, "set sidecar.writer = 'on'; update products set e = (select e from products where id = 1)")
    assert keys(await search(client, text="red bicycle")) == [1, 2, 3, 4, 5, 6]


async def test_a_change_of_exposed_columns_takes_effect_at_once(client: httpx.AsyncClient, db: Connection) -> None:
    watch = "select sidecar.watch('products', 'title', target => 'e', dimensions => 16, expose => array['secret'], {})"
    run(db, watch.format("replace => true"))
    answer = await search(client, text="green mug", k=1, filter={"secret": "s2"})
    assert answer["results"][0]["columns"] == {"secret": "s2"}


async def test_a_paused_or_broken_watch_is_searched_with_a_warning(client: httpx.AsyncClient, db: Connection) -> None:
    run(db, "select sidecar.pause('products')")
    answer = await search(client, text="green mug", k=1)
    assert keys(answer) == [2]
    assert [said[:20] for said in answer["warnings"]] == ["The watch is paused:"]
    run(db, "select sidecar.resume(); update sidecar_internal.watches set broken = 'its triggers are gone'")
    (said,) = (await search(client, text="green mug", k=1))["warnings"]
    assert "broken" in said
    assert "its triggers are gone" in said


async def test_dropped_exposed_columns_are_left_out_with_a_warning(client: httpx.AsyncClient, db: Connection) -> None:
    run(db, "alter table products drop column price; alter table products rename tenant to owner")
    answer = await search(client, text="green mug", k=1)
    assert answer["results"][0]["columns"] == {"title": "green mug"}
    assert answer["warnings"] == ["Exposed columns that no longer exist: price, tenant."]


async def test_a_watch_without_vectors_finds_nothing_with_a_warning(client: httpx.AsyncClient, db: Connection) -> None:
    run(db, "update sidecar_internal.watches set fingerprint = null")
    answer = await search(client, text="green mug")
    assert (answer["results"], answer["warnings"]) == ([], ["The watch holds no vectors yet."])


async def test_new_rows_are_found_beside_a_live_sidecar(database_url: str, db: Connection) -> None:
    run(db, "create table notes (id uuid primary key default gen_random_uuid(), body text, tenant int)")
    run(db, "select sidecar.watch('notes', 'body', dimensions => 16, expose => array['body', 'tenant'])")
    async with searching(database_url, make_encoder(), ingest=True) as client, user(database_url) as writer:
        await writer.execute("insert into notes (body, tenant) values ('a cat', 1), ('a ship', 2), ('a cat', 2)")
        for (key,) in run(db, "select jsonb_build_object('id', id)::text from notes"):
            await writer.execute("call sidecar.wait_embedded('notes', %s::jsonb, timeout_ms => 20000)", (key,))
        answer = await search(client, table="notes", text="a cat", k=2)
        assert [result["columns"]["body"] for result in answer["results"]] == ["a cat", "a cat"]
        (found,) = (await search(client, table="notes", text="a cat", k=1, filter={"tenant": 2}))["results"]
        assert found["key"] == {"id": str(value(db, "select id from notes where body = 'a cat' and tenant = 2"))}
        assert found["distance"] == pytest.approx(0, abs=1e-6)


async def test_a_dump_keeps_what_is_exposed(
    db: Connection, encoder: HashEncoder, database_url: str, plain_database_url: str, tmp_path: Path
) -> None:
    run(db, "alter table products drop column secret; alter table products add column brand text default 'b'")
    arguments = f"'products', 'title', 'e', dimensions => {DIMENSIONS}, expose => array['brand'], replace => true"
    run(db, f"select sidecar.watch({arguments})")
    dump(database_url, tmp_path / "dump", "--format=custom")
    await restore(tmp_path / "dump", plain_database_url)
    async with searching(plain_database_url, encoder) as client:
        answer = await search(client, text="green mug", k=1, filter={"brand": "b"})
    assert answer["results"][0]["columns"] == {"brand": "b"}

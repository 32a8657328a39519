"""Searches of tables of every shape: companions, partitions, composite keys, keys of other types."""

from __future__ import annotations

import pytest

from tests.encoders import HashEncoder
from tests.integration.search.shop import (
    DIMENSIONS,
    TITLES,
    claim_space,
    fill_in,
    make_encoder,
    search,
    searching,
    vector_literal,
)
from tests.integration.sql.session import Connection, run

pytestmark = pytest.mark.usefixtures("encoder")


async def test_a_companion_is_searched_with_the_columns_of_its_table(
    db: Connection, database_url: str, encoder: HashEncoder
) -> None:
    run(
        db,
        f"""
        select sidecar.watch('products', 'title', target => 'v', companion => 'vectors', dimensions => {DIMENSIONS},
                             expose => array['tenant', 'title']);
        set sidecar.writer = 'on'; insert into vectors select id, e from products; reset sidecar.writer;
        set session_replication_role = replica; delete from products where id = 2; reset session_replication_role
        """,
    )
    claim_space(db, encoder)
    async with searching(database_url, encoder) as client:
        answer = await search(client, target="v", text="green mug", filter={"tenant": 7})
    assert {result["key"]["id"] for result in answer["results"]} == {1, 6}  # not 2, whose row was deleted
    assert all(result["columns"]["tenant"] == 7 for result in answer["results"])
    assert list(answer["results"][0]["columns"]) == ["tenant", "title"]


async def test_all_partitions_of_a_table_are_searched(db: Connection, database_url: str, encoder: HashEncoder) -> None:
    run(
        db,
        f"""
        create table parts (region text, nr int, title text, primary key (region, nr)) partition by list (region);
        create table parts_n partition of parts for values in ('n');
        create table parts_rest partition of parts default;
        select sidecar.watch('parts', 'title', target => 'e', dimensions => {DIMENSIONS}, expose => array['title'])
        """,
    )
    for nr, title in enumerate(TITLES):
        run(db, "insert into parts values (%s, %s, %s)", "ns"[nr % 2], nr, title)
    fill_in(db, encoder, "parts", "title", "e")
    async with searching(database_url, encoder) as client:
        answer = await search(client, table="parts", text="small boat", filter={"region": ["n", "s"]})
        assert answer["results"][0]["key"] == {"region": "s", "nr": 3}
        assert len(answer["results"]) == len(TITLES)
        answer = await search(client, table="parts", text="small boat", filter={"region": "n"})
        assert {result["key"]["region"] for result in answer["results"]} == {"n"}


async def test_each_watch_of_a_table_is_searched_by_its_target(
    db: Connection, database_url: str, encoder: HashEncoder
) -> None:
    run(
        db,
        f"""
        select sidecar.watch('products', 'secret', target => 's', dimensions => {DIMENSIONS}, index => 'vector');
        set sidecar.writer = 'on'; update products set s = %s::vector where id = 3
        """.replace("%s", f"'{vector_literal(encoder, 's3')}'"),
    )
    claim_space(db, encoder)
    async with searching(database_url, encoder) as client:
        answer = await search(client, target="s", text="s3")
        assert [result["key"]["id"] for result in answer["results"]] == [3]
        assert answer["results"][0]["columns"] == {}  # what one watch exposes, another does not
        response = await client.post(
            "/search", json={"table": "products", "target": "s", "text": "x", "filter": {"tenant": 7}}
        )
        assert response.status_code == 403
        response = await client.post("/search", json={"table": "products", "text": "x"})
        assert (response.status_code, response.json()["error"]["code"]) == (422, "ambiguous_watch")
        assert "e, s" in response.json()["error"]["message"]


async def test_composite_keys_and_hostile_names_are_returned_whole(
    db: Connection, database_url: str, encoder: HashEncoder
) -> None:
    run(
        db,
        f"""
        create table "x; drop" ("k 'ey" uuid, "%s" timestamptz, "$1" numeric, "so""urce" text, "{{0}}" int,
                                primary key ("k 'ey", "%s", "$1"));
        select sidecar.watch('"x; drop"', 'so"urce', target => 'ta''rget', dimensions => {DIMENSIONS},
                             expose => array['{{0}}', 'so"urce']);
        insert into "x; drop" values ('a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11', '2026-01-01Z', 1.50, 'a', 1),
                                     ('a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11', '2026-01-02Z', 1.50, 'b', 2)
        """,
    )
    fill_in(db, encoder, "x; drop", 'so"urce', "ta'rget")
    async with searching(database_url, encoder) as client:
        condition = {"%s": "2026-01-02", "{0}": 2, "$1": "1.5", "k 'ey": "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11"}
        answer = await search(client, table='"x; drop"', target="ta'rget", text="b", filter=condition)
    key = {"k 'ey": "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11", "%s": "2026-01-02T00:00:00+00:00", "$1": 1.5}
    (found,) = answer["results"]
    assert (found["key"], found["columns"]) == (key, {"{0}": 2, 'so"urce': "b"})


async def test_a_table_with_very_many_columns_is_returned_in_order(
    db: Connection, database_url: str, encoder: HashEncoder
) -> None:
    names = [f"c{n}" for n in range(130)]
    run(db, f"create table wide (id int primary key, title text, {', '.join(f'{name} int' for name in names)})")
    exposed = ", ".join(f"'{name}'" for name in names)
    run(
        db,
        f"select sidecar.watch('wide', 'title', target => 'e', dimensions => {DIMENSIONS}, expose => array[{exposed}])",
    )
    run(db, "insert into wide (id, title, c7) values (1, 'a', 7)")
    fill_in(db, make_encoder(), "wide", "title", "e")
    async with searching(database_url, encoder) as client:
        (found,) = (await search(client, table="wide", text="a"))["results"]
    assert list(found["columns"]) == names
    assert found["columns"]["c7"] == 7

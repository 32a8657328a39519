"""SQL injection: anything in a request, and any name of a table or column, is a name or a value, never SQL."""

from __future__ import annotations

from typing import Any

import httpx
import psycopg
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from psycopg import sql

from tests.encoders import HashEncoder
from tests.integration.search.shop import DIMENSIONS, keys, search, vector_literal
from tests.integration.sql.session import Connection, run, value

NASTY = [
    "'; drop table canary; --", '"; drop table canary; --', "' or '1'='1", "x') or true --", "$1", "$3", "%s", "%1$s",
    "%L", "%", "{0}", "{table}", "\\'; drop table canary", "\\", "\\x00", "/*", "*/", "--", "ünï©ode", "null", "NULL",
    "{a,b}", '{"a"}', 'tenant"', "tenant'", "title::text", "(select 1)", "1; select pg_sleep(9)", "$$", "$x$", ";",
    " ", "\n", "\t'", "E'\\''", "U&'\\0027'", "pg_catalog.pg_class", "sidecar_internal.watches", "canary", "a.b.c",
    "\u202e",
    "public.products; drop table canary", "'" * 50, '"' * 50, "x" * 5000,
]  # fmt: skip
nasty_text = st.one_of(
    st.sampled_from(NASTY),
    st.tuples(st.sampled_from(NASTY), st.sampled_from(NASTY)).map("".join),
    st.text(st.characters(exclude_categories=["Cs"]), max_size=40),
)
names = nasty_text.map(lambda text: text.replace("\0", "")).filter(lambda text: text and len(text.encode()) <= 58)
scalars = st.one_of(
    nasty_text, st.integers(-(2**63), 2**64 - 1), st.floats(allow_nan=False, allow_infinity=False), st.booleans()
)
filter_values = st.one_of(st.none(), scalars, st.lists(scalars, max_size=3))
bodies = st.fixed_dictionaries(
    {},
    optional={
        "table": nasty_text,
        "target": nasty_text,
        "filter": st.dictionaries(
            st.one_of(st.sampled_from(["id", "title", "price", "tenant"]), nasty_text), filter_values, max_size=3
        ),
        "columns": st.lists(st.one_of(st.sampled_from(["id", "title"]), nasty_text), max_size=3),
        "rerank": st.fixed_dictionaries({"column": nasty_text}),
        "k": st.integers(1, 20),
    },
)
STATE = """
    select (select string_agg(relname, ',' order by relname) from pg_class where relnamespace = 'public'::regnamespace),
           (select string_agg(c::text, ',') from canary c),
           (select string_agg(p::text, ',' order by id) from products p), (select count(*) from pg_proc),
           (select string_agg(w::text, ',') from sidecar_internal.watches w)
"""
one_database = settings(suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])


@pytest.fixture
def canary(db: Connection, encoder: HashEncoder) -> Connection:
    """A database with `products`, and a table that an injected statement would drop."""
    run(db, "create table canary (song text); insert into canary values ('tweet')")
    assert encoder.dimensions == DIMENSIONS
    return db


@one_database
@given(body=bodies)
async def test_every_request_is_answered_or_rejected_without_side_effects(
    canary: Connection, client: httpx.AsyncClient, body: dict[str, Any]
) -> None:
    before = run(canary, STATE)
    response = await client.post("/search", json={"table": "products", "text": "green mug", **body})
    assert response.status_code in {200, 403, 404, 422}, (response.status_code, response.text)
    if response.status_code == 404:
        assert response.json()["error"]["code"] in {"unknown_watch", "rerank_disabled"}
    assert run(canary, STATE) == before


@one_database
@given(content=nasty_text.map(lambda text: text.replace("\0", "")))
async def test_a_hostile_value_finds_only_the_rows_that_have_it(
    canary: Connection, client: httpx.AsyncClient, content: str
) -> None:
    run(canary, "update products set title = %s where id = 3", content)
    for wanted in (content, [content], ["no such title", content]):
        assert keys(await search(client, text="green mug", filter={"title": wanted})) == [3]
    run(canary, "update products set title = 'other' where id = 3")
    assert keys(await search(client, text="green mug", filter={"title": content})) == []


@one_database
@given(found=st.lists(names, min_size=4, max_size=4, unique=True), wanted=nasty_text)
@example(found=["%1$s", "$1", "k1", "c1"], wanted="'")
@example(found=["vector", "h", "n", "distance"], wanted="x")
@example(found=["value", "name", "document", "t"], wanted="x")
def test_hostile_names_of_tables_and_columns_are_quoted(canary: Connection, found: list[str], wanted: str) -> None:
    _, key, source, shown = found
    table = f"t {found[0]}"  # not the name of a type
    wanted = wanted.replace("\0", "")
    named = [sql.Identifier(name) for name in (table, key, source, shown)]
    vector = vector_literal(HashEncoder(dimensions=DIMENSIONS), "x")
    before = run(canary, STATE)
    try:
        with canary.transaction(force_rollback=True):
            canary.execute(sql.SQL("create table {} ({} text primary key, {} text, {} text)").format(*named))
            relation = sql.Identifier(table).as_string(canary)
            watch = (
                "select sidecar.watch(%s::regclass, %s, target => 'the vector', dimensions => %s, expose => array[%s])"
            )
            try:
                run(canary, watch, relation, source, DIMENSIONS, shown)
            except psycopg.errors.InvalidParameterValue:
                return  # e.g. a source with the name of the target
            insert = (
                "insert into {0} ({1}, {2}, {3}, \"the vector\") values ('a', 'x', {4}, {5}), ('b', 'x', 'other', {5})"
            )
            canary.execute(sql.SQL(insert).format(*named, sql.Literal(wanted), sql.Literal(vector)))
            query = """
                select key ->> %s, shown ->> %s, document_text
                from sidecar.search_exposed(%s::regclass, %s::vector::real[], document => array[%s, %s],
                                            filter => jsonb_build_object(%s::text, %s::text))
            """
            row = run(canary, query, key, shown, relation, vector, source, shown, shown, wanted)
            assert row[0] == ("a", wanted, f"x {wanted}")
            assert len(row) == (2 if wanted == "other" else 1)
    finally:
        assert run(canary, STATE) == before


def test_a_cast_created_by_the_tables_owner_is_never_called(canary: Connection) -> None:
    """Neither for the answer nor for a filter: it would run with the rights of the searching role."""
    run(
        canary,
        f"""
        create type mood as enum ('ok', 'sad'); create type pair as (n int);
        create function mood_of(text) returns mood language plpgsql as
            $$ begin delete from canary; return enum_first(null::mood); end $$;
        create function json_of(pair) returns json language plpgsql as $$ begin delete from canary; return '1'; end $$;
        create function text_of(pair) returns text language plpgsql as $$ begin delete from canary; return '1'; end $$;
        create cast (text as mood) with function mood_of(text) as implicit;
        create cast (pair as json) with function json_of(pair) as implicit;
        create cast (pair as text) with function text_of(pair) as implicit;
        create table evil (id int primary key, title text, m mood, p pair);
        select sidecar.watch('evil', 'title', target => 'e', dimensions => {DIMENSIONS}, expose => array['m', 'p']);
        insert into evil values (1, 'x', 'ok', row(1), '{vector_literal(HashEncoder(dimensions=DIMENSIONS), "x")}')
        """,
    )
    vector = vector_literal(HashEncoder(dimensions=DIMENSIONS), "x")
    nearest = """
        select shown from sidecar.search_exposed('evil', %s::vector::real[], document => array['m', 'p'], filter => %s)
    """
    assert run(canary, nearest, vector, "{}") == [({"m": "ok", "p": "(1)"},)]
    with pytest.raises(psycopg.errors.WrongObjectType, match="a type that a filter cannot compare"):
        run(canary, nearest, vector, '{"p": "ok"}')
    assert run(canary, nearest, vector, '{"m": "ok"}') == [({"m": "ok", "p": "(1)"},)]
    assert run(canary, nearest, vector, '{"m": ["sad"]}') == []
    assert value(canary, "select count(*) from canary") == 1
    run(canary, "select to_json(p), m = 'ok'::text::mood from evil")  # control: an ordinary statement does call it
    assert value(canary, "select count(*) from canary") == 0

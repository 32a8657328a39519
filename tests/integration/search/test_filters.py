"""Filters of every kind: what they find, which index serves them, and how they are refused."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest
from psycopg.types.json import Jsonb

from tests.integration.search.shop import connect
from tests.integration.sql.session import Connection, refused, run, value
from tests.servers import Server

TABLE = """
    create type size as enum ('small', 'medium', 'large');
    create table goods (
        id int primary key, title text, price numeric(8, 2), stock int, made date, at timestamptz, size size,
        brand char(4), tags text[], codes int[], attributes jsonb, fits int4range, secret text
    );
    insert into goods values
        (1, 'Mug 50%', 4.50, 10, '2026-01-31', '2026-01-31 23:30+01', 'small', 'ab',
         '{new,red}', '{1,2}', '{"material": "clay", "on": ["a", 7]}', '[1,3)', 's'),
        (2, 'mug_green', 12, 0, '2026-02-01', '2026-02-01 00:30+01', 'large', 'cd',
         '{red}', '{}', '{"material": "glass"}', null, null),
        (3, 'Teapot', 99.90, null, null, null, 'medium', null, null, null, null, null, null),
        (4, null, null, 3, '2027-01-01', '2027-01-01 00:00Z', null, 'ab', '{}', '{7}', '["a", 7]', null, null);
"""
EXPOSED = "array['title', 'price', 'stock', 'made', 'at', 'size', 'tags', 'codes', 'attributes', 'fits', 'brand']"
FOUND = (
    "select array_agg((key ->> 'id')::int order by 1) from sidecar.search_exposed('goods', '{1,0,0,0}', filter => %s)"
)


@pytest.fixture(scope="module")
def db(postgres_server: Server, migrated_template: str) -> Iterator[Connection]:
    with postgres_server.lend_database(migrated_template) as url, connect(url) as connection:
        run(connection, TABLE)
        run(connection, f"select sidecar.watch('goods', 'secret', 'e', dimensions => 4, expose => {EXPOSED})")
        run(connection, "set sidecar.writer = 'on'; update goods set e = '[1,0,0,0]'")
        yield connection


def found(db: Connection, condition: object) -> list[int]:
    keys: list[int] | None = value(db, FOUND, Jsonb(condition))
    return sorted(keys or [])


FILTERS: list[tuple[dict[str, Any], list[int]]] = [
    ({"price": 12}, [2]),
    ({"price": "12.0"}, [2]),
    ({"price": {"$eq": 12}}, [2]),
    ({"price": {"$ne": 12}}, [1, 3, 4]),
    ({"price": {"$ne": 12, "$null": False}}, [1, 3]),
    ({"price": {"$gte": 4.5, "$lt": 99.9}}, [1, 2]),
    ({"price": {"$gt": 4.5}}, [2, 3]),
    ({"price": {"$lte": 12}}, [1, 2]),
    ({"price": {"$between": [4.5, 12]}}, [1, 2]),
    ({"price": {"$between": [12, 4.5]}}, []),
    ({"price": {"$in": [12, 4.5]}}, [1, 2]),
    ({"price": {"$in": [12, None]}}, [2, 4]),
    ({"price": [12, None]}, [2, 4]),
    ({"price": {"$in": []}}, []),
    ({"price": {"$nin": [12, 4.5]}}, [3, 4]),
    ({"price": {"$nin": [12, None]}}, [1, 3]),
    ({"price": {"$nin": []}}, [1, 2, 3, 4]),
    ({"price": None}, [4]),
    ({"price": {"$null": True}}, [4]),
    ({"price": {"$null": False}}, [1, 2, 3]),
    ({"price": {"$eq": None}}, [4]),
    ({"price": {"$ne": None}}, [1, 2, 3]),
    ({"made": {"$lt": "2026-02-01"}}, [1]),
    ({"at": {"$gte": "2026-01-31T23:00:00Z"}}, [2, 4]),
    ({"made": {"$between": ["2026-01-01", "2026-12-31"]}}, [1, 2]),
    ({"title": {"$prefix": "mug"}}, [2]),
    ({"title": {"$prefix": "mug_"}}, [2]),
    ({"title": {"$prefix": "mug%"}}, []),
    ({"title": {"$prefix": "Mug 50%"}}, [1]),
    ({"title": {"$prefix": ""}}, [1, 2, 3]),
    ({"title": {"$between": ["Teapot", "Teapot"]}}, [3]),
    ({"brand": {"$prefix": "a"}}, [1, 4]),
    ({"size": "large"}, [2]),
    ({"size": {"$gte": "medium"}}, [2, 3]),
    ({"size": {"$between": ["small", "medium"]}}, [1, 3]),
    ({"size": {"$nin": ["small", "large"]}}, [3, 4]),
    ({"tags": {"$contains": ["red"]}}, [1, 2]),
    ({"tags": {"$contains": "red"}}, [1, 2]),
    ({"tags": {"$contains": ["new", "red"]}}, [1]),
    ({"tags": {"$contains": []}}, [1, 2, 4]),
    ({"tags": {"$any": ["new", "blue"]}}, [1]),
    ({"tags": {"$any": []}}, []),
    ({"tags": {"$eq": ["red"]}}, [2]),
    ({"tags": "{red}"}, [2]),
    ({"tags": {"$ne": ["red"]}}, [1, 3, 4]),
    ({"tags": None}, [3]),
    ({"codes": {"$any": [2, "7"]}}, [1, 4]),
    ({"attributes": {"$contains": {"material": "clay"}}}, [1]),
    ({"attributes": {"$contains": {"on": [7]}}}, [1]),
    ({"attributes": {"material": "glass"}}, [2]),
    ({"attributes": {"$any": ["a", 8]}}, [4]),
    ({"attributes": {"$eq": ["a", 7]}}, [4]),
    ({"attributes": {"$in": [["a", 7], {"material": "glass"}]}}, [2, 4]),
    ({"$or": [{"price": 12}, {"stock": 3}]}, [2, 4]),
    ({"$or": [{"price": 12}, {"stock": 3}], "id": {"$gt": 2}}, [4]),
    ({"$and": [{"price": {"$gt": 5}}, {"price": {"$lt": 50}}]}, [2]),
    ({"$not": {"price": {"$gt": 5}}}, [1, 4]),
    ({"$not": {"$or": [{"price": {"$gt": 5}}, {"price": None}]}}, [1]),
    ({"$not": {"$not": {"price": {"$gt": 5}}}}, [2, 3]),
    ({"$and": [{"id": 1}, {}]}, [1]),
    ({"$not": {}}, []),
    ({}, [1, 2, 3, 4]),
]


@pytest.mark.parametrize(("condition", "expected"), FILTERS, ids=lambda part: json.dumps(part)[:60])
def test_a_filter_finds_the_rows_that_meet_it(db: Connection, condition: dict[str, Any], expected: list[int]) -> None:
    assert found(db, condition) == expected


def test_the_same_filters_hold_in_search_recall_and_hybrid_search(db: Connection) -> None:
    condition = Jsonb({"$or": [{"price": {"$gt": 50}}, {"secret": {"$prefix": "s"}}]})  # of any column of the table
    query = "select array_agg((key ->> 'id')::int order by 1) from sidecar.{}, filter => %s)"
    for call in ("search('goods', '[1,0,0,0]'", "hybrid_search('goods', '[1,0,0,0]', ''"):
        assert value(db, query.format(call), condition) == [1, 3], call
    with db.transaction(force_rollback=True):
        run(db, "create index on goods using hnsw ((e::halfvec(4)) halfvec_cosine_ops)")
        assert value(db, "select queries from sidecar.recall('goods', k => 1, filter => %s)", condition) == 4


REFUSED: list[tuple[Any, str, str, str, str]] = [
    ({"price": {"$gte": "cheap"}}, "22P02", "price.$gte", 'invalid input syntax for type numeric: "cheap"', ""),
    ({"$or": [{"id": 1}, {"made": ["2026-01-01", "x"]}]}, "22007", "$or[1].made[1]", "type date: \"x\"", ""),
    ({"id": {"$in": [1, "99999999999"]}}, "22003", "id.$in[1]", "out of range for type integer", ""),
    ({"price": {"$between": [1, "x"]}}, "22P02", "price.$between[1]", "invalid input syntax", ""),
    ({"price": {"$between": [1]}}, "22023", "price.$between", "not a list of two", "both are included"),
    ({"price": {"$gt": None}}, "22023", "price.$gt", "null cannot be compared", "null"),
    ({"price": {"$gt": [1]}}, "22023", "price.$gt", "it is a list", ""),
    ({"price": {"$eq": [1]}}, "22023", "price.$eq", "it is a list", "[$]in"),
    ({"price": {"$in": 1}}, "22023", "price.$in", "it is not a list", ""),
    ({"price": {"$null": 1}}, "22023", "price.$null", "neither true nor false", ""),
    ({"price": {"$ge": 1}}, "22023", "price.$ge", "there is no such operator", "[$]gte"),
    ({"price": {"gte": 1}}, "22023", "price", "'gte' is not an operator", "begin with"),
    ({"price": {}}, "22023", "price", "{} is not an operator", "begin with"),
    ({"price": {"$prefix": "1"}}, "42809", "price.$prefix", r"numeric\(8,2\) cannot be compared so", "for texts"),
    ({"title": {"$prefix": 1}}, "22023", "title.$prefix", "it is not a text", ""),
    ({"price": {"$contains": 1}}, "42809", "price.$contains", "cannot be compared so", "arrays and jsonb"),
    ({"attributes": {"$lt": 1}}, "42809", "attributes.$lt", "cannot be compared so", "order"),
    ({"tags": "red"}, "22P02", "tags", "malformed array literal", "[$]contains"),
    ({"tags": ["red"]}, "22P02", "tags[0]", "malformed array literal", "[$]any"),
    ({"tags": {"$any": "red"}}, "22023", "tags.$any", "not a list", ""),
    ({"codes": {"$any": [1, "x"]}}, "22P02", "codes.$any[1]", "type integer", ""),
    ({"size": {"$lt": "huge"}}, "22P02", "size.$lt", 'invalid input value for enum public.size: "huge"', ""),
    ({"fits": "[1,2)"}, "42809", "fits", "a type that a filter cannot compare", "jsonb can be compared"),
    ({"secret": "s"}, "42703", "secret", "column 'secret' is not exposed", "Its columns: id, title"),
    ({"$or": []}, "22023", "$or", "not a list of filters", ""),
    ({"$and": {"id": 1}}, "22023", "$and", "not a list of filters", ""),
    ({"$not": [1]}, "22023", "$not", "it is not an object", ""),
    ({"$nor": [{"id": 1}]}, "22023", "$nor", "there is no such operator here", "Only .and, .or and .not"),
    ([1], "22023", "", "it is not an object", ""),
]  # fmt: skip


@pytest.mark.parametrize(("condition", "sqlstate", "path", "message", "hint"), REFUSED, ids=lambda part: str(part)[:50])
def test_a_filter_that_is_wrong_is_refused_with_its_path(
    db: Connection, condition: Any, sqlstate: str, path: str, message: str, hint: str
) -> None:
    with refused(db, sqlstate, message, hint):
        found(db, condition)
    with pytest.raises(psycopg.Error) as caught:
        found(db, condition)
    assert caught.value.diag.column_name == f"filter.{path}".rstrip(".")


def nested(depth: int) -> dict[str, Any]:
    return {"$not": nested(depth - 1)} if depth else {"id": 1}


def test_depth_and_number_of_conditions_are_bounded(db: Connection) -> None:
    assert found(db, nested(18)) == [1]
    with refused(db, "54000", "nested more than 20 levels deep", ""):
        found(db, nested(20))
    assert found(db, {"$or": [{"id": 1}] * 500}) == [1]
    with refused(db, "54000", "more than 2000 conditions", ""):
        found(db, {"$or": [{"id": 1}] * 2001})


def test_a_condition_costs_the_same_however_many_columns_the_table_has(db: Connection) -> None:
    """In 1500 columns, 1000 conditions took a minute: each one looked at the types of all of them."""
    columns = [f"c{n}" for n in range(200)]
    with db.transaction(force_rollback=True):
        run(db, f"create table wide (id int primary key, title text, {' int, '.join(columns)} int)")
        run(db, "select sidecar.watch('wide', 'title', 'e', dimensions => 4, expose => %s)", columns)
        run(db, "set local track_functions = 'pl'")
        condition = Jsonb({"$or": [{"c7": n} for n in range(20)]})
        for allowed in (columns, None):
            query = "select sidecar_internal.filter_condition(w, %s, 't', %s) from sidecar_internal.watches w"
            run(db, f"{query} where w.relation = 'wide'::regclass", condition, allowed)
        types = "pg_stat_get_xact_function_calls('sidecar_internal.base_type(oid, integer)'::regprocedure)"
        assert value(db, f"select {types}") == 2 * 20


@pytest.mark.parametrize(
    ("index", "condition", "conditions"),
    [
        ("(price)", {"price": {"$gte": 500.5, "$lt": 501}}, "(price >= 500.5) AND (price < '501'"),
        ("(price)", {"price": {"$between": [500.5, 501]}}, "(price >= 500.5) AND (price <= '501'"),
        ("(price)", {"price": {"$in": [500.5, 501]}}, "(price = ANY ("),
        ("(made)", {"made": "2026-02-01"}, "(made = '2026-02-01'::date)"),
        ("(title text_pattern_ops)", {"title": {"$prefix": "title 77"}}, "~>=~ 'title 77'::text"),
        ('(title collate "C")', {"title": {"$prefix": "title 77"}}, ">= 'title 77'::text"),
        ("using gin (tags)", {"tags": {"$any": ["tag 77", "tag 78"]}}, "(tags && '{\"tag 77\",\"tag 78\"}'::text[])"),
        ("using gin (tags)", {"tags": {"$contains": "tag 77"}}, "(tags @> '{\"tag 77\"}'::text[])"),
        ("using gin (attributes jsonb_path_ops)", {"attributes": {"$contains": {"n": 77}}}, "@> '{\"n\": 77}'::jsonb)"),
        ("using gin (attributes)", {"attributes": {"$contains": {"n": 77}}}, "@> '{\"n\": 77}'::jsonb)"),
        ("(price) where stock is null", {"stock": None, "price": {"$lt": 2}}, "(price < '2'"),
    ],
)  # fmt: skip
def test_a_users_index_serves_the_filter(
    db: Connection, index: str, condition: dict[str, Any], conditions: str
) -> None:
    with db.transaction(force_rollback=True):
        run(
            db,
            "insert into goods (id, title, price, made, tags, attributes) select n, 'title ' || n, n, '2026-01-01', "
            "array['tag ' || n], jsonb_build_object('n', n) from generate_series(10, 3000) n",
        )
        run(db, f"create index its_index on goods {index}; analyze goods; set local enable_seqscan = off")
        clause = value(
            db,
            "select sidecar_internal.filter_condition(w, %s, 't', array['price', 'stock', 'made', 'title', 'tags', "
            "'attributes']) from sidecar_internal.watches w",
            Jsonb(condition),
        )
        plan = "\n".join(line for (line,) in run(db, f"explain select id from goods t where true{clause}"))
    assert "its_index" in plan, plan
    assert any(conditions in line for line in plan.splitlines() if "Index Cond" in line), plan


@pytest.mark.parametrize(
    ("text", "type_name"),
    [
        ("7", "pg_catalog.int4"),
        ("seven", "pg_catalog.int4"),
        ("7.0", "pg_catalog.int4"),
        ("99999", "pg_catalog.int2"),
        ("2026-13-01", "pg_catalog.date"),
        ("2026-11-23", "pg_catalog.date"),
        ("{1,x}", "pg_catalog.int4[]"),
        ("new", "pg_catalog.text[]"),
        ("o'clock; select 1", "pg_catalog.uuid"),
    ],
)
def test_postgres_15_refuses_the_same_values_with_the_same_words(db: Connection, text: str, type_name: str) -> None:
    call = "select message || '|' || sql_error_code from {}(%s, %s)"
    by_cast = value(db, call.format("sidecar_internal.input_error_of_cast"), text, type_name)
    assert by_cast == value(db, call.format("pg_catalog.pg_input_error_info"), text, type_name)


def test_no_function_needs_one_that_postgres_15_lacks(db: Connection) -> None:
    lacking = (
        "pg_input_is_valid",
        "pg_input_error_info",
        "any_value",
        "random_normal",
        "array_shuffle",
        "array_sample",
    )
    ours = "select array_agg(proname::text) from pg_proc where pronamespace::regnamespace::text ~ '^sidecar'"
    assert value(db, f"{ours} and prosrc ~ %s", rf"\m({'|'.join(lacking)})\M") == ["input_error"]


COLLATIONS = """
    create domain plain_code as text;
    create domain byte_code as text collate "C";
    create table codes (
        id int primary key, column_of_its_own text collate "C", of_the_domain byte_code,
        of_both byte_code collate "ucs_basic", over_plain plain_code collate "C", listed text[] collate "C", e vector(4)
    );
    create index codes_of_both on codes (of_both);
    select sidecar.watch('codes', 'column_of_its_own', 'e', dimensions => 4, index => 'none',
                         expose => array['column_of_its_own', 'of_the_domain', 'of_both', 'over_plain', 'listed']);
    set sidecar.writer = 'on';
    insert into codes select i, 'a' || i, 'a' || i, 'a' || i, 'a' || i, array['a' || i], '[1,0,0,0]'
        from generate_series(1, 3) i;
"""


@pytest.mark.parametrize(
    "condition",
    [
        {"column_of_its_own": "a2"},
        {"of_the_domain": {"$in": ["a2", "b"]}},
        {"of_both": "a2"},
        {"of_both": {"$between": ["a2", "a2z"]}},
        {"of_both": {"$prefix": "a2"}},
        {"over_plain": {"$gt": "a1", "$lt": "a3"}},
        {"listed": {"$any": ["a2"]}},
    ],
    ids=str,
)
def test_a_column_with_a_collation_of_its_own_is_compared_by_it(
    postgres_server: Server, migrated_template: str, condition: dict[str, Any]
) -> None:
    with postgres_server.lend_database(migrated_template) as url, connect(url) as connection:
        run(connection, COLLATIONS)
        found = "select array_agg((key ->> 'id')::int) from sidecar.search_exposed('codes', '{1,0,0,0}', filter => %s)"
        assert value(connection, found, Jsonb(condition)) == [2]

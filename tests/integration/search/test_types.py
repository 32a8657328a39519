"""Filters and answers for every type of a column."""

from __future__ import annotations

from typing import Any

import httpx

from tests.integration.http.errors import assert_error
from tests.integration.search.shop import DIMENSIONS, claim_space, make_encoder, search, searching
from tests.integration.sql.session import Connection, run

# Type, two SQL literals, and the first value in a filter's and in an answer's JSON.
TYPES: list[tuple[str, str, str, Any, Any]] = [
    ("boolean", "true", "false", True, True),
    ("smallint", "3", "4", 3, 3),
    ("integer", "-3", "4", "-3", -3),
    ("bigint", "9223372036854775807", "9223372036854775806", 9223372036854775807, 9223372036854775807),
    ("numeric(30, 4)", "12345678901234567890.1234", "1", "12345678901234567890.1234", 12345678901234567890.1234),
    ("numeric", "'NaN'", "1", "NaN", "NaN"),
    ("real", "1.5", "2.5", 1.5, 1.5),
    ("double precision", "'Infinity'", "0", "inf", "Infinity"),
    ("text", "'a''b'", "'b'", "a'b", "a'b"),
    ("varchar(3)", "'abc'", "'abd'", "abc", "abc"),
    ("character(4)", "'ab'", "'ac'", "ab", "ab  "),
    ('"char"', "'x'", "'y'", "x", "x"),
    ("name", "'n'", "'m'", "n", "n"),
    ("uuid", "'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11'", "gen_random_uuid()", "A0EEBC999C0B4EF8BB6D6BB9BD380A11",
     "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11"),
    ("date", "'2026-11-23'", "'infinity'", "23 Nov 2026", "2026-11-23"),
    ("time", "'07:08:09'", "'0:0'", "07:08:09", "07:08:09"),
    ("timetz", "'07:08+02'", "'0:0+00'", "07:08+02", "07:08:00+02"),
    ("timestamp", "'2026-11-23 07:08'", "'epoch'", "2026-11-23T07:08:00", "2026-11-23T07:08:00"),
    ("timestamptz", "'2026-11-23 07:08+01'", "'epoch'", "2026-11-23T06:08:00Z", "2026-11-23T06:08:00+00:00"),
    ("interval", "'90 minutes'", "'1 day'", "01:30", "01:30:00"),
    ("inet", "'10.0.0.1/8'", "'::1'", "10.0.0.1/8", "10.0.0.1/8"),
    ("cidr", "'10.0.0.0/8'", "'::1'", "10.0.0.0/8", "10.0.0.0/8"),
    ("macaddr", "'08:00:2b:01:02:03'", "'08:00:2b:01:02:04'", "08002b010203", "08:00:2b:01:02:03"),
    ("macaddr8", "'08:00:2b:01:02:03:04:05'", "'08:00:2b:01:02:03:04:06'", "08002b0102030405",
     "08:00:2b:01:02:03:04:05"),
    ("bit(3)", "B'101'", "B'100'", "101", "101"),
    ("varbit", "B'1'", "B'100'", 1, "1"),
    ("oid", "1", "4294967295", 1, "1"),
    ("mood", "'ok'", "'s,ad'", "ok", "ok"),
    ("positive", "3", "4", 3, 3),
    ("tagged", "'{a}'", "'{b}'", "{a}", ["a"]),
    ("text[]", """'{a,"b,c"}'""", "'{}'", '{a,"b,c"}', ["a", "b,c"]),
    ("jsonb", """'{"a": [1, null]}'""", "'1'", {"a": [1, None]}, {"a": [1, None]}),
    ("json", """'{"a": 1}'""", "'1'", None, {"a": 1}),
    ("point", "'(1,2)'", "'(3,4)'", None, "(1,2)"),
    ("int4range", "'[1,5)'", "'[2,3)'", None, "[1,5)"),
    ("pair", "'(1,x)'", "'(2,y)'", None, "(1,x)"),
    ("mood[]", "'{ok}'", "'{}'", None, "{ok}"),
    ("tsvector", "'a b'", "'c'", None, "'a' 'b'"),
]  # fmt: skip
NAMES = [f"c{number}" for number in range(len(TYPES))]


def make_things(db: Connection) -> None:
    """Row 1 has the first values, row 2 the second ones, row 3 nulls."""
    run(db, "create type mood as enum ('ok', 's,ad'); create domain positive as int check (value > 0)")
    run(db, "create domain tagged as text[]; create type pair as (n int, t text)")
    columns = ", ".join(f"{name} {each[0]}" for name, each in zip(NAMES, TYPES, strict=True))
    run(db, f"create table things (id int primary key, body text default 'x', {columns})")
    for row in (1, 2):
        run(db, f"insert into things (id, {', '.join(NAMES)}) values ({row}, {', '.join(t[row] for t in TYPES)})")
    run(db, "insert into things (id) values (3)")
    exposed = ", ".join(f"'{name}'" for name in NAMES)
    run(db, f"select sidecar.watch('things', 'body', dimensions => {DIMENSIONS}, expose => array[{exposed}])")
    zeros = ",".join(["0"] * (DIMENSIONS - 1))
    run(db, f"set sidecar.writer = 'on'; update things set body_embedding = ('[1,{zeros}]')::vector")
    claim_space(db, make_encoder())


async def found(client: httpx.AsyncClient, **condition: Any) -> list[int]:
    answer = await search(client, table="things", text="x", filter=condition, columns=[])
    return [result["key"]["id"] for result in answer["results"]]


async def test_every_type_is_returned_and_compared_as_documented(db: Connection, database_url: str) -> None:
    make_things(db)
    async with searching(database_url, make_encoder()) as client:
        answer = await search(client, table="things", text="x", filter={"id": 1})
        shown = answer["results"][0]["columns"]
        assert {each[0]: shown[name] for name, each in zip(NAMES, TYPES, strict=True)} == {
            each[0]: each[4] for each in TYPES
        }
        for name, (type_name, _, _, wanted, _) in zip(NAMES, TYPES, strict=True):
            if wanted is not None:
                assert await found(client, **{name: wanted}) == [1], type_name
                assert await found(client, **{name: [wanted]}) == [1], type_name
            else:
                response = await client.post("/search", json={"table": "things", "text": "x", "filter": {name: "1"}})
                assert response.status_code == 422, type_name
                error = response.json()["error"]
                assert error["code"] == "column_not_comparable"
                assert f"column {name!r} has the type " in error["message"]
                assert f"{type_name}, which a filter cannot compare" in error["message"]
            assert await found(client, **({name: None} if wanted is not None else {"id": 3})) == [3]


async def test_a_value_is_not_truncated_to_the_length_of_its_column(db: Connection, database_url: str) -> None:
    make_things(db)
    names = {each[0]: name for name, each in zip(NAMES, TYPES, strict=True)}
    async with searching(database_url, make_encoder()) as client:
        for type_name, longer in (("varchar(3)", "abcd"), ("character(4)", "ab  x"), ("bit(3)", "1011")):
            assert await found(client, **{names[type_name]: longer}) == []


UNREADABLE: list[tuple[str, Any]] = [
    ("boolean", "maybe"), ("smallint", 40_000), ("integer", "1; drop table things"), ("integer", 1.5), ("integer", ""),
    ("bigint", "9223372036854775808"), ("numeric", "1,5"), ("real", "x"), ("uuid", "a0eebc99"), ("date", "2026-13-01"),
    ("timestamptz", "next week"), ("interval", "soon"), ("inet", "10.0.0"), ("bit(3)", "12"), ("mood", "happy"),
    ("positive", [1, "x"]), ("bigint", 1e300), ("text", "NUL \0"),
]  # fmt: skip


async def test_a_value_that_is_invalid_for_its_type_is_named(db: Connection, database_url: str) -> None:
    make_things(db)
    names = {each[0]: name for name, each in zip(NAMES, TYPES, strict=True)}
    async with searching(database_url, make_encoder()) as client:
        for type_name, wanted in UNREADABLE:
            param = f"filter.{names[type_name]}" + ("[1]" if isinstance(wanted, list) else "")
            body = {"table": "things", "text": "x", "filter": {"id": 1, names[type_name]: wanted}}
            response = await client.post("/search", json=body)
            assert_error(response, 422, "invalid_filter_value", f"`{param}`", param)

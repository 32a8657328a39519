"""`POST /plan`: what a watch would take, some rows, and the SQL that starts it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any
from unittest.mock import AsyncMock

import httpx
import psycopg
import pytest
from psycopg import sql
from pydantic import SecretStr
from starlette.requests import ClientDisconnect, Request
from starlette.types import Message

from sidecar.batching.encoder import PreparedText
from sidecar.errors import DatabaseUnavailable
from sidecar.http.limits import RequestLimits
from sidecar.http.planning.bodies import TablesAnswer
from sidecar.http.planning.endpoints import Planner, PlanningEndpoints
from sidecar.operations.planning import role_session
from sidecar.operations.planning.server_memory import read_memory
from tests.command_line import CommandLine
from tests.encoders import HashEncoder
from tests.integration.cli.test_plan import file_of
from tests.integration.http.conftest import make_settings
from tests.integration.http.errors import assert_error
from tests.integration.roles.cast import Stage
from tests.integration.search.shop import DIMENSIONS, connect, make_encoder, searching
from tests.integration.sql.session import Connection, run


class _TwoTokens(HashEncoder):
    def prepare_texts(self, texts: Sequence[str]) -> list[PreparedText]:
        return [replace(text, token_ids=text.token_ids[:2]) for text in super().prepare_texts(texts)]


SHOP = """
create table notes (id bigint primary key, body text, photo bytea);
insert into notes select i, repeat('word ', case when i <= 10 then 100 else 2 end), null from generate_series(1, 40) i;
create view shown as select * from notes;
"""


@pytest.fixture
def db(database_url: str) -> Iterator[Connection]:
    with connect(database_url) as connection:
        run(connection, SHOP)
        yield connection


async def plan(client: httpx.AsyncClient, table: str, *source: str, **fields: Any) -> dict[str, Any]:
    response = await client.post("/plan", json={"table": table, "source": list(source), **fields})
    assert response.status_code == 200, response.text
    planned: dict[str, Any] = response.json()
    return planned


async def test_the_estimates_are_those_of_the_command(
    database_url: str, db: Connection, command_line: CommandLine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DATABASE_URL", database_url)
    async with searching(database_url, make_encoder()) as client:
        planned = await plan(client, "notes", "body", companion="vectors")
    outcome = command_line("plan", "notes", "body", "--companion", "vectors", "--dimensions", str(DIMENSIONS), "--json")
    expected = json.loads(outcome.stdout)
    names = set(expected) - {"relation", "typical_devices", "migrated"}
    assert {name: planned[name] for name in names} == {name: expected[name] for name in names}
    assert (planned["relation"], planned["rows"], planned["long_text_share"]) == ("public.notes", 40, 0.25)


async def test_texts_are_long_by_what_the_served_model_reads(database_url: str, db: Connection) -> None:
    async with searching(database_url, _TwoTokens(dimensions=DIMENSIONS)) as client:
        planned = await plan(client, "notes", "body")
    assert (planned["context_length"], planned["long_text_share"]) == (2, 1.0)


async def test_five_rows_are_previewed_and_long_texts_cut(database_url: str, db: Connection) -> None:
    async with searching(database_url, make_encoder()) as client:
        rows = (await plan(client, "notes", "body"))["preview"]
    assert [row["key"] for row in rows] == [{"id": str(number)} for number in range(1, 6)]
    assert {(row["text"], row["bytes"], row["format"]) for row in rows} == {(("word " * 100)[:200], 500, None)}


async def test_pictures_are_previewed_by_format_and_size_and_their_views_are_counted(
    database_url: str, db: Connection
) -> None:
    db.execute("update notes set photo = %s where id = 1", (file_of(500, 500),))
    db.execute("update notes set photo = %s where id = 2", (b"no picture",))
    run(db, "delete from notes where id > 3")
    run(db, "vacuum full notes")
    async with searching(database_url, make_encoder()) as client:
        planned = await plan(client, "notes", "photo")
    shown = {row["key"]["id"]: (row["format"], row["width"], row["height"]) for row in planned["preview"]}
    assert shown == {"1": ("PNG", 500, 500), "2": (None, None, None), "3": (None, None, None)}
    assert {row["text"] for row in planned["preview"]} == {None}
    assert (planned["kind"], planned["sampled_pictures"], planned["rows_to_embed"]) == ("image", 1, 2)
    assert planned["long_text_share"] is None


NAMES = [
    ("s", '"we""ird ; drop table x --', "id", "a b", "e'"),
    ('Sch"ema', "Table.With.Dots", "'", "%I", "$1"),
    ("k", "{events}", "{table}", "$2", "%s %%"),
    ("news\nlines", "tab\tle", "/* */", "-- ", "'; drop table notes; --"),
    ("$$", "c\\d", "\\'", "$body$ \\'", "$code$"),
]


@pytest.mark.parametrize("names", NAMES)
async def test_the_statement_of_hostile_names_starts_the_planned_watch(
    database_url: str, db: Connection, names: tuple[str, ...]
) -> None:
    schema, table, key, source, target = names
    name = sql.Identifier(schema, table)
    db.execute(sql.SQL("create schema if not exists {}").format(sql.Identifier(schema)))
    create = "create table {} ({} int primary key, {} text)"
    db.execute(sql.SQL(create).format(name, sql.Identifier(key), sql.Identifier(source)))
    db.execute(sql.SQL("insert into {} values (7, 'seven')").format(name))
    async with searching(database_url, make_encoder()) as client:
        quoted = name.as_string(db)
        planned = await plan(
            *(client, quoted, source),
            target=target,
            expose=[source, key],
            companion='"it\'s \\ vectors"',
            storage="halfvec",
        )
    assert planned["refusal"] is None
    assert planned["preview"][0]["key"] == {key: "7"}
    assert planned["preview"][0]["text"] == "seven"
    db.execute(planned["sql"].encode())
    watches = "select relation::text, source, target, expose, dimensions, storage from sidecar_internal.watches"
    assert run(db, watches) == [(planned["relation"], [source], target, [source, key], DIMENSIONS, "halfvec")]


async def test_the_statement_leaves_out_what_is_the_default(database_url: str, db: Connection) -> None:
    async with searching(database_url, HashEncoder(dimensions=1152)) as client:
        assert (await plan(client, "notes", "body"))["sql"] == (
            "select sidecar.watch(\n    'public.notes',\n    source => 'body'\n);"
        )
        several = await plan(client, "notes", "body", "body", index="none")
    assert several["sql"].endswith("source => array['body', 'body'],\n    index => 'none'\n);")


@pytest.mark.parametrize(
    ("plant", "fields", "message"),
    [
        ("create table heap (title text)", {"table": "heap", "source": ["title"]}, "has no primary key"),
        ("alter table notes add e int", {"target": "e"}, "has type integer"),
        ("select 1", {"expose": ["colour"]}, "colour"),
    ],
)
async def test_what_watch_would_refuse_is_a_refusal_with_its_hint(
    database_url: str, db: Connection, plant: str, fields: dict[str, Any], message: str
) -> None:
    run(db, plant)
    body = {"table": "notes", "source": ["body"], **fields}
    async with searching(database_url, make_encoder()) as client:
        response = await client.post("/plan", json=body)
        assert response.status_code == 200, response.text
        planned = response.json()
    assert message in planned["refusal"]["message"]
    with pytest.raises(psycopg.Error) as raised:
        db.execute(planned["sql"].encode())
    assert raised.value.diag.message_primary == planned["refusal"]["message"]
    assert raised.value.diag.message_hint == planned["refusal"]["hint"]


@pytest.mark.parametrize(
    ("body", "refused", "message"),
    [
        ({"table": "nots"}, (404, "unknown_table", "table"), 'relation "nots" does not exist.'),
        ({"table": "a.b.c"}, (404, "unknown_table", "table"), "cross-database"),
        ({"table": "-"}, (404, "unknown_table", "table"), "there is no table -."),
        ({"table": "4294967295"}, (404, "unknown_table", "table"), "there is no table 4294967295."),
        ({"table": "shown"}, (422, "wrong_watch", "table"), "Only tables can be watched"),
        ({"table": "pg_authid", "source": ["rolpassword"]}, (422, "wrong_watch", "table"), "Name a table of your own."),
        ({"table": "sidecar_internal.watches"}, (422, "wrong_watch", "table"), "Name a table of your own."),
        ({"source": ["bdy"]}, (422, "wrong_watch", "source"), "Did you mean 'body'?"),
        ({"source": ["id"]}, (422, "wrong_watch", "source"), "holds neither text nor pictures"),
        ({"source": ["body", "photo"]}, (422, "wrong_watch", "source"), "mixes pictures"),
        ({"kind": "image"}, (422, "wrong_watch", "source"), "holds text"),
        ({"source": []}, (422, "too_short", "source"), "`source`"),
        ({"source": ["a\0b"]}, (422, "wrong_watch", "table"), "NUL"),
        ({"tabel": "notes"}, (422, "unknown_field", "tabel"), "`tabel`"),
    ],
)
async def test_what_cannot_be_planned_is_refused_with_what_to_do(
    database_url: str, db: Connection, body: dict[str, Any], refused: tuple[int, str, str], message: str
) -> None:
    status, code, param = refused
    async with searching(database_url, make_encoder()) as client:
        response = await client.post("/plan", json={"table": "notes", "source": ["body"], **body})
    assert_error(response, status, code, "", param)
    assert message in response.json()["error"]["message"]


async def test_a_large_table_is_estimated(database_url: str, db: Connection) -> None:
    run(db, "create table logs (id bigint primary key, body text)")
    run(db, "insert into logs select i, repeat('x', 700 + i % 200) from generate_series(1, 30000) i; analyze logs")
    async with searching(database_url, make_encoder()) as client:
        planned = await plan(client, "logs", "body")
    assert planned["estimated"]
    assert planned["rows"] == pytest.approx(30000, rel=0.02)
    assert planned["source_bytes"] / planned["rows_to_embed"] == pytest.approx(800, rel=0.05)


async def test_a_look_that_takes_too_long_ends_on_the_server(
    database_url: str, db: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    short = role_session.ReadingCursor.settings.replace(f"'{role_session.STATEMENT_TIMEOUT_S}s'", "'1ms'")
    monkeypatch.setattr(role_session.ReadingCursor, "settings", short)
    run(db, "create table logs (id bigint primary key, body text)")
    run(db, "insert into logs select i, repeat('x', 7) from generate_series(1, 200000) i")
    async with searching(database_url, make_encoder()) as client:
        refused = await client.post("/plan", json={"table": "logs", "source": ["body"]})
    assert_error(refused, 503, "database_unavailable", "The table could not be looked at in 10 s for each statement")
    assert refused.headers["retry-after"] == "1"


async def test_a_locked_table_is_not_waited_for(database_url: str, db: Connection) -> None:
    async with searching(database_url, make_encoder()) as client:
        with psycopg.connect(database_url) as other:
            other.execute("lock table notes")
            refused = await client.post("/plan", json={"table": "notes", "source": ["body"]})
    assert_error(refused, 503, "database_unavailable", "Another session has locked the table for more than 2 s")


async def test_a_connection_that_is_lost_in_between_is_a_database_that_is_away(
    database_url: str, db: Connection
) -> None:
    def read() -> None:
        with role_session.connect_to_read(SecretStr(database_url)) as connection:
            run(db, "select pg_terminate_backend(%s)", connection.info.backend_pid)
            read_memory(connection)

    with pytest.raises(DatabaseUnavailable, match="the connection was lost"):
        read()


async def test_who_has_gone_before_its_turn_is_not_looked_for() -> None:
    begun, may_end = list[str](), asyncio.Event()

    async def find_tables(prefix: str, _limit: int) -> TablesAnswer:
        begun.append(prefix)
        await may_end.wait()
        return TablesAnswer(tables=[], has_more=False)

    def request(prefix: str, *messages: str) -> Request:
        queue = iter(messages)

        async def receive() -> Message:
            for message in queue:
                return {"type": message}
            return await asyncio.Future()

        return Request({"type": "http", "query_string": f"search={prefix}".encode(), "headers": []}, receive)

    planner = Planner(find_tables, AsyncMock())
    tables = PlanningEndpoints(RequestLimits.from_settings(make_settings()), planner).tables
    first = asyncio.ensure_future(tables(request("first")))
    await asyncio.sleep(0)
    gone = asyncio.ensure_future(tables(request("gone", "http.disconnect")))
    patient = asyncio.ensure_future(tables(request("patient", "http.request")))
    may_end.set()
    with pytest.raises(ClientDisconnect):
        await gone
    assert ((await first).status_code, (await patient).status_code) == (200, 200)
    assert begun == ["first", "patient"]


async def test_nothing_is_changed(database_url: str, db: Connection) -> None:
    before = run(db, "select count(*), max(oid) from pg_class")
    async with searching(database_url, make_encoder()) as client:
        await plan(client, "notes", "body", companion="vectors")
    assert run(db, "select count(*), max(oid) from pg_class") == before


async def test_the_service_plans_for_the_owner_what_it_may_only_read(stage: Stage) -> None:
    worker = f'"{stage.cast.worker}"'
    with connect(stage.owner) as owner:
        run(owner, "create table shop.items (id int primary key, title text)")
        run(owner, "insert into shop.items values (1, 'one')")
        run(owner, f"grant usage on schema shop to {worker}; grant select (id, title) on shop.items to {worker}")
        async with searching(stage.worker, make_encoder()) as client:
            denied = await client.post("/plan", json={"table": "shop.items", "source": ["title"]})
            assert_error(denied, 403, "unreadable_table", "permission denied for table items. ", "table")
            grant = f"grant select on shop.items to {worker};"
            assert denied.json()["error"]["message"].endswith(grant)
            run(owner, grant)
            planned = await plan(client, "shop.items", "title")
        assert (planned["refusal"], planned["owner"]) == (None, stage.cast.owner)
        assert planned["preview"][0]["text"] == "one"
        owner.execute(planned["sql"].encode())


async def test_partitions_are_read_with_the_rights_on_their_table(stage: Stage) -> None:
    worker = f'"{stage.cast.worker}"'
    with connect(stage.owner) as owner:
        run(owner, "create table shop.logs (id int primary key, body text) partition by range (id)")
        run(owner, "create table shop.logs_1 partition of shop.logs for values from (0) to (10)")
        run(owner, "create table shop.logs_2 partition of shop.logs for values from (10) to (20)")
        run(owner, "insert into shop.logs select i, repeat('x', i) from generate_series(1, 19) i")
        run(owner, f"grant usage on schema shop to {worker}; grant select on shop.logs to {worker}")
        async with searching(stage.worker, make_encoder()) as client:
            planned = await plan(client, "shop.logs", "body")
        assert (planned["sampled_rows"], planned["rows_to_embed"], planned["source_bytes"]) == (19, 19, 190)


POLICY = """
create table shop.called (what text);
grant insert on shop.called to public;
create function shop.note() returns boolean language sql as
    $$ insert into shop.called values ('called') returning true $$;
create table shop.items (id int primary key, title text);
insert into shop.items values (1, 'one');
alter table shop.items enable row level security;
create policy spy on shop.items using (shop.note());
create view shop.spied as select i.* from shop.items i where shop.note();
"""


async def test_the_services_role_runs_nothing_of_a_tables_owner(stage: Stage) -> None:
    with connect(stage.owner) as owner:
        run(owner, POLICY)
        for relation in ("items", "spied", "called"):
            run(owner, f'grant select on shop.{relation} to "{stage.cast.worker}"')
        run(owner, f'grant usage on schema shop to "{stage.cast.worker}"')
        async with searching(stage.worker, make_encoder()) as client:
            for relation in ("items", "spied"):
                refused = await client.post("/plan", json={"table": f"shop.{relation}", "source": ["title"]})
                assert refused.status_code in {403, 422}, refused.text
            problems = {table["table"]: table["problem"] for table in (await client.get("/tables")).json()["tables"]}
        assert "row-level security" in problems["shop.items"]["message"]
        assert run(owner, "select * from shop.called") == []

"""`sidecar doctor` finds nothing beside a running sidecar and healthy tables of every kind."""

from __future__ import annotations

import asyncio

import pytest

from tests.command_line import CommandLine
from tests.encoders import HashEncoder
from tests.integration.ingest.composition import DIMENSIONS, running_ingest
from tests.integration.ingest.watched_table import run, user, value
from tests.integration.operators.healthy import examine
from tests.waiting import wait_until_async

TABLES = """
    create table plain (id bigint primary key, title text);
    create table parted (region text, id int, title text, primary key (region, id)) partition by list (region);
    create table "parted north" partition of parted for values in ('n');
    create table parted_rest partition of parted default;
    create schema "odd ""one";
    create table "odd ""one"."order by 'x'" ("k'ey" uuid primary key default gen_random_uuid(), "Ti""tle" text, n int);
    create function shout() returns trigger language plpgsql as $$
        begin new."Ti""tle" := upper(new."Ti""tle"); return new; end $$;
    create trigger shout before insert or update on "odd ""one"."order by 'x'" for each row execute function shout();
"""
WATCHES = f"""
    select sidecar.watch('plain', 'title', target => 'e', dimensions => {DIMENSIONS});
    select sidecar.watch('plain', 'title', target => 'v', companion => 'plain_vectors', dimensions => {DIMENSIONS});
    select sidecar.watch('parted', 'title', target => 'e', dimensions => {DIMENSIONS}, index => 'vector');
    select sidecar.watch('"odd ""one"."order by ''x''"', 'Ti"tle', target => 'e''e', dimensions => {DIMENSIONS});
"""
CHANGES = """
    insert into plain select i, case when i % 7 > 0 then 'item ' || i end from generate_series(1, 60) i;
    insert into parted select case when i % 3 = 0 then 'n' else 's' end, i, 'part ' || i from generate_series(1, 40) i;
    insert into "odd ""one"."order by 'x'" ("Ti""tle") select 'odd ' || i from generate_series(1, 20) i;
    delete from plain where id < 10;
    update parted set region = 'n' where id < 5;
    update "odd ""one"."order by 'x'" set n = 1;
"""
SETTLED = "select count(*) = 4 and bool_and(state = 'up to date' and index_statement is null) from sidecar.status"


async def test_healthy_tables_of_every_kind_have_no_finding(
    database_url: str, command_line: CommandLine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DATABASE_URL", database_url)
    async with user(database_url) as db:
        for script in (TABLES, WATCHES, CHANGES):
            await db.execute(script.encode())
        async with running_ingest(database_url, HashEncoder(dimensions=DIMENSIONS)):

            async def settled() -> object:
                return await value(db, SETTLED)

            await wait_until_async(settled, "all to be embedded and indexed", timeout_s=30)
            found = await asyncio.to_thread(examine, command_line)
            assert (found["findings"], found["not_checked"]) == ([], [])
            await run(db, "update plain set title = title || ' again'")
            found = await asyncio.to_thread(examine, command_line)
            assert (found["findings"], found["not_checked"]) == ([], []), "nor while there is work in the queue"

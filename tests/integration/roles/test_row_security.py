"""Rows hidden by a policy are never mistaken for deleted ones."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import psycopg
import pytest

from tests.integration.ingest.composition import running_ingest
from tests.integration.ingest.gated_encoder import GatedEncoder
from tests.integration.ingest.items import in_row_and_companion
from tests.integration.ingest.watched_table import Connection, WatchedTable, run, user, value, watch
from tests.integration.roles.cast import Stage
from tests.integration.roles.items import make_items, watch_texts
from tests.waiting import wait_until_async

HIDE = "alter table shop.items enable row level security; create policy low on shop.items using (id <= 2)"


@asynccontextmanager
async def bypassing(admin: Connection, role: str) -> AsyncIterator[None]:
    """Gives the role BYPASSRLS within the block."""
    await run(admin, f'alter role "{role}" bypassrls')
    try:
        yield
    finally:
        await run(admin, f'alter role "{role}" nobypassrls')


async def hide(owner: Connection) -> None:
    for statement in HIDE.split(";"):
        await run(owner, statement)


async def until_denied(owner: Connection) -> str:
    async def is_denied() -> bool:
        return "denied: " in await value(owner, "select state from sidecar.status")

    await wait_until_async(is_denied, "the state to say so")
    return str(await value(owner, "select state from sidecar.status"))


async def vectors(table: WatchedTable) -> int:
    return sum(v is not None for v in (await table.vectors()).values())


async def test_watching_a_table_that_hides_rows_from_the_worker_is_refused(
    stage: Stage, owner: Connection, admin: Connection, encoder: GatedEncoder
) -> None:
    await make_items(owner, 5)
    await hide(owner)
    with pytest.raises(psycopg.Error, match=r"row-level security of shop.items hides rows from role") as caught:
        await watch(owner, ["shop", "items"], ["title"])
    assert f'alter role "{stage.cast.worker}" bypassrls' in (caught.value.diag.message_hint or "")
    assert await value(owner, "select count(*) from sidecar_internal.watches") == 0
    async with bypassing(admin, stage.cast.worker), running_ingest(stage.worker, encoder):
        table = await watch(owner, ["shop", "items"], ["title"])
        await table.settle_right(encoder)
        assert await vectors(table) == 5


@in_row_and_companion
async def test_row_security_enabled_under_a_running_sidecar_stops_the_watch_and_deletes_no_vector(
    stage: Stage, owner: Connection, admin: Connection, encoder: GatedEncoder, companion: str | None
) -> None:
    table = await watch_texts(owner, 5, companion=companion)
    async with running_ingest(stage.worker, encoder, sweep_interval_s=1):
        await table.settle_right(encoder)
        await hide(owner)
        await run(owner, "update shop.items set title = 'changed ' || id")
        said = await until_denied(owner)
        assert "row-level security of shop.items hides rows" in said
        assert await vectors(table) == 5
        assert await table.failures() == {}
        async with bypassing(admin, stage.cast.worker):
            await table.settle_right(encoder)
        await run(owner, "alter table shop.items disable row level security")
        await run(owner, "update shop.items set title = 'again ' || id")
        await table.settle_right(encoder)
    assert await vectors(table) == 5


async def test_the_policy_of_these_tests_hides_rows_from_the_worker(stage: Stage, owner: Connection) -> None:
    """Negative control: without `row_security = off` the worker's role would read hidden rows as missing."""
    await watch_texts(owner, 5)
    await hide(owner)
    async with user(stage.worker) as worker:
        assert await value(worker, "select count(id) from shop.items") == 2
        await run(worker, "set row_security = off")
        with pytest.raises(psycopg.errors.InsufficientPrivilege, match="row-level security"):
            await run(worker, "select id from shop.items")


async def test_a_sidecar_running_as_the_owner_embeds_all_rows_unless_row_security_is_forced(
    stage: Stage, owner: Connection, encoder: GatedEncoder
) -> None:
    await run(owner, "select sidecar.revoke_grants(%s::text::regrole)", f'"{stage.cast.worker}"')
    await make_items(owner, 5)
    await hide(owner)
    table = await watch(owner, ["shop", "items"], ["title"])
    async with running_ingest(stage.owner, encoder):
        await table.settle_right(encoder)
        await run(owner, "alter table shop.items force row level security")
        assert "hides rows from " + stage.cast.owner in await until_denied(owner)
        await run(owner, "alter table shop.items no force row level security")
        await run(owner, "update shop.items set title = 'changed ' || id")
        await table.settle_right(encoder)
    assert await vectors(table) == 5


async def test_watch_warns_about_row_security_if_no_worker_role_is_known(stage: Stage, owner: Connection) -> None:
    await run(owner, "select sidecar.revoke_grants(%s::text::regrole)", f'"{stage.cast.worker}"')
    await make_items(owner)
    await hide(owner)
    heard: list[str] = []
    owner.add_notice_handler(lambda d: heard.append(f"{d.message_primary} {d.message_hint}"))
    await watch(owner, ["shop", "items"], ["title"])
    assert any("shop.items has row-level security" in said and "BYPASSRLS" in said for said in heard), heard


async def test_a_policys_function_never_runs_with_the_installers_rights(stage: Stage, owner: Connection) -> None:
    """Status counts rows, but estimates them if counting would run a policy as the installer."""
    await watch_texts(owner, 5)
    await run(owner, ["create table shop.seen (name text)", " grant insert on shop.seen to public"][0])
    await run(owner, "grant insert on shop.seen to public")
    await run(owner, "grant usage on schema shop to public")
    await run(
        owner,
        """
        create function shop.spy() returns boolean language plpgsql as $$
            begin insert into shop.seen values (current_user); return true; end $$
        """,
    )
    await run(owner, "alter table shop.items enable row level security")
    await run(owner, "alter table shop.items force row level security")
    await run(owner, "create policy spy on shop.items using (shop.spy())")
    await run(owner, "grant select (id, title) on shop.items to public")
    async with user(stage.reader) as reader:
        assert await value(reader, "select count(*) from sidecar.status") == 1
        await run(reader, "select * from sidecar.status_exact('shop.items')")
        assert await run(owner, "select distinct name from shop.seen") == []
        await run(reader, "select id from shop.items")  # the policy works: its function runs as the reading role
    assert await run(owner, "select distinct name from shop.seen") == [(stage.cast.reader,)]

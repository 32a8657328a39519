"""Statements that the worker's role may not run, and the effect of a missing right."""

from __future__ import annotations

import psycopg
import pytest

from tests.integration.ingest.composition import running_ingest
from tests.integration.ingest.gated_encoder import GatedEncoder
from tests.integration.ingest.items import in_row_and_companion
from tests.integration.ingest.watched_table import Connection, run, user, value, watch
from tests.integration.roles.cast import Stage
from tests.integration.roles.items import watch_texts
from tests.waiting import wait_until_async

FORBIDDEN = [
    "select secret from shop.items",
    "select * from shop.items",
    "update shop.items set title = 'x'",
    "update shop.items set price = 1",
    "insert into shop.items (id) values (7)",
    "delete from shop.items",
    "truncate shop.items",
    "alter table shop.items add x int",
    "select sidecar.watch('shop.items', 'secret')",
    "select sidecar.unwatch('shop.items')",
    "select sidecar.grant_worker('public'::text::regrole)",
    "update sidecar.alembic_version set version_num = '0'",
    "insert into sidecar_internal.watches (target) values (null)",
    "delete from sidecar_internal.watches",
    "update sidecar_internal.watches set key_types = array['bigint) or evil(']",
    "update sidecar_internal.watches set relation = 'pg_class', target = 'relname'",
    "create table sidecar.mine (i int)",
    "drop table sidecar_internal.wake",
    (
        "create trigger mine after insert on sidecar_internal.wake for each row execute function "
        "sidecar_internal.enqueue_1_row()"
    ),
]


async def test_the_worker_can_do_nothing_else(stage: Stage, owner: Connection) -> None:
    await watch_texts(owner, 1)
    async with user(stage.worker) as worker:
        await run(worker, "select id, title, embedding from shop.items for no key update")
        await run(worker, "update shop.items set embedding = null")
        for statement in FORBIDDEN:
            with pytest.raises(psycopg.Error) as caught:
                await run(worker, statement)
            assert caught.value.sqlstate in {"42501", "42704"}, (statement, caught.value)


async def test_unwatch_revokes_grants_that_no_other_watch_needs(stage: Stage, owner: Connection) -> None:
    await watch_texts(owner, 1)
    await watch(owner, ["shop", "items"], ["secret"], target="e", companion="secrets")
    await run(owner, "select sidecar.unwatch('shop.items', 'embedding')")
    async with user(stage.worker) as worker:
        await run(worker, "select id, secret from shop.items")
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            await run(worker, "select title from shop.items")
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            await run(worker, "update shop.items set embedding = null")
        await run(owner, "select sidecar.unwatch('shop.items', 'e')")
        for statement in ("select id from shop.items", "select e from shop.secrets"):
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                await run(worker, statement)
    acl = "select count(*) from pg_attribute where attrelid = 'shop.items'::regclass and attacl is not null"
    assert await value(owner, acl) == 0


@in_row_and_companion
async def test_a_missing_right_fails_no_row_and_granting_it_resumes_the_watch(
    stage: Stage, owner: Connection, encoder: GatedEncoder, companion: str | None, caplog: pytest.LogCaptureFixture
) -> None:
    table = await watch_texts(owner, 5, companion=companion)
    right = "update (embedding) on shop.items" if companion is None else "insert on shop.items_embeddings"
    worker = f'"{stage.cast.worker}"'
    async with running_ingest(stage.worker, encoder):
        await table.settle_right(encoder)
        await run(owner, f"revoke {right} from {worker}")
        await run(owner, "update shop.items set title = 'new ' || id")
        state = "select state from sidecar.status"

        async def is_denied() -> bool:
            return "denied: " in await value(owner, state)

        await wait_until_async(is_denied, "the state to say so")
        said = await value(owner, state)
        assert "may not" in said
        assert said.endswith(f"to {worker}")
        assert await table.failures() == {}

        async def is_logged() -> bool:
            return "is broken and skipped" in caplog.text

        await wait_until_async(is_logged, "the log to say so")
        remedy = said.rpartition(": ")[2]
        await run(owner, remedy)
        await table.settle_right(encoder)
    assert await table.failures() == {}
    assert caplog.text.count("is broken and skipped") == 1, caplog.text
    assert [r.message for r in caplog.records if r.levelname in {"WARNING", "ERROR"}] == [
        f"watch {table.watch_id} on shop.items.embedding is broken and skipped: {said.removeprefix('denied: ')}"
    ], "one line per change of state"
    assert "refuses the vector" not in caplog.text  # it did not retry row by row


async def test_insufficient_privilege_raised_by_a_users_trigger_fails_only_its_row(
    stage: Stage, owner: Connection, encoder: GatedEncoder
) -> None:
    """Negative control: not every 42501 is a missing grant; one such row must not delay the others."""
    table = await watch_texts(owner, 5)
    await run(
        owner,
        """
        create function shop.forbid() returns trigger language plpgsql as $$
            begin raise exception 'not this one' using errcode = 'insufficient_privilege'; end $$;
        """,
    )
    await run(
        owner,
        "create trigger forbid before update on shop.items for each row when (old.id = 3) "
        "execute function shop.forbid()",
    )
    await run(
        owner, "select sidecar.watch('shop.items', 'title', target => 'embedding', dimensions => 16, index => 'none')"
    )
    async with running_ingest(stage.worker, encoder):
        await table.settle_right(encoder)
    assert [reason for reason, _ in (await table.failures()).values()] == ["write_rejected"]


async def test_the_objects_of_a_watch_are_owned_by_the_installer(stage: Stage, owner: Connection) -> None:
    """So functions of a watch have no rights on users' tables, and a later migration may replace them."""
    await watch_texts(owner, 1)
    strange = """
        select c.relname::text from pg_class c where c.relnamespace in ('sidecar'::regnamespace,
            'sidecar_internal'::regnamespace)
            and pg_get_userbyid(c.relowner) <> %s
        union all select p.proname from pg_proc p where p.pronamespace in ('sidecar'::regnamespace,
            'sidecar_internal'::regnamespace)
            and pg_get_userbyid(p.proowner) <> %s
    """
    assert await run(owner, strange, stage.cast.installer, stage.cast.installer) == []

"""The rights that installing and watching need."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from sidecar.errors import StatementRejected
from sidecar.operations.migrations import migrate
from tests.integration.change.dumps import dump, restore
from tests.integration.ingest.composition import running_ingest
from tests.integration.ingest.gated_encoder import GatedEncoder
from tests.integration.ingest.watched_table import Connection, run, user, value, watch
from tests.integration.roles.cast import Cast, Stage
from tests.integration.roles.items import make_items, watch_texts
from tests.servers import Server


@pytest.fixture
def empty(postgres_server: Server, cast: Cast) -> Iterator[Stage]:
    """A database with nothing in it."""
    with postgres_server.lend_database() as url:
        yield Stage(cast, url)


async def test_an_installer_with_the_create_privilege_creates_extension_and_schema(empty: Stage) -> None:
    async with user(empty.admin) as admin:
        [(name, trusted)] = await run(
            admin,
            """
            select current_database(), bool_or(trusted) from pg_available_extension_versions where name = 'vector'
            """,
        )
        await run(admin, f"grant create on database {name} to {empty.cast.installer}")
        if not trusted:
            with pytest.raises(StatementRejected, match="permission denied to create extension") as caught:
                migrate(empty.installer)
            assert "superuser" in (caught.value.hint or "")
            await run(admin, "create extension vector")
        migrate(empty.installer)
        assert await value(admin, "select nspowner::regrole::text from pg_namespace where nspname = 'sidecar'") == (
            empty.cast.installer
        )


async def test_an_installer_without_the_create_privilege_gets_an_error(empty: Stage) -> None:
    with pytest.raises(StatementRejected, match="permission denied for database"):
        migrate(empty.installer)


async def test_objects_migrated_by_a_superuser_are_owned_by_the_installer(empty: Stage) -> None:
    """Otherwise trigger functions, which run as the installer, could call nothing, and users' statements would fail."""
    cast = empty.cast
    async with user(empty.admin) as admin, user(empty.owner) as owner:
        await run(admin, f"create extension vector; create schema sidecar authorization {cast.installer}")
        await run(admin, f"create schema shop authorization {cast.owner}")
        migrate(empty.admin)
        await run(owner, "create table shop.items (id bigint primary key, title text)")
        await run(owner, "select sidecar.watch('shop.items', 'title', target => 'embedding', dimensions => 16)")
        await run(owner, "insert into shop.items values (1, 'a')")
        assert await value(owner, "select pending from sidecar.status") == 1
        owners = """
            select distinct owner::regrole::text from (
                select c.relowner, c.relnamespace from pg_class c
                union all select p.proowner, p.pronamespace from pg_proc p
            ) made (owner, schema) where schema in ('sidecar'::regnamespace, 'sidecar_internal'::regnamespace)
        """
        assert await run(admin, owners) == [(cast.installer,)]
        await run(owner, "drop function sidecar.installation()")  # as if another version's code were installed
        assert migrate(empty.installer).code_replaced


async def test_a_table_owner_who_is_not_a_member_of_the_installer_cannot_watch(stage: Stage, admin: Connection) -> None:
    await run(admin, f"create schema other authorization {stage.cast.outsider}")
    async with user(stage.outsider) as outsider:
        await run(outsider, "create table other.items (id int primary key, title text)")
        with pytest.raises(psycopg.errors.InsufficientPrivilege, match="permission denied for schema sidecar"):
            await run(outsider, "select sidecar.watch('other.items', 'title')")


async def test_an_installer_that_is_a_member_of_the_table_owner_can_watch(
    stage: Stage, admin: Connection, encoder: GatedEncoder
) -> None:
    await run(admin, f"create schema other authorization {stage.cast.outsider}")
    async with user(stage.outsider) as outsider, user(stage.installer) as installer:
        await run(outsider, "create table other.items (id int primary key, title text)")
        with pytest.raises(psycopg.Error):
            await run(installer, "select sidecar.watch('other.items', 'title')")
        await run(admin, f"grant {stage.cast.outsider} to {stage.cast.installer}")
        try:
            table = await watch(installer, ["other", "items"], ["title"], companion="vectors")
            async with running_ingest(stage.worker, encoder):
                await run(outsider, "insert into other.items values (1, 'a'), (2, 'b')")
                await table.settle_right(encoder)
        finally:
            await run(admin, f"revoke {stage.cast.outsider} from {stage.cast.installer}")
        owner = "select relowner::regrole::text from pg_class where oid = 'other.vectors'::regclass"
        assert await value(admin, owner) == stage.cast.outsider


async def test_only_the_owner_of_a_table_may_watch_it(stage: Stage, owner: Connection, admin: Connection) -> None:
    await run(admin, "create table public.theirs (id int primary key, title text)")
    with pytest.raises(psycopg.errors.InsufficientPrivilege, match=r"only the owner of public.theirs can watch it"):
        await run(owner, "select sidecar.watch('public.theirs', 'title')")


async def test_watch_warns_if_the_worker_has_no_usage_on_the_schema_of_pgvector(
    stage: Stage, owner: Connection, admin: Connection
) -> None:
    await run(admin, "create schema extensions")
    await run(admin, "alter extension vector set schema extensions")
    await run(admin, f"grant usage on schema extensions to {stage.cast.owner}, {stage.cast.installer}")
    heard: list[str] = []
    owner.add_notice_handler(lambda d: heard.append(str(d.message_primary)))
    await watch_texts(owner, 1)
    remedy = f'grant usage on schema extensions to "{stage.cast.worker}"'
    assert [said for said in heard if "cannot work on shop.items yet" in said and said.endswith(remedy)], heard


async def test_a_migration_renews_the_workers_grants(stage: Stage, owner: Connection) -> None:
    await make_items(owner, 1)
    await run(
        owner, f"revoke execute on function sidecar_internal.status_of(regclass, boolean) from {stage.cast.reader}"
    )
    async with user(stage.reader) as reader:
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            await run(reader, "select * from sidecar.status")
        async with user(stage.installer) as installer:
            await run(installer, "drop function sidecar.installation()")  # as if another version's code were installed
        migrate(stage.installer)
        await run(reader, "select * from sidecar.status")


async def test_an_installer_restores_the_schema_into_a_database_that_has_the_extension(
    stage: Stage, empty: Stage, tmp_path: Path
) -> None:
    """psql stops at the first statement that only a superuser may run."""
    dump(stage.admin, tmp_path / "sidecar.sql", "--schema=sidecar", "--schema=sidecar_internal", "--no-owner")
    async with user(empty.admin) as admin:
        await run(admin, "create extension vector")
        name = await value(admin, "select current_database()")
        await run(admin, f"grant create on database {name} to {empty.cast.installer}")
    await restore(tmp_path / "sidecar.sql", empty.installer)

"""Building the HNSW index needs the rights of the table's owner."""

from __future__ import annotations

import asyncio

import pytest

from tests.integration.ingest.composition import running_ingest
from tests.integration.ingest.gated_encoder import GatedEncoder
from tests.integration.ingest.items import in_row_and_companion
from tests.integration.ingest.watched_table import Connection, run, user, value
from tests.integration.roles.cast import Stage
from tests.integration.roles.items import watch_texts
from tests.waiting import wait_until_async

INDEX = "select index from sidecar.status"


async def until_indexed(owner: Connection) -> None:
    async def is_indexed() -> bool:
        return "_hnsw_" in str(await value(owner, INDEX))

    await wait_until_async(is_indexed, "a valid index", timeout_s=20)


@in_row_and_companion
@pytest.mark.parametrize("membership", ["", "with inherit false"])
async def test_a_worker_that_is_a_member_of_the_owner_builds_the_index(
    stage: Stage, owner: Connection, admin: Connection, encoder: GatedEncoder, membership: str, companion: str | None
) -> None:
    table = await watch_texts(owner, 20, index="halfvec", companion=companion)
    await run(admin, f'grant {stage.cast.owner} to "{stage.cast.worker}" {membership}')
    try:
        async with running_ingest(stage.worker, encoder):
            await table.settle_right(encoder)
            await until_indexed(owner)
    finally:
        await run(admin, f'revoke {stage.cast.owner} from "{stage.cast.worker}"')
    vector_table = f"shop.{companion or 'items'}"
    owners = """
        select distinct pg_get_userbyid(c.relowner) from pg_index i join pg_class c on c.oid = i.indexrelid
        where i.indrelid = %s::text::regclass
    """
    assert await run(owner, owners, vector_table) == [(stage.cast.owner,)]


async def test_a_worker_without_membership_logs_the_statement_for_the_owner_and_notices_the_index(
    stage: Stage, owner: Connection, encoder: GatedEncoder, caplog: pytest.LogCaptureFixture
) -> None:
    table = await watch_texts(owner, 20, index="halfvec")
    async with running_ingest(stage.worker, encoder):
        await table.settle_right(encoder)

        async def has_asked() -> bool:
            return "only its owner can build" in caplog.text

        await wait_until_async(has_asked, "the log to ask for it")
        assert await value(owner, INDEX) == "not built yet"
        statement = await value(owner, "select index_statement from sidecar.status")
        assert statement in caplog.text
        await run(owner, statement)
        await until_indexed(owner)
    assert caplog.text.count("only its owner can build") == 1


async def test_a_workers_build_yields_to_blocked_sessions_without_pg_read_all_stats(
    stage: Stage, owner: Connection, admin: Connection, encoder: GatedEncoder
) -> None:
    """Without pg_read_all_stats a role does not see the wait events of other roles' sessions."""
    table = await watch_texts(owner, 20, index="halfvec")
    await run(admin, f'grant {stage.cast.owner} to "{stage.cast.worker}"')
    try:
        async with user(stage.admin, autocommit=False) as old, running_ingest(stage.worker, encoder):
            await run(old, "insert into shop.items values (1000, 'x')")

            async def is_building() -> bool:
                return bool(await value(admin, "select count(*) from pg_stat_progress_create_index"))

            await wait_until_async(is_building, "a build that waits", timeout_s=20)
            await run(old, "truncate shop.items")
            await old.commit()
            await run(owner, "insert into shop.items select i, 'title ' || i from generate_series(1, 5) i")
            await table.settle_right(encoder)
            await until_indexed(owner)
    finally:
        await run(admin, f'revoke {stage.cast.owner} from "{stage.cast.worker}"')


async def test_a_reader_that_cannot_see_build_progress_sees_the_state_building(
    stage: Stage, owner: Connection, admin: Connection, encoder: GatedEncoder
) -> None:
    """Otherwise `doctor` would report an invalid index, and its remedy would cancel the build."""
    table = await watch_texts(owner, 20, index="halfvec")
    await run(admin, f'grant {stage.cast.owner} to "{stage.cast.worker}"')
    try:
        async with (
            user(stage.admin, autocommit=False) as old,
            user(stage.reader) as reader,
            running_ingest(stage.worker, encoder),
        ):
            await run(old, "insert into shop.items values (1000, 'x')")

            async def is_building() -> bool:
                return bool(await value(admin, "select count(*) from pg_stat_progress_create_index"))

            await wait_until_async(is_building, "a build that waits")
            assert await value(reader, INDEX) == "building"
            await old.commit()
            await table.settle_right(encoder)
            await until_indexed(owner)
            assert "_hnsw_" in await value(reader, INDEX)
    finally:
        await run(admin, f'revoke {stage.cast.owner} from "{stage.cast.worker}"')


MINE = "create index concurrently mine on shop.items using hnsw ((embedding::halfvec(16)) halfvec_cosine_ops)"


@pytest.mark.parametrize("command", [MINE, "reindex index concurrently shop.mine"], ids=["create", "reindex"])
async def test_an_index_being_built_by_another_role_is_not_dropped(
    stage: Stage, owner: Connection, command: str
) -> None:
    """A DROP of it as an invalid leftover would wait for the build, and then drop a valid index."""
    watch_id = (await watch_texts(owner, 20, index="halfvec")).watch_id
    name = f"mine_hnsw_{watch_id}"
    async with user(stage.admin) as dba, user(stage.admin, autocommit=False) as old:
        if command != MINE:
            await run(dba, MINE.replace("mine", name))
        await run(old, "insert into shop.items values (1000, 'x')")  # an older transaction that the build waits for
        build = asyncio.create_task(run(dba, command.replace("mine", name)))
        try:

            async def is_building() -> bool:
                return bool(await value(owner, "select count(*) from pg_index where not indisvalid"))

            await wait_until_async(is_building, "a build that waits")
            assert await value(owner, "select count(*) from pg_stat_progress_create_index where relid is not null") == 0
            index, statement = (await run(owner, "select index, index_statement from sidecar.status"))[0]
            assert statement is None
            assert index == ("building: by another session" if command == MINE else f"shop.{name}")
        finally:
            await old.commit()
            await build
    assert await run(owner, "select index, index_statement from sidecar.status") == [(f"shop.{name}", None)]

"""The sidecar runs as a role that has only the rights its statements need."""

from __future__ import annotations

import psycopg
import pytest
from pydantic import SecretStr

from sidecar.postgres.database import Database
from sidecar.postgres.status import read_failures, read_status
from tests.integration.ingest.composition import running_ingest
from tests.integration.ingest.gated_encoder import GatedEncoder
from tests.integration.ingest.items import in_row_and_companion
from tests.integration.ingest.watched_table import Connection, picture, run, user, value, watch
from tests.integration.roles.cast import Stage
from tests.integration.roles.items import watch_texts


@in_row_and_companion
async def test_the_worker_embeds_existing_and_changed_texts(
    stage: Stage, owner: Connection, encoder: GatedEncoder, companion: str | None
) -> None:
    table = await watch_texts(owner, 300, companion=companion)
    async with running_ingest(stage.worker, encoder, ingest_batch_rows=64):
        await table.settle_right(encoder)
        await run(owner, "insert into shop.items values (1000, 'new')")
        await run(owner, "update shop.items set title = 'changed' where id <= 10")
        await run(owner, "update shop.items set id = 2000 where id = 11")
        await run(owner, "update shop.items set title = null where id = 12")
        await run(owner, "delete from shop.items where id between 13 and 20")
        await table.settle_right(encoder)
        await run(owner, "truncate shop.items")
        await run(owner, "insert into shop.items values (1, 'again')")
        await table.settle_right(encoder)
    assert await value(owner, "select pending from sidecar.status") == 0


@in_row_and_companion
async def test_a_partition_tree_needs_only_grants_on_its_root(
    stage: Stage, owner: Connection, encoder: GatedEncoder, companion: str | None
) -> None:
    await run(owner, "create table shop.items (id bigint primary key, title text) partition by range (id)")
    await run(owner, "create table shop.low partition of shop.items for values from (0) to (100)")
    await run(owner, "create table shop.high partition of shop.items default")
    await run(owner, "insert into shop.items select i, 'title ' || i from generate_series(90, 110) i")
    table = await watch(owner, ["shop", "items"], ["title"], companion=companion)
    async with running_ingest(stage.worker, encoder):
        await table.settle_right(encoder)
        await run(owner, "update shop.items set id = id + 50 where id between 95 and 99")
        await run(owner, "update shop.low set title = 'changed'")
        await run(owner, "delete from shop.high where id = 105")
        await table.settle_right(encoder)


async def test_the_worker_reads_status_and_failures_with_the_services_statements(
    stage: Stage, owner: Connection, encoder: GatedEncoder
) -> None:
    table = await watch_texts(owner, 3)
    database = Database(SecretStr(stage.worker))
    await database.open()
    try:
        async with running_ingest(stage.worker, encoder):
            await table.settle_right(encoder)
            [status] = await read_status(database)
            assert (status.state, status.rows, status.embedded) == ("up to date", 3, 3)
            assert await read_failures(database) == []
    finally:
        await database.close()


@in_row_and_companion
async def test_the_worker_moves_vectors_between_row_and_companion(
    stage: Stage, owner: Connection, encoder: GatedEncoder, companion: str | None
) -> None:
    table = await watch_texts(owner, 30, companion=companion)
    async with running_ingest(stage.worker, encoder):
        await table.settle_right(encoder)
        encoder.texts.clear()
        other = None if companion else "vectors"
        table = await watch(owner, ["shop", "items"], ["title"], companion=other, replace=True)
        await table.settle_right(encoder)
    assert encoder.texts == {}


@in_row_and_companion
async def test_the_worker_embeds_pictures_records_failures_and_retries_them(
    stage: Stage, owner: Connection, encoder: GatedEncoder, companion: str | None
) -> None:
    await run(owner, "create table shop.items (id bigint primary key, photo bytea)")
    for i in range(1, 6):
        await run(owner, "insert into shop.items values (%s, %s)", i, picture(i))
    await run(owner, "insert into shop.items values (6, 'not a picture')")
    table = await watch(owner, ["shop", "items"], ["photo"], companion=companion)
    async with running_ingest(stage.worker, encoder, pictures=True):
        await table.settle_right(encoder)
        assert [reason for reason, _ in (await table.failures()).values()] == ["not_a_picture"]
        assert await value(owner, "select sidecar.retry('shop.items')") == 1
        await table.settle_right(encoder)
        await run(owner, "update shop.items set photo = %s where id = 6", picture(6))
        await table.settle_right(encoder)
    assert await table.failures() == {}


@in_row_and_companion
async def test_the_worker_handles_pause_reembed_and_sweeps(
    stage: Stage, owner: Connection, admin: Connection, encoder: GatedEncoder, companion: str | None
) -> None:
    table = await watch_texts(owner, 20, companion=companion)
    async with running_ingest(stage.worker, encoder, sweep_interval_s=1):
        await table.settle_right(encoder)
        await run(owner, "select sidecar.pause()")
        await run(owner, "update shop.items set title = 'x' where id = 1")
        await run(owner, "select sidecar.resume()")
        await run(owner, "select sidecar.reembed('shop.items')")
        await table.settle_right(encoder)
        assert encoder.texts["title 2"] == 2
        await run(admin, "set session_replication_role = replica")
        await run(admin, "insert into shop.items values (100, 'behind the back')")
        await run(admin, "delete from shop.items where id = 2")
        await table.become_right(encoder)
    other = GatedEncoder("other")
    await run(owner, "select sidecar.reembed('shop.items', model => 'any')")
    async with running_ingest(stage.worker, other):
        await table.settle_right(other)


async def test_grant_worker_grants_rights_on_tables_watched_before(
    stage: Stage, owner: Connection, admin: Connection, encoder: GatedEncoder
) -> None:
    await run(owner, "select sidecar.revoke_grants(%s::text::regrole)", f'"{stage.cast.worker}"')
    table = await watch_texts(owner, 5)
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        async with user(stage.worker) as worker:
            await run(worker, "select * from sidecar_internal.watches")
    await run(owner, "select sidecar.grant_worker(%s::text::regrole)", f'"{stage.cast.worker}"')
    async with running_ingest(stage.worker, encoder):
        await table.settle_right(encoder)

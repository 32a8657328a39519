"""The HNSW index is built once the first backlog is done, and blocks no user."""

from __future__ import annotations

import asyncio

import pytest

from tests.integration.ingest.composition import running_ingest
from tests.integration.ingest.gated_encoder import GatedEncoder
from tests.integration.ingest.items import in_row_and_companion, insert_titles, make_texts
from tests.integration.ingest.watched_table import Connection, run, user, value
from tests.waiting import wait_until_async

HNSW = """
    select c.relname, i.indisvalid, pg_get_indexdef(i.indexrelid)
    from pg_index i join pg_class c on c.oid = i.indexrelid join pg_am a on a.oid = c.relam
    where a.amname = 'hnsw' and not c.relname like 'users%'
"""


async def until_indexed(db: Connection) -> str:
    async def is_valid() -> bool:
        return bool(await value(db, f"select bool_and(indisvalid) from ({HNSW}) i"))

    await wait_until_async(is_valid, "a valid index", timeout_s=20)
    [(_, _, definition)] = await run(db, HNSW)
    return str(definition)


@in_row_and_companion
@pytest.mark.parametrize(("index", "expected"), [("halfvec", "halfvec_cosine_ops"), ("vector", "vector_cosine_ops")])
async def test_the_index_comes_after_the_first_backlog(
    database_url: str, db: Connection, encoder: GatedEncoder, companion: str | None, index: str, expected: str
) -> None:
    table = await make_texts(db, 300, companion=companion, index=index)
    async with running_ingest(database_url, encoder, ingest_batch_rows=20):
        encoder.close()
        await encoder.until_held()
        assert await run(db, HNSW) == []
        encoder.open()
        await table.settle_right(encoder)
        definition = await until_indexed(db)
        assert expected in definition
        assert (companion or "items") in definition

        await insert_titles(db, 1001, 1010)
        await table.settle_right(encoder)
        assert len(await run(db, HNSW)) == 1


async def test_no_index_is_built_where_none_is_wanted(database_url: str, db: Connection, encoder: GatedEncoder) -> None:
    bare = await make_texts(db, 3, index="none")
    await run(db, "create table others (id bigint primary key, title text, embedding vector(16))")
    await run(db, "create index users_own on others using hnsw (embedding vector_cosine_ops)")
    await run(db, "insert into others values (1, 'x')")
    await run(
        db,
        "select sidecar.watch('others', source => 'title', target => 'embedding', dimensions => 16, index => 'vector')",
    )
    await run(db, "create table third (id bigint primary key, title text)")
    await run(db, "insert into third values (1, 'x')")
    await run(db, "select sidecar.watch('third', source => 'title', target => 'embedding', dimensions => 16)")
    async with running_ingest(database_url, encoder):
        await bare.settle_right(encoder)
        assert "third" in await until_indexed(db)  # the last of the three, and the only one


async def test_an_invalid_leftover_is_dropped_and_built_again(
    database_url: str, db: Connection, encoder: GatedEncoder
) -> None:
    table = await make_texts(db, 5, index="halfvec")
    async with running_ingest(database_url, encoder):
        await table.settle_right(encoder)
        await until_indexed(db)
    [(name, _, _)] = await run(db, HNSW)
    before = await value(db, "select %s::text::regclass::oid", name)
    await run(db, "update pg_index set indisvalid = false where indexrelid = %s::text::regclass", name)
    async with running_ingest(database_url, encoder):
        await until_indexed(db)

    assert await value(db, "select %s::text::regclass::oid", name) != before


async def test_a_build_gives_way_to_a_user_who_waits_for_the_table(
    database_url: str, db: Connection, encoder: GatedEncoder
) -> None:
    """The build waits for an older transaction, and a TRUNCATE in that one would wait for the build: a deadlock."""
    table = await make_texts(db, 50, index="halfvec")
    async with user(database_url, autocommit=False) as old, running_ingest(database_url, encoder):
        await run(old, "insert into items values (1000, 'x')")

        async def is_building() -> bool:
            return bool(await value(db, "select count(*) from pg_stat_progress_create_index"))

        await wait_until_async(is_building, "a build that waits")
        await asyncio.wait_for(run(old, "truncate items"), 5)
        await old.commit()
        await insert_titles(db, 1, 20)
        await table.settle_right(encoder)
        await until_indexed(db)


async def test_two_sidecars_build_one_index(database_url: str, db: Connection, encoder: GatedEncoder) -> None:
    table = await make_texts(db, 100, index="halfvec")
    async with running_ingest(database_url, encoder), running_ingest(database_url, GatedEncoder()):
        await table.settle_right(encoder)
        await until_indexed(db)


async def test_stopping_during_a_build_leaves_no_connection_behind(
    database_url: str, db: Connection, encoder: GatedEncoder
) -> None:
    await make_texts(db, 5, index="halfvec")
    async with user(database_url, autocommit=False) as old:
        async with running_ingest(database_url, encoder) as running:
            await run(old, "insert into items values (1000, 'x')")

            async def is_building() -> bool:
                return bool(await value(db, "select count(*) from pg_stat_progress_create_index"))

            await wait_until_async(is_building, "a build that waits")
            await asyncio.wait_for(running.stop(), 5)

        async def no_session_is_left() -> bool:
            return not await value(
                db,
                "select count(*) from pg_stat_activity where datname = current_database() "
                "and application_name = 'sidecar'",
            )

        await wait_until_async(no_session_is_left, "the end of the build")

"""Dropped tables: everything stored for them is removed, and a new table of the same name starts afresh."""

from __future__ import annotations

import pytest

from tests.integration.ingest.composition import running_ingest
from tests.integration.ingest.gated_encoder import GatedEncoder
from tests.integration.ingest.items import insert_titles, make_texts
from tests.integration.ingest.watched_table import Connection, run, value, watch
from tests.waiting import wait_until_async

LEFT = """
    select relname from pg_class where relnamespace = 'sidecar_internal'::regnamespace and relname ~ '_[0-9]+$'
    union all select proname from pg_proc where pronamespace = 'sidecar_internal'::regnamespace and proname ~ '_[0-9]+_'
    union all select 'watch' from sidecar_internal.watches union all select 'scan' from sidecar_internal.scans
    union all select 'failure' from sidecar_internal.failures union all select 'progress' from sidecar_internal.progress
    union all select tgname from pg_trigger where tgname like 'sidecar%' order by 1
"""


async def until_cleaned_up(db: Connection) -> None:
    async def is_cleaned_up() -> bool:
        return not await run(db, LEFT)

    await wait_until_async(is_cleaned_up, "everything of the watch to go")


@pytest.mark.parametrize(
    ("companion", "drop"),
    [
        (None, "drop table items"),
        ("vectors", "drop table items cascade"),
        ("vectors", "drop table items, vectors cascade"),
        (None, "drop schema public cascade; create schema public"),
    ],
)
async def test_a_running_sidecar_cleans_up_after_a_dropped_table(
    database_url: str, db: Connection, encoder: GatedEncoder, companion: str | None, drop: str
) -> None:
    if "schema" in drop:
        await run(db, "create schema extensions; alter extension vector set schema extensions")
    table = await make_texts(db, 5, companion=companion)
    async with running_ingest(database_url, encoder) as running:
        await table.settle_right(encoder)
        encoder.close()
        await insert_titles(db, 6, 9)
        await encoder.until_held()
        await run(db, drop)
        encoder.open()
        await until_cleaned_up(db)
        stays = drop == "drop table items cascade"
        assert await value(db, "select to_regclass('vectors') is not null") is stays

        again = await make_texts(db, 3, companion=companion)
        assert again.watch_id != table.watch_id
        if stays:  # with vectors of rows that are not in the new table
            await run(db, "select sidecar.verify('items')")
        await again.settle_right(encoder)
        assert not running.task.done()


async def test_without_a_sidecar_status_reports_a_dropped_table_and_the_next_watch_cleans_up(db: Connection) -> None:
    table = await make_texts(db, 5, companion="vectors")
    oid = await value(db, "select 'items'::regclass::oid")
    await run(db, "drop table items cascade")
    state = await value(db, "select state from sidecar.status")
    assert state == f"broken: the table is gone: select sidecar.unwatch({oid}, 'embedding')"

    again = await make_texts(db, 5, companion="vectors")
    assert await value(db, "select array_agg(id) from sidecar_internal.watches") == [again.watch_id]
    assert again.watch_id != table.watch_id
    assert await value(db, "select count(*) from sidecar.status") == 1
    assert not [name for (name,) in await run(db, LEFT) if f"_{table.watch_id}" in name]


async def test_former_watches_are_removed_after_their_table_is_dropped(
    database_url: str, db: Connection, encoder: GatedEncoder
) -> None:
    await make_texts(db, 5)
    await run(db, "select sidecar.unwatch('items')")
    await run(db, "drop table items")
    async with running_ingest(database_url, encoder):
        await until_cleaned_up(db)


async def test_a_drop_that_is_rolled_back_changes_nothing(
    database_url: str, db: Connection, encoder: GatedEncoder
) -> None:
    table = await make_texts(db, 5)
    await run(db, "create table others (id int primary key, title text)")
    async with running_ingest(database_url, encoder):
        await table.settle_right(encoder)
        await run(db, "begin")
        await run(db, "drop table items")
        await run(db, "rollback")
        await insert_titles(db, 6, 7)
        await table.settle_right(encoder)


async def test_a_dropped_companion_breaks_the_watch_and_watch_with_replace_recreates_it(
    database_url: str, db: Connection, encoder: GatedEncoder
) -> None:
    table = await make_texts(db, 5, companion="vectors")
    async with running_ingest(database_url, encoder):
        await table.settle_right(encoder)
        await run(db, "drop table vectors cascade")
        state = await value(db, "select state from sidecar.status")
        assert state == "broken: the companion table is gone: call sidecar.watch again with replace => true"
        await insert_titles(db, 6, 7)
        again = await watch(db, ["items"], ["title"], companion="vectors", replace=True)
        await again.settle_right(encoder)
    assert again.watch_id == table.watch_id

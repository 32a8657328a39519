"""Watches that change while a sidecar works on them."""

from __future__ import annotations

import pytest

from tests.integration.ingest.composition import RunningIngest, running_ingest
from tests.integration.ingest.gated_encoder import GatedEncoder
from tests.integration.ingest.items import in_row_and_companion, insert_titles, make_texts
from tests.integration.ingest.watched_table import Connection, WatchedTable, run, value, watch
from tests.waiting import wait_until_async


async def test_pause_stops_claims_and_resume_continues(
    database_url: str, db: Connection, encoder: GatedEncoder
) -> None:
    table = await make_texts(db, 1)
    await run(db, "create table others (id bigint primary key, title text)")
    others = await watch(db, ["others"], ["title"])
    async with running_ingest(database_url, encoder) as running:
        await table.settle_right(encoder)
        await others.settle_right(encoder)
        await run(db, "select sidecar.pause('items')")
        await _heard_of_pause(running, table)
        await run(db, "update items set title = 'while paused'")
        await run(db, "insert into others values (1, 'not paused')")

        await others.settle_right(encoder)
        await run(db, "insert into others values (2, 'still not')")
        await others.settle_right(encoder)
        assert await table.count("events") == 1
        assert await value(db, "select state from sidecar.status where relation = 'items'::regclass") == "paused"

        await run(db, "select sidecar.resume('items')")
        await table.settle_right(encoder)


async def _heard_of_pause(running: RunningIngest, table: WatchedTable) -> None:
    async def has_heard() -> bool:
        return not running.works_on(table.watch_id)

    await wait_until_async(has_heard, "the sidecar to hear of the pause")


@in_row_and_companion
async def test_unwatch_during_the_work_and_watch_again(
    database_url: str, db: Connection, encoder: GatedEncoder, companion: str | None
) -> None:
    table = await make_texts(db, companion=companion)
    async with running_ingest(database_url, encoder, ingest_batch_rows=20) as running:
        await insert_titles(db, 1, 300)
        encoder.close()
        await encoder.until_held()
        await run(db, "select sidecar.unwatch('items', 'embedding')")
        encoder.open()
        await run(db, "update items set title = 'unwatched' where id = 1")
        again = await watch(db, ["items"], ["title"], companion=companion)
        assert again.watch_id == table.watch_id

        await again.settle_right(encoder)
        assert await value(db, "select state from sidecar.status") == "up to date"
        assert not running.task.done()


@pytest.mark.parametrize("change", ["drop table items", "alter table items drop column title cascade"])
async def test_a_table_dropped_under_a_sidecar_does_not_end_it(
    database_url: str, db: Connection, encoder: GatedEncoder, caplog: pytest.LogCaptureFixture, change: str
) -> None:
    table = await make_texts(db)
    await run(db, "create table others (id bigint primary key, title text)")
    others = await watch(db, ["others"], ["title"])
    async with running_ingest(database_url, encoder, ingest_batch_rows=20) as running:
        encoder.close()
        await insert_titles(db, 1, 300)

        async def are_in_flight() -> bool:
            return await table.count("events", "lease_token is not null") >= 64

        await wait_until_async(are_in_flight, "four batches to be in flight")
        await run(db, change)
        encoder.open()
        await run(db, "insert into others values (1, 'goes on')")

        await others.settle_right(encoder)

        async def is_shown() -> bool:
            """The watch of a dropped table is forgotten."""
            state = await value(db, "select state from sidecar.status where watch_id = %s", table.watch_id)
            return str(state).startswith("broken") or (state is None and "drop table" in change)

        await wait_until_async(is_shown, "the status to show it")
        assert len([r for r in caplog.records if "changed under its sidecar" in r.message]) <= 1, (
            "four batches in flight"
        )
        await run(db, "insert into others values (2, 'still goes on')")
        await others.settle_right(encoder)
        assert not running.task.done()


async def test_a_renamed_table_is_followed(database_url: str, db: Connection, encoder: GatedEncoder) -> None:
    table = await make_texts(db, 3)
    async with running_ingest(database_url, encoder):
        await table.settle_right(encoder)
        await run(db, "alter table items rename to goods")
        await run(db, "update goods set title = 'renamed'")
        await table.settle()

    assert await value(db, "select count(distinct embedding) from goods") == 1
    assert await value(db, "select state from sidecar.status") != "broken"


async def test_a_table_that_changes_its_columns_is_followed(
    database_url: str, db: Connection, encoder: GatedEncoder
) -> None:
    """Prepared statements of every connection become invalid."""
    table = await make_texts(db, 3)
    async with running_ingest(database_url, encoder):
        for i in range(4):
            await insert_titles(db, 10 + i * 10, 15 + i * 10)
            await table.settle_right(encoder)
            await run(db, f"alter table items add column extra_{i} text default 'x'")
            await run(db, "alter table items alter column price type bigint, alter column price set default 1")
            await run(db, f"update items set title = 'after {i}'")
            await table.settle_right(encoder)
    assert await value(db, "select state from sidecar.status") == "no sidecar is running"


async def test_a_watch_made_while_the_sidecar_runs_is_found_at_once(
    database_url: str, db: Connection, encoder: GatedEncoder
) -> None:
    async with running_ingest(database_url, encoder, poll_interval_s=30):
        for i in range(3):
            await run(db, f"create table t{i} (id int primary key, title text)")
            await run(db, f"insert into t{i} values (1, 'x')")
            table = await watch(db, [f"t{i}"], ["title"])
            await table.settle_right(encoder, timeout_s=15)

"""Rows that change while they are in flight."""

from __future__ import annotations

import pytest

from sidecar.ingest.worker import MAX_BATCHES_IN_FLIGHT
from tests.integration.ingest.composition import running_ingest
from tests.integration.ingest.gated_encoder import GatedEncoder
from tests.integration.ingest.items import in_row_and_companion, insert_titles, make_texts
from tests.integration.ingest.watched_table import Connection, run, user, value
from tests.waiting import wait_until_async


@in_row_and_companion
@pytest.mark.parametrize(
    "change",
    [
        "update items set title = 'new' where id = 1",
        "update items set title = null where id = 1",
        "update items set id = 2 where id = 1",
        "delete from items where id = 1",
        "truncate items",
    ],
)
async def test_a_change_made_while_the_row_is_encoded_wins(
    database_url: str, db: Connection, encoder: GatedEncoder, companion: str | None, change: str
) -> None:
    table = await make_texts(db, 0, companion=companion)
    async with running_ingest(database_url, encoder):
        encoder.close()
        await run(db, "insert into items values (1, 'old')")
        await encoder.until_held()
        await run(db, change)
        encoder.open()

        await table.settle_right(encoder)


@in_row_and_companion
async def test_a_row_edited_many_times_while_it_is_encoded_ends_with_the_newest_content(
    database_url: str, db: Connection, encoder: GatedEncoder, companion: str | None
) -> None:
    table = await make_texts(db, 1, companion=companion)
    async with running_ingest(database_url, encoder):
        for i in range(10):
            encoder.close()
            await run(db, "update items set title = %s", f"title {i}")
            await encoder.until_held()
            await run(db, "update items set title = %s", f"newer {i}")
            encoder.open()
        await table.settle_right(encoder)


async def test_a_row_that_changes_while_it_is_encoded_is_encoded_once_more(
    database_url: str, db: Connection, encoder: GatedEncoder
) -> None:
    table = await make_texts(db)
    async with running_ingest(database_url, encoder):
        await table.settle()
        encoder.close()
        await run(db, "insert into items values (1, 'inserted')")
        await encoder.until_held()
        await run(db, "update items set title = 'updated'")
        await run(db, "insert into items values (2, 'another')")

        async def all_are_claimed() -> bool:
            return await table.count("events", "lease_until is not null") == 3

        await wait_until_async(all_are_claimed, "the change to be claimed")
        encoder.open()
        await table.settle_right(encoder)
    assert encoder.texts == {"inserted": 1, "updated": 1, "another": 1}


async def test_a_row_deleted_and_inserted_again_while_it_is_encoded_gets_the_new_content(
    database_url: str, db: Connection, encoder: GatedEncoder
) -> None:
    table = await make_texts(db, 1)
    async with running_ingest(database_url, encoder):
        encoder.close()
        await run(db, "update items set title = 'old'")
        await encoder.until_held()
        await run(db, "delete from items")
        await run(db, "insert into items values (1, 'new')")
        encoder.open()

        await table.settle_right(encoder)


async def test_an_insert_that_commits_after_many_later_ones_is_found(
    database_url: str, db: Connection, encoder: GatedEncoder
) -> None:
    """Its generation is below the floor by then, and without a listener no notification arrives."""
    table = await make_texts(db)
    async with (
        running_ingest(database_url, encoder, poll_interval_s=0.05),
        user(database_url, autocommit=False) as late,
    ):
        await run(late, "insert into items values (0, 'late')")
        for i in range(1, 4):
            await insert_titles(db, i * 100, i * 100 + 9)
            await table.settle_right(encoder)
        await late.commit()

        await table.settle_right(encoder)
        assert await value(db, "select embedding is not null from items where id = 0")


@in_row_and_companion
async def test_an_old_result_does_not_survive_a_truncate(
    database_url: str, db: Connection, encoder: GatedEncoder, companion: str | None
) -> None:
    """Before the old result arrives, the TRUNCATE is processed and the key exists again with other content."""
    table = await make_texts(db, MAX_BATCHES_IN_FLIGHT, companion=companion)
    slow = GatedEncoder()
    async with running_ingest(database_url, slow, ingest_batch_rows=1):
        await table.settle_right(encoder)
        slow.close()
        await run(db, "update items set title = 'old'")

        async def all_are_read() -> bool:
            return slow.texts["old"] == MAX_BATCHES_IN_FLIGHT

        await wait_until_async(all_are_read, "the slow sidecar to read all that it can")
        async with running_ingest(database_url, encoder):
            await run(db, "truncate items")

            async def truncate_is_processed() -> bool:
                return await table.count("events", "k1 is null") == 0

            await wait_until_async(truncate_is_processed, "the TRUNCATE to be processed")
            await run(db, "insert into items values (1, 'new')")

            async def new_is_done() -> bool:
                return not await table.wrong(encoder)

            await wait_until_async(new_is_done, "the new content")
        slow.open()
        await table.settle_right(encoder)
    assert not await table.wrong(encoder)

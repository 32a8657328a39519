"""Events whose generation says nothing about the order of contents.

Scans, retries and delays draw generations without a lock on the row, so an edit that is not committed yet may have a
lower one.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from pydantic import SecretStr

from sidecar.batching.encoder import PreparedText
from sidecar.ingest.worker import MAX_BATCHES_IN_FLIGHT
from sidecar.postgres import watches_with_work
from sidecar.postgres.database import Database
from sidecar.postgres.watches import load_watches
from tests.encoders import HashEncoder
from tests.integration.ingest.composition import running_ingest
from tests.integration.ingest.gated_encoder import GatedEncoder
from tests.integration.ingest.items import in_row_and_companion, make_texts
from tests.integration.ingest.watched_table import Connection, run, user, watch
from tests.waiting import wait_until_async


async def make_others(db: Connection) -> None:
    """Creates a second table whose changes can keep a sidecar busy."""
    await run(db, "create table others (id bigint primary key, title text)")
    await run(db, "insert into others select i, 'other' from generate_series(1, %s::int) i", MAX_BATCHES_IN_FLIGHT)
    await watch(db, ["others"], ["title"])


async def busy_with_changes(db: Connection, slow: GatedEncoder) -> None:
    """Blocks the device and fills all slots with changes of other rows, so that no further change is claimed."""
    await run(db, "update others set title = 'busy'")

    async def slots_are_taken() -> bool:
        return slow.texts["busy"] == MAX_BATCHES_IN_FLIGHT

    await wait_until_async(slots_are_taken, "changes in all slots")


@in_row_and_companion
async def test_a_backfill_does_not_overtake_an_edit_that_commits_after_it_read(
    database_url: str, db: Connection, encoder: GatedEncoder, companion: str | None
) -> None:
    table = await make_texts(db, 1, companion=companion)
    async with running_ingest(database_url, encoder), user(database_url, autocommit=False) as editor:
        await table.settle_right(encoder)
        encoder.close()
        await run(editor, "update items set title = 'new'")  # has the lower generation
        await run(db, "select sidecar.reembed('items')")
        await encoder.until_held()  # the backfill has read the old title
        await editor.commit()
        encoder.open()

        await table.settle_right(encoder)


@in_row_and_companion
async def test_a_backfill_that_read_before_an_edit_does_not_write_after_it(
    database_url: str, db: Connection, encoder: GatedEncoder, companion: str | None
) -> None:
    table = await make_texts(db, MAX_BATCHES_IN_FLIGHT, companion=companion)
    await make_others(db)
    slow = GatedEncoder()
    async with (
        running_ingest(database_url, slow, ingest_batch_rows=1),
        user(database_url, autocommit=False) as editor,
    ):
        await table.settle_right(encoder)
        slow.texts.clear()
        slow.close()
        await run(editor, "update items set title = 'new'")
        await run(db, "select sidecar.reembed('items')")

        async def all_are_read() -> bool:
            return sum(slow.texts.values()) == MAX_BATCHES_IN_FLIGHT

        await wait_until_async(all_are_read, "the backfill to read the old titles")
        await busy_with_changes(db, slow)
        await editor.commit()
        async with running_ingest(database_url, encoder):
            await table.become_right(encoder)
            slow.open()
            await table.settle_right(encoder)
    assert not await table.wrong(encoder)


async def test_a_result_read_before_the_row_was_deleted_is_not_written(
    database_url: str, db: Connection, encoder: GatedEncoder
) -> None:
    """Although the delete has the lower generation, its tombstone stays until no such event is in flight."""
    table = await make_texts(db, MAX_BATCHES_IN_FLIGHT, companion="items_embeddings")
    await make_others(db)
    slow = GatedEncoder()
    async with (
        running_ingest(database_url, slow, ingest_batch_rows=1),
        user(database_url, autocommit=False) as editor,
    ):
        await table.settle_right(encoder)
        slow.texts.clear()
        slow.close()
        await run(editor, "delete from items where id = 1")
        await run(db, "select sidecar.reembed('items')")

        async def all_are_read() -> bool:
            return sum(slow.texts.values()) == MAX_BATCHES_IN_FLIGHT

        await wait_until_async(all_are_read, "the backfill to read all rows")
        await busy_with_changes(db, slow)
        await editor.commit()
        async with running_ingest(database_url, encoder):

            async def is_tombstone() -> bool:
                return bool(await table.ledger_hash((1,)) == "tombstone")

            await wait_until_async(is_tombstone, "the tombstone")
            await delete_tombstones(database_url)
            slow.open()
            await table.settle_right(encoder)
    assert not await table.wrong(encoder)


async def delete_tombstones(database_url: str) -> None:
    """Deletes tombstones, as the housekeeper does once a minute."""
    database = Database(SecretStr(database_url))
    await database.open()
    async with database.connection() as connection:
        watch, *_ = await load_watches(connection)
        deleted = await watches_with_work.delete_tombstones(connection, {watch.id: 0})
        assert deleted.trouble == []
    await database.close()


class HoldsBackTheNew(GatedEncoder):
    """Encodes "new" only once it is allowed to."""

    def __init__(self) -> None:
        super().__init__()
        self.may_go_on = threading.Event()

    def encode_texts(self, texts: Sequence[PreparedText]) -> NDArray[np.float32]:
        [new] = HashEncoder.prepare_texts(self, ["new"])
        if any(np.array_equal(text.token_ids, new.token_ids) for text in texts):
            assert self.may_go_on.wait(20), "the test never let it go on"
        return super().encode_texts(texts)


@in_row_and_companion
async def test_waiting_for_an_edit_returns_its_vector_though_a_backfill_has_a_higher_generation(
    database_url: str, db: Connection, companion: str | None
) -> None:
    encoder = HoldsBackTheNew()
    table = await make_texts(db, 1, companion=companion)
    async with (
        running_ingest(database_url, encoder),
        user(database_url, autocommit=False) as editor,
        user(database_url) as waiter,
    ):
        await table.settle_right(encoder)
        encoder.close()
        await run(editor, "update items set title = 'new'")  # has the lower generation
        await run(db, "select sidecar.reembed('items')")
        await encoder.until_held()  # the backfill has read the old title
        await editor.commit()
        call = """call sidecar.wait_embedded('items', '{"id": 1}', timeout_ms => 20000)"""
        waiting = asyncio.create_task(run(waiter, call))
        encoder.open()

        async def old_is_written() -> bool:
            return await table.count("events") == 1

        await wait_until_async(old_is_written, "the backfill to be done")
        try:
            done, _ = await asyncio.wait([waiting], timeout=0.2)  # it checks every 50 ms
            assert not done, "it returned with the old vector"
        finally:
            encoder.may_go_on.set()
            await waiting
        assert not await table.wrong(encoder)

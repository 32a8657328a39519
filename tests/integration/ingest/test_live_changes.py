"""Rows that change while a backfill fills slots, decoders and lanes wait only for what is already running."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sidecar.batching.encoder import PreparedText
from sidecar.batching.job import Lane
from sidecar.ingest.worker import MAX_BATCHES_IN_FLIGHT
from tests.integration.ingest.composition import RunningIngest, running_ingest
from tests.integration.ingest.gated_encoder import GatedEncoder
from tests.integration.ingest.items import in_row_and_companion, make_pictures, make_texts
from tests.integration.ingest.watched_table import Connection, WatchedTable, picture, run, value
from tests.waiting import wait_until_async

BATCH_ROWS, MICRO_BATCH = 40, 8
SETTINGS: dict[str, Any] = {"ingest_batch_rows": BATCH_ROWS, "batch_max_views": MICRO_BATCH}


class OrderedEncoder(GatedEncoder):
    """`batches` lists the texts, or the number of views, of each micro-batch in order."""

    def __init__(self) -> None:
        super().__init__()
        self.batches: list[list[str]] = []
        self._text_of: dict[bytes, str] = {}

    def prepare_texts(self, texts: Sequence[str]) -> list[PreparedText]:
        prepared = super().prepare_texts(texts)
        self._text_of |= {each.token_ids.tobytes(): text for text, each in zip(texts, prepared, strict=True)}
        return prepared

    def encode_texts(self, texts: Sequence[PreparedText]) -> NDArray[np.float32]:
        self.batches.append([self._text_of[text.token_ids.tobytes()] for text in texts])
        return super().encode_texts(texts)

    def encode_views(self, views: NDArray[np.uint8]) -> NDArray[np.float32]:
        self.batches.append([f"{len(views)} views"])
        return super().encode_views(views)

    def place_of(self, text: str) -> int:
        """The number of the micro-batch with this text."""
        return next(number for number, batch in enumerate(self.batches) if text in batch)


def waits(running: RunningIngest, lane: Lane, views: int = 1) -> Callable[[], Awaitable[bool]]:
    async def waits() -> bool:
        return running.ingest._context.embedder._batcher.waiting(lane) >= views

    return waits


async def fill_with_backfill(running: RunningIngest, table: WatchedTable, encoder: GatedEncoder) -> None:
    """Waits until all slots of the backfill are taken and the device is blocked. The gate is closed."""
    await encoder.until_held()

    async def slots_are_taken() -> bool:
        batches = await value(
            table.connection,
            f"select count(distinct lease_token) from sidecar_internal.events_{table.watch_id} where backfill",
        )
        return bool(batches == MAX_BATCHES_IN_FLIGHT and await waits(running, Lane.BACKFILL)())

    await wait_until_async(slots_are_taken, "the backfill to take its slots")


@in_row_and_companion
async def test_a_changed_text_is_in_the_micro_batch_after_the_running_one(
    database_url: str, db: Connection, companion: str | None
) -> None:
    encoder = OrderedEncoder()
    encoder.close()
    table = await make_texts(db, 10 * BATCH_ROWS, companion=companion)
    async with running_ingest(database_url, encoder, **SETTINGS) as running:
        await fill_with_backfill(running, table, encoder)
        begun = len(encoder.batches)
        await run(db, "insert into items values (100000, 'live')")
        await wait_until_async(waits(running, Lane.INGEST), "the change to reach the device's lane")
        encoder.open()
        await table.settle_right(encoder, timeout_s=30)
    assert encoder.place_of("live") == begun


async def test_a_changed_picture_passes_decoders_and_lane_ahead_of_a_backfill(
    database_url: str, db: Connection
) -> None:
    encoder = OrderedEncoder()
    encoder.close()
    table = await make_pictures(db, 200)
    settings = {**SETTINGS, "ingest_queue_views": MICRO_BATCH}  # the others wait for admission
    async with running_ingest(database_url, encoder, pictures=True, **settings) as running:
        await encoder.until_held()
        await wait_until_async(waits(running, Lane.BACKFILL, MICRO_BATCH), "a full lane")
        await run(db, "insert into items values (100000, %s)", picture(100000))
        await wait_until_async(waits(running, Lane.INGEST), "the change to reach the device's lane")
        encoder.open()
        await table.settle_right(encoder, timeout_s=30)


async def test_a_row_that_changes_while_a_backfill_has_it_in_flight_does_not_wait_for_that_batch(
    database_url: str, db: Connection
) -> None:
    encoder = OrderedEncoder()
    encoder.close()
    table = await make_texts(db, 4 * BATCH_ROWS)
    async with running_ingest(database_url, encoder, **SETTINGS) as running:
        await fill_with_backfill(running, table, encoder)
        begun = len(encoder.batches)
        await run(db, "update items set title = 'changed' where id = 20")  # not in the running micro-batch
        await wait_until_async(waits(running, Lane.INGEST), "the change to reach the device's lane")
        encoder.open()
        await table.settle_right(encoder, timeout_s=30)
    assert encoder.place_of("changed") == begun


async def test_suspects_of_a_backfill_leave_the_slots_of_changes_free(database_url: str, db: Connection) -> None:
    encoder = OrderedEncoder()
    table = await make_texts(db, 40)
    async with running_ingest(database_url, encoder, **SETTINGS):
        await table.settle()
        encoder.close()
        await run(
            db,
            f"insert into sidecar_internal.events_{table.watch_id} (k1, backfill, force, attempts) "
            "select i, true, true, 2 from generate_series(1, 40) i",
        )

        async def slots_are_taken() -> bool:
            return await table.count("events", "backfill and lease_until is not null") >= MAX_BATCHES_IN_FLIGHT

        await wait_until_async(slots_are_taken, "suspects in all slots")
        await run(db, "insert into items values (100000, 'live')")

        async def live_is_prepared() -> bool:
            return encoder.texts["live"] == 1

        await wait_until_async(live_is_prepared, "the change to be claimed and read")
        assert await table.count("events", "backfill and lease_until is not null") == MAX_BATCHES_IN_FLIGHT
        encoder.open()
        await table.settle_right(encoder, timeout_s=30)


async def test_a_change_is_written_while_a_backfill_writes_to_the_same_table(
    database_url: str, db: Connection, encoder: GatedEncoder
) -> None:
    table = await make_texts(db, 5)
    async with running_ingest(database_url, encoder) as running:
        await table.settle()
        name = await value(db, "select format('%I.%I', 'public', 'items')")
        async with running.ingest._context.table_locks[
            name, Lane.BACKFILL
        ]:  # as while 256 rows are inserted into an HNSW index
            await run(db, "update items set title = 'new' where id = 3")
            await table.settle_right(encoder)


async def test_a_backfill_makes_progress_beside_an_endless_stream_of_changes(database_url: str, db: Connection) -> None:
    encoder = OrderedEncoder()
    encoder.close()
    table = await make_texts(db, 2 * BATCH_ROWS)
    async with running_ingest(database_url, encoder, **SETTINGS) as running:
        await fill_with_backfill(running, table, encoder)
        await run(db, "insert into items select i, 'live ' || i from generate_series(1000, 3000) i")
        await wait_until_async(waits(running, Lane.INGEST, MICRO_BATCH), "the changes")
        begun = len(encoder.batches)
        encoder.open()
        await table.settle_right(encoder, timeout_s=30)
    live = [any(text.startswith("live") for text in batch) for batch in encoder.batches[begun : begun + 100]]
    assert live.count(False) >= 2, "the backfill starved"
    assert live[0]

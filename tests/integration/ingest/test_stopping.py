"""SIGTERM ends claiming; what is in flight is finished or released in time."""

from __future__ import annotations

import asyncio
import time

import pytest

from tests.integration.ingest.composition import running_ingest
from tests.integration.ingest.gated_encoder import GatedEncoder
from tests.integration.ingest.items import insert_titles, make_texts
from tests.integration.ingest.processes import sidecar_process
from tests.integration.ingest.watched_table import Connection, run, user, value
from tests.waiting import wait_until_async


async def test_sigterm_releases_what_the_device_does_not_finish_in_time(
    database_url: str, db: Connection, encoder: GatedEncoder
) -> None:
    table = await make_texts(db)
    await insert_titles(db, 1, 100)
    async with sidecar_process(database_url, hold="title 50", shutdown_timeout_s=2) as process:
        await process.until_holding()
        began = time.monotonic()
        assert await process.terminate(timeout_s=20) == 0
        assert time.monotonic() - began < 15, "of the 30 s that the device would take"

    assert await table.count("events") > 0
    assert await table.count("events", "lease_until is not null or attempts > 0") == 0
    assert await value(db, "select count(*) from sidecar_internal.sidecars") == 0
    async with running_ingest(database_url, encoder):
        await table.settle_right(encoder)


async def test_a_batch_that_is_nearly_done_is_finished_on_stop(
    database_url: str, db: Connection, encoder: GatedEncoder
) -> None:
    table = await make_texts(db)
    async with running_ingest(database_url, encoder) as running:
        await table.settle()
        encoder.close()
        await insert_titles(db, 1, 10)
        await encoder.until_held()
        stopping = asyncio.create_task(running.stop())
        await asyncio.sleep(0)
        encoder.open()
        await stopping

    assert await table.count("events", "lease_until is not null or attempts > 0") == 0
    assert await value(db, "select count(embedding) from items") > 0


async def test_stopping_with_all_slots_taken_releases_everything(
    database_url: str, db: Connection, encoder: GatedEncoder
) -> None:
    table = await make_texts(db)
    async with running_ingest(database_url, encoder, ingest_batch_rows=1, shutdown_timeout_s=0.4) as running:
        await table.settle()
        encoder.close()
        await insert_titles(db, 1, 10)

        async def four_are_in_flight() -> bool:
            return await table.count("events", "lease_until is not null") == 4

        await wait_until_async(four_are_in_flight, "all slots to be taken")
        await asyncio.wait_for(running.stop(), 5)

        assert await table.count("events", "lease_until is null and attempts = 0") == 10
        encoder.open()


async def test_stopping_while_a_row_is_locked_releases_it(
    database_url: str, db: Connection, encoder: GatedEncoder
) -> None:
    table = await make_texts(db)
    await insert_titles(db, 1, 1)
    async with user(database_url, autocommit=False) as holder:
        await run(holder, "select from items for update")
        async with running_ingest(database_url, encoder, shutdown_timeout_s=0.4) as running:

            async def is_encoded() -> bool:
                return encoder.texts["title 1"] > 0

            await wait_until_async(is_encoded, "the row to be encoded")
            await asyncio.wait_for(running.stop(), 5)
        assert await table.count("events", "lease_until is not null or attempts > 0") == 0


@pytest.mark.parametrize("url", ["postgresql://nobody@127.0.0.1:1/nowhere"])
async def test_stopping_while_the_database_is_down_does_not_wait_for_it(url: str, encoder: GatedEncoder) -> None:
    async with running_ingest(url, encoder) as running:
        await asyncio.sleep(0)
        await asyncio.wait_for(running.stop(), 5)

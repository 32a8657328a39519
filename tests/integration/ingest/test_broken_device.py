"""A device that hangs or is lost ends the process; its rows are released and do not become failures."""

from __future__ import annotations

import asyncio
from typing import Any

from tests.integration.ingest.gated_encoder import GatedEncoder
from tests.integration.ingest.items import insert_titles, make_texts
from tests.integration.ingest.processes import START_S, sidecar_process
from tests.integration.ingest.watched_table import Connection

HASTY: dict[str, Any] = {"device_timeout_s": 0.5, "device_recovery_s": 0.5}


async def test_rows_of_a_hanging_device_are_released_and_done_by_the_next_process(
    database_url: str, db: Connection, encoder: GatedEncoder
) -> None:
    table = await make_texts(db, 400)
    async with sidecar_process(database_url, hold="title 77", **HASTY) as sidecar:
        await sidecar.until_holding()
        assert await asyncio.wait_for(sidecar.process.wait(), START_S) == 1
    assert await table.count("events", "lease_until > now() or attempts > 0") == 0
    assert await table.count("events") > 0
    assert await table.failures() == {}
    async with sidecar_process(database_url):
        await table.settle_right(encoder, timeout_s=START_S)
    assert await table.failures() == {}


async def test_no_row_fails_however_often_the_device_hangs(database_url: str, db: Connection) -> None:
    table = await make_texts(db)
    await insert_titles(db, 77, 77)
    for _ in range(2):
        async with sidecar_process(database_url, hold="title 77", **HASTY) as sidecar:
            await sidecar.until_holding()
            assert await asyncio.wait_for(sidecar.process.wait(), START_S) == 1
    assert await table.count("events") > 0
    assert await table.count("events", "attempts > 0") == 0
    assert await table.failures() == {}

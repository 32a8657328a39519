"""RECALL_INTERVAL_S: a running sidecar measures its indexes, while nothing else is going on."""

from __future__ import annotations

import asyncio

import pytest

from sidecar.concurrency import background
from sidecar.ingest import recall_keeper
from sidecar.ingest.recall_keeper import RecallKeeper
from tests.integration.ingest.composition import running_ingest
from tests.integration.ingest.gated_encoder import GatedEncoder
from tests.integration.ingest.items import make_texts
from tests.integration.ingest.watched_table import Connection, run, user, value
from tests.waiting import wait_until_async

MEASURED = "select ef_search, k, queries, is_current from sidecar.measured_recall order by 1"


async def build_index(db: Connection) -> None:
    """Builds the index now; the sidecar looks for missing ones every few seconds."""
    await run(db, await value(db, "select index_statement from sidecar.status"))


async def until_measured(db: Connection) -> None:
    async def is_measured() -> bool:
        return bool(await run(db, MEASURED))

    await wait_until_async(is_measured, "a measurement", timeout_s=20)


async def test_an_index_is_measured_once_it_is_there(database_url: str, db: Connection, encoder: GatedEncoder) -> None:
    table = await make_texts(db, 60, index="halfvec")
    await run(db, f"alter database {db.info.dbname} set hnsw.ef_search = 64")
    async with running_ingest(database_url, encoder, recall_interval_s=0.1):
        await table.settle_right(encoder)
        await build_index(db)
        await until_measured(db)
    assert await run(db, MEASURED) == [(ef, 10, 50, True) for ef in (40, 64, 100, 200, 400)]
    shown = await run(db, "select recall > 0.9, recall_k, recall_ef_search, recall_at <= now() from sidecar.status")
    assert shown == [(True, 10, 64, True)]


async def test_nothing_is_measured_unless_it_is_asked_for(
    database_url: str, db: Connection, encoder: GatedEncoder
) -> None:
    async with running_ingest(database_url, encoder):
        assert "ingest-recall" not in {task.get_name() for task in asyncio.all_tasks()}


async def test_nothing_is_measured_beside_a_backfill(database_url: str, db: Connection, encoder: GatedEncoder) -> None:
    table = await make_texts(db, 30, index="halfvec")
    async with running_ingest(database_url, encoder) as running:
        keeper = RecallKeeper(running.ingest._context)
        await table.settle_right(encoder)
        await build_index(db)
        encoder.close()
        await run(db, "select sidecar.reembed('items')")
        await encoder.until_held()
        await keeper.measure_one()
        assert await run(db, MEASURED) == []
        encoder.open()
        await table.settle_right(encoder)
        await wait_until_async(lambda: _is_measured_by(keeper, db), "a measurement after the backfill")


async def _is_measured_by(keeper: RecallKeeper, db: Connection) -> bool:
    await keeper.measure_one()
    return len(await run(db, MEASURED)) == 4


async def test_a_measurement_gives_way_to_a_session_that_waits_for_it(
    database_url: str, db: Connection, encoder: GatedEncoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recall_keeper, "MAX_QUERIES", 100_000)
    table = await make_texts(db, 1000, index="halfvec")
    async with running_ingest(database_url, encoder) as running, user(database_url, autocommit=False) as migration:
        await table.settle_right(encoder)
        await build_index(db)
        keeper = RecallKeeper(running.ingest._context)
        async with background(keeper.measure_one(), "measurement") as measurement:
            await wait_until_async(lambda: _is_measuring(db), "a measurement")
            await run(migration, "set lock_timeout = '5s'")
            await run(migration, "lock table items in access exclusive mode")
            await measurement
    assert await run(db, MEASURED) == []


async def _is_measuring(db: Connection) -> bool:
    return bool(
        await value(
            db, "select count(*) from pg_stat_activity where query like '%sidecar.recall(%' and pid <> pg_backend_pid()"
        )
    )

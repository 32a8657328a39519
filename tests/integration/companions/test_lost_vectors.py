"""Vectors that users delete from a companion come back by themselves."""

from __future__ import annotations

from tests.integration.ingest.composition import running_ingest
from tests.integration.ingest.gated_encoder import GatedEncoder
from tests.integration.ingest.items import make_texts
from tests.integration.ingest.watched_table import Connection, run, value


async def test_deleted_ones_come_back(database_url: str, db: Connection, encoder: GatedEncoder) -> None:
    table = await make_texts(db, 10, companion="vectors")
    async with running_ingest(database_url, encoder):
        await table.settle_right(encoder)
        await run(db, "delete from vectors where id <= 3")
        await table.settle_right(encoder)
    assert await value(db, "select count(*) from vectors") == 10
    assert encoder.texts["title 4"] == 1


async def test_what_the_sidecar_deletes_enqueues_nothing(
    database_url: str, db: Connection, encoder: GatedEncoder
) -> None:
    table = await make_texts(db, 3, companion="vectors")
    async with running_ingest(database_url, encoder):
        await table.settle_right(encoder)
        before = await value(db, "select last_value from sidecar.generation")
        await run(db, "update items set title = null where id = 1")
        await table.settle_right(encoder)
    assert await value(db, "select last_value from sidecar.generation") == before + 1


async def test_truncated_ones_come_back_with_the_next_sweep(
    database_url: str, db: Connection, encoder: GatedEncoder
) -> None:
    table = await make_texts(db, 3, companion="vectors")
    async with running_ingest(database_url, encoder, sweep_interval_s=1):
        await table.settle_right(encoder)
        await run(db, "truncate vectors")
        await table.become_right(encoder)


async def test_a_watch_that_has_gone_does_not_fail_a_delete(db: Connection) -> None:
    """The trigger asks for the watch each time; what is left of it must never stand in a user's way."""
    await make_texts(db, 3, companion="vectors")
    await run(db, "insert into vectors select 1, array_fill(1, array[16])::vector")
    await run(db, "drop table sidecar.events_1")
    await run(db, "delete from vectors")
    assert await value(db, "select count(*) from sidecar.breakages") == 1
    await run(db, "update sidecar.watches set unwatched_at = now()")
    await run(db, "insert into vectors select 1, array_fill(1, array[16])::vector")
    await run(db, "delete from vectors")
    assert await value(db, "select count(*) from vectors") == 0

"""Vectors that users delete from a companion are embedded again."""

from __future__ import annotations

from tests.integration.ingest.composition import running_ingest
from tests.integration.ingest.gated_encoder import GatedEncoder
from tests.integration.ingest.items import make_texts
from tests.integration.ingest.watched_table import Connection, run, user, value, watch
from tests.waiting import wait_until_async


async def test_deleted_vectors_are_embedded_again(database_url: str, db: Connection, encoder: GatedEncoder) -> None:
    table = await make_texts(db, 10, companion="vectors")
    async with running_ingest(database_url, encoder):
        await table.settle_right(encoder)
        await run(db, "delete from vectors where id <= 3")
        await table.settle_right(encoder)
    assert await value(db, "select count(*) from vectors") == 10
    assert encoder.texts["title 4"] == 1


async def test_deletes_by_the_sidecar_enqueue_nothing(database_url: str, db: Connection, encoder: GatedEncoder) -> None:
    table = await make_texts(db, 3, companion="vectors")
    async with running_ingest(database_url, encoder):
        await table.settle_right(encoder)
        before = await value(db, "select last_value from sidecar_internal.generation")
        await run(db, "update items set title = null where id = 1")
        await table.settle_right(encoder)
    assert await value(db, "select last_value from sidecar_internal.generation") == before + 1


STATUS = "select state, embedded, pending, coverage from sidecar.status"


async def test_truncated_vectors_are_embedded_again_at_once_and_status_counts_them_as_pending(
    database_url: str, db: Connection, encoder: GatedEncoder
) -> None:
    table = await make_texts(db, 30, companion="vectors")
    async with running_ingest(database_url, encoder):
        await table.settle_right(encoder)
        encoder.close()
        await run(db, "truncate vectors")
        await encoder.until_held()
        [(state, embedded, pending, coverage)] = await run(db, STATUS)
        assert (embedded, pending, coverage) == (0, 30, 0)
        assert state != "up to date"
        encoder.open()
        await table.settle_right(encoder)
    await run(db, "truncate vectors")
    [(_, embedded, pending, coverage)] = await run(db, STATUS)  # no sidecar is running
    assert (embedded, pending, coverage) == (0, 30, 0)
    assert await table.count("events") == 1, "however many vectors there were"
    assert max(encoder.texts.values()) == 2


async def test_a_truncate_of_the_companion_that_is_rolled_back_has_no_effect(
    database_url: str, db: Connection, encoder: GatedEncoder
) -> None:
    table = await make_texts(db, 3, companion="vectors")
    async with running_ingest(database_url, encoder), user(database_url, autocommit=False) as other:
        await table.settle_right(encoder)
        await run(other, "truncate vectors")
        await other.rollback()
        await run(db, "insert into items values (4, 'title 4')")
        await table.settle_right(encoder)
    assert max(encoder.texts.values()) == 1


async def test_edits_concurrent_with_a_truncate_of_the_companion_are_not_lost(
    database_url: str, db: Connection, encoder: GatedEncoder
) -> None:
    table = await make_texts(db, 60, companion="vectors")
    async with running_ingest(database_url, encoder, ingest_batch_rows=5):
        await table.settle_right(encoder)
        for i in range(6):
            await run(db, "update items set title = %s where id %% 3 = 0", f"round {i}")
            await run(db, "truncate vectors")
            await run(db, "update items set title = %s where id %% 3 = 1", f"other {i}")
            await run(db, "delete from items where id = %s", 60 - i)
        await table.settle_right(encoder)


async def test_a_delete_of_all_vectors_makes_every_row_pending_and_all_are_embedded_again(
    database_url: str, db: Connection, encoder: GatedEncoder
) -> None:
    table = await make_texts(db, 30, companion="vectors")
    async with running_ingest(database_url, encoder):
        await table.settle_right(encoder)
    await run(db, "delete from vectors")
    [(state, _, pending, _)] = await run(db, STATUS)
    assert pending == 30
    async with running_ingest(database_url, encoder):
        await table.settle_right(encoder)
    assert state != "up to date"


async def test_a_dropped_companion_has_no_coverage_and_is_filled_after_watch_recreates_it(
    database_url: str, db: Connection, encoder: GatedEncoder
) -> None:
    table = await make_texts(db, 30, companion="vectors")
    async with running_ingest(database_url, encoder):
        await table.settle_right(encoder)
        await run(db, "drop table vectors cascade")
        [(state, embedded, _, coverage)] = await run(db, STATUS)
        assert "the companion table is gone" in state
        assert (embedded, coverage) == (0, 0)
        table = await watch(db, ["items"], ["title"], companion="vectors", replace=True)
        await table.settle_right(encoder)
    assert max(encoder.texts.values()) == 2


async def test_a_truncate_of_the_watched_table_is_pending_until_the_ledger_is_empty(
    database_url: str, db: Connection, encoder: GatedEncoder
) -> None:
    table = await make_texts(db, 30, companion="vectors")
    async with running_ingest(database_url, encoder):
        await table.settle_right(encoder)
        await run(db, "select sidecar.pause('items')")
        await run(db, "truncate items")
        assert (await run(db, "select pending from sidecar.status")) == [(1,)]
        await run(db, "select sidecar.resume('items')")
        await table.settle_right(encoder)
    assert await table.count("ledger") == 0
    assert (await run(db, "select pending, embedded from sidecar.status")) == [(0, 0)]


async def test_a_vector_locked_while_a_truncate_is_cleared_is_deleted_after_the_lock_is_released(
    database_url: str, db: Connection, encoder: GatedEncoder
) -> None:
    table = await make_texts(db, 30, companion="vectors")
    async with running_ingest(database_url, encoder), user(database_url, autocommit=False) as holder:
        await table.settle_right(encoder)
        await run(holder, "select from vectors where id = 7 for update")
        await run(db, "truncate items")

        async def one_is_left() -> bool:
            return await table.count("ledger") == 1

        await wait_until_async(one_is_left, "all others to be cleared")
        assert await value(db, "select count(*) from vectors") == 1
        await holder.commit()
        await table.settle_right(encoder)
    assert await table.count("ledger") == 0


async def test_deletes_from_the_companion_succeed_after_the_watch_is_broken_or_ended(db: Connection) -> None:
    """The trigger looks up the watch each time; remains of a watch must never fail a user's statement."""
    await make_texts(db, 3, companion="vectors")
    await run(db, "insert into vectors select 1, array_fill(1, array[16])::vector")
    await run(db, "drop table sidecar_internal.events_1")
    await run(db, "delete from vectors")
    assert await value(db, "select count(*) from sidecar_internal.breakages") == 1
    await run(db, "update sidecar_internal.watches set unwatched_at = now()")
    await run(db, "insert into vectors select 1, array_fill(1, array[16])::vector")
    await run(db, "delete from vectors")
    assert await value(db, "select count(*) from vectors") == 0

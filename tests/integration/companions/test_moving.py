"""Vectors move from the row to a companion and back without being encoded again."""

from __future__ import annotations

from sidecar.postgres import scans
from tests.integration.companions.moving import each_way, embed_all, move
from tests.integration.ingest.composition import running_ingest
from tests.integration.ingest.gated_encoder import GatedEncoder
from tests.integration.ingest.items import insert_titles, make_texts
from tests.integration.ingest.watched_table import Connection, run, user, value
from tests.waiting import wait_until_async


@each_way
async def test_a_move_encodes_nothing(
    database_url: str, db: Connection, encoder: GatedEncoder, before: str | None, after: str | None
) -> None:
    rows = 2 * scans.MOVE_PAGE_ROWS + 7
    table = await make_texts(db, rows, companion=before)
    await run(db, "insert into items values (5001, null), (5002, '')")
    await embed_all(database_url, table, encoder)
    table = await move(db, after)
    async with running_ingest(database_url, encoder):
        await table.settle_right(encoder)
        assert encoder.texts == {}
        assert await value(db, "select embedded from sidecar.status_exact('items')") == rows
        await insert_titles(db, 6000, 6003)
        await run(db, "update items set title = 'new' where id = 1")
        await run(db, "delete from items where id = 2")
        await table.settle_right(encoder)
    assert sum(encoder.texts.values()) == 5
    assert await table.count("former") == 0
    assert sum(v is not None for v in (await table.vectors()).values()) == rows + 4 - 1


@each_way
async def test_rows_changed_during_a_move_are_encoded_and_no_others(
    database_url: str, db: Connection, encoder: GatedEncoder, before: str | None, after: str | None
) -> None:
    """Also rows that change after the move began and before they are moved."""
    table = await make_texts(db, 50, companion=before)
    await embed_all(database_url, table, encoder)
    await run(db, "select sidecar.unwatch('items')")
    await run(db, "update items set title = 'unseen' where id = 1")
    await run(db, "delete from items where id = 2")
    table = await move(db, after)
    await run(db, "update items set title = 'seen' where id = 3")
    await run(db, "update items set title = null where id = 4")
    await run(db, "update items set id = 100 where id = 5")
    await run(db, "delete from items where id = 6")
    async with running_ingest(database_url, encoder):
        await table.settle_right(encoder)
    assert set(encoder.texts) == {"unseen", "seen", "title 5"}


@each_way
async def test_a_move_does_not_overwrite_newer_results_in_the_new_vector_table(
    database_url: str, db: Connection, encoder: GatedEncoder, before: str | None, after: str | None
) -> None:
    """One row was emptied, and completed, before its old vector was moved."""
    table = await make_texts(db, 10, companion=before)
    await embed_all(database_url, table, encoder)
    table = await move(db, after)
    if after is None:
        await run(db, "set sidecar.writer = on")
        await run(db, "update items set embedding = null")
    await run(db, "insert into sidecar_internal.ledger_1 (k1, gen, content_hash) values (1, 1, 'empty')")
    assert await value(db, "select sidecar_internal.move_page(1, 100)") == 10
    assert {key for (key,), vector in (await table.vectors()).items() if vector is not None} == {
        str(i) for i in range(2, 11)
    }
    assert await table.ledger_hash((1,)) == "empty"


async def test_search_reads_the_new_vector_table_at_once_and_status_shows_its_coverage(
    database_url: str, db: Connection, encoder: GatedEncoder
) -> None:
    table = await make_texts(db, 20)
    await embed_all(database_url, table, encoder)
    query = "select query, embedded, pending, coverage from sidecar.status"
    assert "order by embedding" in (await run(db, query))[0][0]
    table = await move(db, "vectors")
    [(statement, embedded, pending, coverage)] = await run(db, query)
    assert "from public.vectors e join public.items t" in statement
    assert (embedded, pending, coverage) == (0, 20, 0)
    heartbeat = "insert into sidecar_internal.sidecars values (gen_random_uuid(), 'h', 1, 'v', 'm', %s, %s)"
    await run(db, heartbeat, encoder.fingerprint, encoder.dimensions)
    assert await value(db, "select state from sidecar.status") == "moving vectors"
    await run(db, f"prepare nearest as {statement}")
    wanted = str(encoder.vector_of("title 7").tolist())
    assert await run(db, f"execute nearest ('{wanted}')") == []
    async with running_ingest(database_url, encoder):
        await table.settle_right(encoder)
    assert (await run(db, f"execute nearest ('{wanted}')"))[0][0] == 7
    assert (await run(db, query))[0][1:] == (20, 0, 100)


async def test_moving_back_before_the_first_move_is_done(
    database_url: str, db: Connection, encoder: GatedEncoder
) -> None:
    table = await make_texts(db, 30)
    await embed_all(database_url, table, encoder)
    await move(db, "vectors")
    await run(db, "select sidecar_internal.move_page(1, 10)")
    table = await move(db, None)
    async with running_ingest(database_url, encoder):
        await table.settle_right(encoder)
    assert encoder.texts == {}
    assert await value(db, "select to_regclass('sidecar_internal.former_1')") is None


async def test_moving_back_after_the_first_move_replaces_stale_vectors(
    database_url: str, db: Connection, encoder: GatedEncoder
) -> None:
    """The column still holds the vectors from before the first move."""
    table = await make_texts(db, 10)
    await embed_all(database_url, table, encoder)
    table = await move(db, "vectors")
    async with running_ingest(database_url, encoder):
        await table.settle_right(encoder)
        await run(db, "update items set title = 'changed' where id = 1")
        await run(db, "update items set title = null where id = 2")
        await table.settle_right(encoder)
        encoder.texts.clear()
        table = await move(db, None)
        await table.settle_right(encoder)
    assert encoder.texts == {}


async def test_dropping_the_former_vector_table_before_the_move_is_done_encodes_all_rows(
    database_url: str, db: Connection, encoder: GatedEncoder
) -> None:
    table = await make_texts(db, 10)
    await embed_all(database_url, table, encoder)
    table = await move(db, "vectors")
    await run(db, "alter table items drop column embedding")
    async with running_ingest(database_url, encoder):
        await table.settle_right(encoder)
    assert sum(encoder.texts.values()) == 10


async def test_the_former_vector_table_can_be_dropped_after_the_move(
    database_url: str, db: Connection, encoder: GatedEncoder
) -> None:
    heard: list[str] = []
    db.add_notice_handler(lambda d: heard.append(f"{d.message_primary} {d.message_hint}"))
    table = await make_texts(db, 10)
    await embed_all(database_url, table, encoder)
    table = await move(db, "vectors")
    [said] = [said for said in heard if " are moving from " in said]
    async with running_ingest(database_url, encoder):
        await table.settle_right(encoder)
        await run(db, said.rpartition(": ")[2])
        await insert_titles(db, 100, 101)
        await table.settle_right(encoder)
        table = await move(db, None)
        await table.settle_right(encoder)
        await run(db, "drop table vectors cascade")
        await insert_titles(db, 200, 201)
        await table.settle_right(encoder)
    assert sum(encoder.texts.values()) == 4


async def test_a_locked_row_does_not_delay_the_move_of_other_rows(
    database_url: str, db: Connection, encoder: GatedEncoder
) -> None:
    table = await make_texts(db, 20, companion="vectors")
    await embed_all(database_url, table, encoder)
    table = await move(db, None)
    async with user(database_url, autocommit=False) as locker:
        await run(locker, "select from items where id = 5 for update")
        async with running_ingest(database_url, encoder):

            async def others_are_there() -> bool:
                return bool(await value(db, "select count(embedding) = 19 from items"))

            await wait_until_async(others_are_there, "the other vectors")
            await locker.rollback()
            await table.settle_right(encoder)


async def test_a_crash_during_a_move_loses_nothing(database_url: str, db: Connection, encoder: GatedEncoder) -> None:
    table = await make_texts(db, 3 * scans.MOVE_PAGE_ROWS)
    await embed_all(database_url, table, encoder)
    table = await move(db, "vectors")
    async with running_ingest(database_url, encoder) as running:

        async def is_under_way() -> bool:
            return bool(await value(db, "select count(*) > 0 from vectors"))

        await wait_until_async(is_under_way, "the first page")
        await running.crash()
    async with running_ingest(database_url, encoder):
        await table.settle_right(encoder)
    assert encoder.texts == {}


async def test_a_row_that_rejects_its_vector_does_not_stop_the_move_of_other_rows(
    database_url: str, db: Connection, encoder: GatedEncoder
) -> None:
    rows = scans.MOVE_PAGE_ROWS + 50
    table = await make_texts(db, rows, companion="vectors")
    await embed_all(database_url, table, encoder)
    await run(db, "alter table items add constraint fine check (id <> 33 or price > 0) not valid")
    table = await move(db, None)
    async with running_ingest(database_url, encoder):
        await table.settle()
        assert {key: reason for key, (reason, _) in (await table.failures()).items()} == {
            '{"id": "33"}': "write_rejected"
        }
        assert set(encoder.texts) == {"title 33"}
        assert await value(db, "select count(embedding) from items") == rows - 1

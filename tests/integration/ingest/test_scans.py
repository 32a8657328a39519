"""Backfills, sweeps and tombstones."""

from __future__ import annotations

import pytest

from sidecar.ingest import housekeeper
from tests.integration.ingest.composition import running_ingest
from tests.integration.ingest.gated_encoder import GatedEncoder
from tests.integration.ingest.items import in_row_and_companion, insert_titles, make_texts
from tests.integration.ingest.watched_table import Connection, WatchedTable, run, value, watch
from tests.waiting import wait_until_async

BATCH = 20


async def make_sweep_due(db: Connection, table: WatchedTable) -> None:
    await run(
        db,
        "insert into sidecar_internal.scans (watch_id, purpose, finished_at) values (%s, 'sweep', now() - "
        "interval '2 h') "
        "on conflict (watch_id, purpose) do update set finished_at = excluded.finished_at",
        table.watch_id,
    )


async def until_swept(db: Connection) -> None:
    async def is_swept() -> bool:
        return bool(
            await value(
                db,
                "select exists (select from sidecar_internal.scans where purpose = 'sweep' "
                "and finished_at > now() - interval '1 h')",
            )
        )

    await wait_until_async(is_swept, "the sweep to end")


async def test_a_backfill_continues_where_a_stopped_one_was(
    database_url: str, db: Connection, encoder: GatedEncoder
) -> None:
    table = await make_texts(db, 1000)
    async with running_ingest(database_url, encoder, ingest_batch_rows=BATCH):

        async def some_are_done() -> bool:
            return bool(await value(db, "select count(embedding) > 100 from items"))

        await wait_until_async(some_are_done, "a part of the backfill")
    last_key, finished = (
        await run(db, "select last_key[1]::int, finished_at from sidecar_internal.scans where purpose = 'backfill'")
    )[0]
    assert 100 <= last_key < 1000
    assert finished is None
    before = encoder.texts.copy()
    encoder.texts.clear()
    async with running_ingest(database_url, encoder, ingest_batch_rows=BATCH):
        await table.settle_right(encoder)

    assert (before + encoder.texts) == {f"title {i}": 1 for i in range(1, 1001)}


async def test_a_scan_over_a_key_of_two_columns_finds_every_row_once(
    database_url: str, db: Connection, encoder: GatedEncoder
) -> None:
    await run(db, "create table items (shop int, nr int, title text, primary key (shop, nr))")
    await run(db, "insert into items select i, 1000 - i, 'title ' || i from generate_series(1, 300) i")
    table = await watch(db, ["items"], ["title"], ["shop", "nr"])
    before = await value(db, "select last_value from sidecar_internal.generation")
    async with running_ingest(database_url, encoder, ingest_batch_rows=BATCH):
        await table.settle_right(encoder)
    assert await value(db, "select last_value from sidecar_internal.generation") - before <= 301


async def test_a_backfill_never_runs_far_ahead_of_the_worker(
    database_url: str, db: Connection, encoder: GatedEncoder
) -> None:
    table = await make_texts(db, 1000)
    async with running_ingest(database_url, encoder, ingest_batch_rows=BATCH):
        encoder.close()
        await encoder.until_held()

        async def is_full() -> bool:
            return await table.count("events") == 4 * BATCH

        await wait_until_async(is_full, "four batches to be outstanding")
        await insert_titles(db, 2001, 2001)
        assert await table.count("events", "backfill") == 4 * BATCH
        encoder.open()
        await table.settle_right(encoder)


async def test_live_changes_do_not_wait_for_the_backfill(
    database_url: str, db: Connection, encoder: GatedEncoder
) -> None:
    table = await make_texts(db, 2000)
    async with running_ingest(database_url, encoder, ingest_batch_rows=BATCH):
        encoder.close()
        await encoder.until_held()
        await insert_titles(db, 5001, 5001)
        encoder.open()

        async def live_is_done() -> bool:
            return bool(await value(db, "select embedding is not null from items where id = 5001"))

        await wait_until_async(live_is_done, "the live row")
        assert await value(db, "select count(embedding) from items") < 1500
        await table.settle_right(encoder)


async def test_rows_inserted_behind_and_before_the_cursor_are_embedded_once(
    database_url: str, db: Connection, encoder: GatedEncoder
) -> None:
    table = await make_texts(db)
    await insert_titles(db, 100, 400)
    await run(db, "select sidecar.reembed('items')")
    async with running_ingest(database_url, encoder, ingest_batch_rows=BATCH):
        await insert_titles(db, 1, 50)
        await insert_titles(db, 500, 550)
        await run(db, "delete from items where id between 300 and 320")
        await run(db, "update items set id = -id where id between 330 and 340")
        await table.settle_right(encoder)


@in_row_and_companion
async def test_the_sweep_finds_what_was_written_with_the_triggers_off(
    database_url: str, db: Connection, encoder: GatedEncoder, companion: str | None
) -> None:
    table = await make_texts(db, 10, companion=companion)
    home = companion or "items"
    async with running_ingest(database_url, encoder):
        await table.settle_right(encoder)
    await run(db, "set session_replication_role = replica")
    await run(db, "insert into items values (11, 'unseen')")
    await run(db, "delete from items where id in (1, 2)")
    await run(
        db, f"update {home} set embedding = null where id = 3" if not companion else f"delete from {home} where id = 3"
    )
    await run(db, "update items set id = 100 where id = 4")
    await run(db, "reset session_replication_role")
    assert await table.count("events") == 0
    await make_sweep_due(db, table)
    async with running_ingest(database_url, encoder):
        await until_swept(db)
        await table.settle_right(encoder)

    assert await table.ledger_hash((1,)) == "tombstone"


async def test_a_sweep_does_not_enqueue_rows_that_already_wait(
    database_url: str, db: Connection, encoder: GatedEncoder
) -> None:
    table = await make_texts(db, 500)
    await make_sweep_due(db, table)
    async with running_ingest(database_url, encoder, ingest_batch_rows=BATCH):
        encoder.close()
        await encoder.until_held()

        async def is_full() -> bool:
            return await table.count("events") == 4 * BATCH

        await wait_until_async(is_full, "four batches to be outstanding")
        await insert_titles(db, 2001, 2001)
        encoder.open()
        await until_swept(db)
        await table.settle_right(encoder)
    assert max(encoder.texts.values()) == 1


async def test_the_sweep_repeats_after_its_interval(
    database_url: str, db: Connection, encoder: GatedEncoder, caplog: pytest.LogCaptureFixture
) -> None:
    table = await make_texts(db, 1)
    async with running_ingest(database_url, encoder, sweep_interval_s=1):
        await table.settle_right(encoder)
        await run(db, "set session_replication_role = replica")
        await run(db, "insert into items values (2, 'unseen')")
        await table.become_right(encoder)
    assert "the sweep of public.items.embedding found rows that no event reported: 1" in caplog.messages


async def test_the_tombstones_of_a_mass_deletion_go_round_after_round(
    database_url: str, db: Connection, encoder: GatedEncoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(housekeeper, "INTERVAL_S", 0.1)
    table = await make_texts(db, 10)
    entries = f"insert into sidecar_internal.ledger_{table.watch_id} (k1, gen)"
    await run(db, f"{entries} select i, i from generate_series(1001, 12000) i")
    async with running_ingest(database_url, encoder):

        async def are_gone() -> bool:
            return await table.count("ledger", "content_hash is null") == 0

        await wait_until_async(are_gone, "all tombstones to go")


@in_row_and_companion
async def test_tombstones_are_deleted_when_no_older_event_is_in_flight(
    database_url: str, db: Connection, encoder: GatedEncoder, companion: str | None
) -> None:
    table = await make_texts(db, 3, companion=companion)
    async with running_ingest(database_url, encoder):
        await table.settle_right(encoder)
    await run(
        db,
        f"insert into sidecar_internal.events_{table.watch_id} (k1, lease_until, lease_token) "
        "values (3, now() + interval '1 min', gen_random_uuid())",
    )
    await run(db, "delete from items where id < 3")
    async with running_ingest(database_url, encoder):

        async def are_tombstones() -> bool:
            return [await table.ledger_hash((key,)) for key in (1, 2)] == ["tombstone"] * 2

        await wait_until_async(are_tombstones, "the tombstones")
    async with running_ingest(database_url, encoder):  # the first round deletes tombstones
        await insert_titles(db, 10, 10)
        await table.become_right(encoder)
        assert await are_tombstones(), "an older event was in flight"
        await table.age_leases()
        await table.settle_right(encoder)
    async with running_ingest(database_url, encoder):

        async def are_gone() -> bool:
            return [await table.ledger_hash((key,)) for key in (1, 2)] == [None] * 2

        await wait_until_async(are_gone, "the tombstones to go")

"""Vectors that are stored as halfvec follow their rows as others do."""

from __future__ import annotations

from dataclasses import replace

from tests.integration.ingest.composition import running_ingest
from tests.integration.ingest.gated_encoder import GatedEncoder
from tests.integration.ingest.items import in_row_and_companion, insert_titles, make_texts
from tests.integration.ingest.watched_table import Connection, run, value
from tests.waiting import wait_until_async


@in_row_and_companion
async def test_halves_are_the_rounded_numbers_of_the_model_whatever_happens_to_their_row(
    database_url: str, db: Connection, encoder: GatedEncoder, companion: str | None
) -> None:
    table = await make_texts(db, 3, companion=companion, storage="halfvec")
    home = companion or "items"
    async with running_ingest(database_url, encoder):
        await table.settle_right(encoder)
        assert await value(db, f"select pg_typeof(embedding)::text from {home} limit 1") == "halfvec"
        for statement in (
            "update items set title = 'new' where id = 1",
            "update items set title = null where id = 2",
            "update items set id = 30 where id = 3",
            f"update {home} set embedding = '[{','.join(['0.5'] * 16)}]' where id = 1",
            "truncate items",
            "insert into items values (1, 'after')",
        ):
            await run(db, statement)
            await table.settle_right(encoder)


@in_row_and_companion
async def test_stored_halves_are_recognised_and_not_computed_again(
    database_url: str, db: Connection, encoder: GatedEncoder, companion: str | None
) -> None:
    """By the backfill of a watch that is started again, by verify, and by the sweep."""
    table = await make_texts(db, 5, companion=companion, storage="halfvec")
    async with running_ingest(database_url, encoder):
        await table.settle_right(encoder)
        encoder.texts.clear()
        await run(db, "select sidecar.unwatch('items')")
        again = await make_again(db, companion)
        assert again == table.watch_id
        await table.settle_right(encoder)
        await run(db, "select sidecar.verify('items')")

        async def is_verified() -> bool:
            return bool(await value(db, "select finished_at is not null from sidecar.scans where purpose = 'verify'"))

        await wait_until_async(is_verified, "the verification")
        assert await value(db, "select found from sidecar.scans where purpose = 'verify'") == 0
        await insert_titles(db, 6, 6)
        await table.settle_right(encoder)
    assert set(encoder.texts) == {"title 6"}


async def make_again(db: Connection, companion: str | None) -> int:
    watch = "select sidecar.watch('items', 'title', target => 'embedding', dimensions => 16, index => 'none'"
    watch_id: int = await value(db, f"{watch}, companion => %s)", companion)
    return watch_id


async def test_an_overwritten_half_is_found_by_doctor(database_url: str, db: Connection, encoder: GatedEncoder) -> None:
    table = await make_texts(db, 5, storage="halfvec")
    async with running_ingest(database_url, encoder):
        await table.settle_right(encoder)
    count = "select (sidecar_internal.count_foreign_vectors(w, 100)).* from sidecar_internal.watches w"
    assert await run(db, count) == [(5, 0)]
    await run(db, "set session_replication_role = replica")
    await run(db, "update items set embedding = '[1,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0]' where id = 1")
    assert await run(db, count) == [(5, 1)]


@in_row_and_companion
async def test_a_column_that_changes_its_type_under_a_running_sidecar_is_written_as_it_is_now(
    database_url: str, db: Connection, encoder: GatedEncoder, companion: str | None
) -> None:
    table = await make_texts(db, 3, companion=companion)
    async with running_ingest(database_url, encoder):
        await table.settle_right(encoder)
        async with db.transaction():
            await run(db, "select sidecar.unwatch('items')")
            home = companion or "items"
            await run(db, f"alter table {home} alter column embedding type halfvec(16)")
            await make_again(db, companion)
        await insert_titles(db, 4, 4)
        await replace(table, storage="halfvec").settle_right(encoder)

"""Rows that are locked by a user's transaction when their vector is to be written."""

from __future__ import annotations

import asyncio

import psycopg
import pytest

from sidecar.ingest.context import MAX_ROW_WAITS
from sidecar.ingest.decision import MAX_ATTEMPTS
from sidecar.ingest.pacing import FIRST_CLAIM_ROWS
from sidecar.ingest.worker import MAX_BATCHES_IN_FLIGHT, MAX_LOCKED_ROWS
from tests.integration.ingest.composition import running_ingest
from tests.integration.ingest.gated_encoder import GatedEncoder
from tests.integration.ingest.items import in_row_and_companion, insert_titles, make_texts
from tests.integration.ingest.watched_table import Connection, run, user, value, watch
from tests.waiting import wait_until_async

WAITING = """
    select count(*) from pg_stat_activity
    where datname = current_database() and application_name = 'sidecar' and wait_event_type = 'Lock'
"""


async def test_a_row_that_stays_locked_holds_up_no_other_and_is_encoded_once(
    database_url: str, db: Connection, encoder: GatedEncoder
) -> None:
    table = await make_texts(db, 300)
    async with running_ingest(database_url, encoder), user(database_url, autocommit=False) as holder:
        await run(holder, "select from items where id = 7 for update")

        async def only_one_is_left() -> bool:
            return await table.count("events") == 1

        await wait_until_async(only_one_is_left, "the other 299 rows")
        await run(db, "update items set title = 'new' where id <> 7")
        await wait_until_async(only_one_is_left, "the other 299 rows again")
        await holder.commit()

        await table.settle_right(encoder)
    assert encoder.texts["title 7"] == 1


async def test_rows_that_are_all_locked_leave_connections_for_other_tables(
    database_url: str, db: Connection, encoder: GatedEncoder
) -> None:
    table = await make_texts(db)
    await run(db, "create table others (id bigint primary key, title text)")
    others_id = await value(
        db, "select sidecar.watch('others', source => 'title', target => 'v', dimensions => 16, index => 'none')"
    )
    async with (
        running_ingest(database_url, encoder, ingest_batch_rows=20),
        user(database_url, autocommit=False) as holder,
    ):
        await table.settle()
        encoder.close()
        await insert_titles(db, 1, 700)
        await run(holder, "update items set price = 1")
        encoder.open()

        async def all_are_locked() -> bool:
            return await table.count("events", "lease_until is not null") == 700 and await value(db, WAITING) > 0

        await wait_until_async(all_are_locked, "all rows to wait for their user")
        for i in range(20):
            await run(db, "insert into others values (%s, 'other')", i)

            async def others_are_done() -> bool:
                assert await value(db, WAITING) <= MAX_ROW_WAITS
                return not await value(db, "select exists (select from others where v is null)")

            await wait_until_async(others_are_done, "the other table", timeout_s=15)
        await holder.commit()

        await table.settle_right(encoder, timeout_s=30)
    assert others_id != table.watch_id


async def test_rows_that_stay_locked_for_long_are_rescheduled_and_never_fail(
    database_url: str, db: Connection, encoder: GatedEncoder
) -> None:
    more = 6  # than may wait in the background: they are rescheduled at once
    table = await make_texts(db)
    async with running_ingest(database_url, encoder), user(database_url, autocommit=False) as holder:
        await table.settle()
        encoder.close()
        await insert_titles(db, 1, MAX_LOCKED_ROWS + more)
        await run(holder, "update items set price = 1")
        encoder.open()

        async def the_rest_is_delayed() -> bool:
            return await table.count("delayed", "run_at > now()") >= more

        for _ in range(MAX_ATTEMPTS + 1):
            await wait_until_async(the_rest_is_delayed, "rows to be rescheduled")
            await table.age_delays()
        await holder.commit()
        await table.settle(timeout_s=30)

    assert await table.failures() == {}
    assert await table.wrong(encoder) == []


async def test_a_table_that_is_locked_for_long_does_not_hold_up_the_others(
    database_url: str, db: Connection, encoder: GatedEncoder, caplog: pytest.LogCaptureFixture
) -> None:
    """As by an ALTER TABLE that rewrites it."""
    table = await make_texts(db)
    await run(db, "create table others (id bigint primary key, title text)")
    others = await watch(db, ["others"], ["title"])
    async with running_ingest(database_url, encoder), user(database_url, autocommit=False) as holder:
        await table.settle()
        await insert_titles(holder, 1, 300)
        encoder.close()
        await holder.commit()

        async def all_slots_are_taken() -> bool:
            return sum(encoder.texts.values()) >= MAX_BATCHES_IN_FLIGHT * FIRST_CLAIM_ROWS

        await wait_until_async(all_slots_are_taken, "all slots to be taken")
        await run(holder, "lock table items")
        encoder.open()

        for i in range(10):
            await run(db, "insert into others values (%s, 'other')", i)
            await others.settle_right(encoder, timeout_s=10)
        assert caplog.text.count("is locked") <= 2 * MAX_BATCHES_IN_FLIGHT
        await holder.rollback()
        await table.settle_right(encoder)
        assert await table.failures() == {}


async def test_an_unchanged_row_that_was_locked_is_read_again_at_once(
    database_url: str, db: Connection, encoder: GatedEncoder
) -> None:
    table = await make_texts(db, 1)
    async with running_ingest(database_url, encoder), user(database_url, autocommit=False) as holder:
        await table.settle_right(encoder)
        await run(holder, "update items set embedding = null")  # a full-row save by an ORM
        await run(
            db, "insert into sidecar_internal.events_1 (k1) values (1)"
        )  # its row is unchanged, which cannot be recorded yet

        async def is_claimed() -> bool:
            return await table.count("events", "lease_until is not null") > 0

        await wait_until_async(is_claimed, "the event to be claimed")
        await holder.commit()

        await table.settle_right(encoder, timeout_s=10)


async def test_a_row_deleted_while_its_vector_waits_leaves_nothing_behind(
    database_url: str, db: Connection, encoder: GatedEncoder
) -> None:
    table = await make_texts(db, 2)
    async with running_ingest(database_url, encoder), user(database_url, autocommit=False) as holder:
        await run(holder, "delete from items where id = 1")

        async def only_one_is_left() -> bool:
            return await table.count("events") + await table.count("delayed") == 1

        await wait_until_async(only_one_is_left, "the other row")
        await holder.commit()

        await table.settle_right(encoder)
    assert await table.ledger_hash((1,)) == "tombstone"


@in_row_and_companion
async def test_users_with_foreign_keys_never_wait_for_long_and_never_fail(
    database_url: str, db: Connection, encoder: GatedEncoder, companion: str | None
) -> None:
    table = await make_texts(db, 20, companion=companion)
    await run(db, "create table orders (id bigserial primary key, item bigint references items on update cascade)")

    async def write(worker: int) -> None:
        async with user(database_url, autocommit=False) as session:
            await run(session, "set statement_timeout = '5s'")
            for i in range(40):
                await run(session, "insert into orders (item) values (%s)", 1 + (i * 7 + worker) % 20)
                await run(session, "update items set title = %s where id = %s", f"{worker} {i}", 1 + worker * 5 + i % 5)
                await run(session, "update items set price = price + 1 where id = %s", 1 + worker * 5 + (i + 1) % 5)
                await (session.rollback() if i % 9 == 8 else session.commit())

    async with running_ingest(database_url, encoder):
        await asyncio.gather(*(write(worker) for worker in range(4)))
        await table.settle_right(encoder)

    assert await value(db, "select count(*) from orders") == 4 * 36


async def test_a_repeatable_read_transaction_must_retry_where_the_vector_is_in_its_row(
    database_url: str, db: Connection, encoder: GatedEncoder
) -> None:
    """The documented exception, which a companion table does not have."""
    in_row = await make_texts(db, 1)
    await run(db, "create table notes (id bigint primary key, title text)")
    await run(db, "insert into notes values (1, 'note')")
    await run(
        db,
        "select sidecar.watch('notes', source => 'title', target => 'v', dimensions => 16, companion => 'notes_v', "
        "index => 'none')",
    )
    async with user(database_url, autocommit=False) as session:
        await session.set_isolation_level(psycopg.IsolationLevel.REPEATABLE_READ)
        await run(session, "select from items")  # takes the snapshot
        async with running_ingest(database_url, encoder):
            await in_row.settle_right(encoder)

            async def note_is_done() -> bool:
                return bool(await value(db, "select count(*) from notes_v"))

            await wait_until_async(note_is_done, "the vector of the note")
        await run(session, "update notes set title = 'other'")
        with pytest.raises(psycopg.errors.SerializationFailure):
            await run(session, "update items set price = 1")


@pytest.mark.parametrize("statement", ["select sidecar.pause('items')", "select sidecar.reembed('items')"])
async def test_a_user_who_has_locked_a_row_may_call_the_sidecars_functions(
    database_url: str, db: Connection, encoder: GatedEncoder, statement: str
) -> None:
    """A write that waits for the row must not hold locks that these functions need: that would be a deadlock."""
    await run(db, f"alter database {db.info.dbname} set deadlock_timeout = '10ms'")
    table = await make_texts(db, 1)
    async with user(database_url, autocommit=False) as holder:
        await run(holder, "update items set price = 1")
        async with running_ingest(database_url, encoder):

            async def sidecar_waits() -> bool:
                return bool(await value(db, WAITING))

            for _ in range(3):
                await wait_until_async(sidecar_waits, "the sidecar to wait for the row")
                await run(holder, statement)
            await holder.commit()
            await run(db, "select sidecar.resume()")
            await table.settle_right(encoder)

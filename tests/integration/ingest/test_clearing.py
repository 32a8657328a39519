"""Old vectors are cleared before those of another model are written, past locked rows and rows that reject UPDATEs."""

from __future__ import annotations

import asyncio

import psycopg
import pytest

from sidecar.postgres import clearing
from tests.integration.ingest.composition import running_ingest
from tests.integration.ingest.gated_encoder import GatedEncoder
from tests.integration.ingest.items import in_row_and_companion, make_texts
from tests.integration.ingest.watched_table import Connection, WatchedTable, run, user, value
from tests.waiting import wait_until_async

ROWS = 500


async def move_on(database_url: str, db: Connection, table: WatchedTable) -> None:
    """Replaces the vectors of `old` with those of `new`."""
    async with running_ingest(database_url, GatedEncoder("old")):
        await table.settle_right(GatedEncoder("old"))
    await run(db, "select sidecar.reembed('items', model => 'new')")


REFUSALS = {
    "a constraint that the row violates already": (
        "alter table {home} add constraint fine check (id <> 250 or embedding is null and id < 0) not valid",
        "alter table {home} drop constraint fine",
        "write_rejected",
    ),
    "a trigger that raises": (
        (
            "create function no() returns trigger language plpgsql as "
            "$$ begin raise exception 'row % stays as it is', old.id; end $$;"
            "create trigger no before update or delete on {home} for each row when (old.id = 250) execute function no()"
        ),
        "drop trigger no on {home}",
        "write_rejected",
    ),
    "a trigger that swallows the write": (
        (
            "create function no() returns trigger language plpgsql as $$ begin return null; end $$;"
            "create trigger no before update or delete on {home} for each row when (old.id = 250) execute function no()"
        ),
        "drop trigger no on {home}",
        "write_suppressed",
    ),
    "a trigger that puts the vector back": (
        (
            "create function no() returns trigger language plpgsql as "
            "$$ begin new.embedding := old.embedding; return new; end $$;"
            "create trigger no before update on {home} for each row when (old.id = 250) execute function no()"
        ),
        "drop trigger no on {home}",
        "write_suppressed",
    ),
    "a trigger that raises at commit": (
        (
            "create function no() returns trigger language plpgsql as $$ begin raise exception 'not this one'; end $$;"
            "create constraint trigger no after update or delete on {home} deferrable initially deferred "
            "for each row when (old.id = 250) execute function no()"
        ),
        "drop trigger no on {home}",
        "write_rejected",
    ),
}


# Rows of a companion are deleted, not updated.
OF_UPDATES = {"a constraint that the row violates already", "a trigger that puts the vector back"}
WHERE = [(None, refusal) for refusal in REFUSALS] + [("vectors", refusal) for refusal in REFUSALS.keys() - OF_UPDATES]


@pytest.mark.parametrize(("companion", "refusal"), sorted(WHERE, key=str))
async def test_a_row_that_rejects_changes_is_a_failure_and_the_others_move(
    database_url: str, db: Connection, companion: str | None, refusal: str
) -> None:
    make, drop, reason = REFUSALS[refusal]
    home = companion or "items"
    new = GatedEncoder("new")
    table = await make_texts(db, ROWS, companion=companion)
    await move_on(database_url, db, table)
    await run(db, make.format(home=home))
    async with running_ingest(database_url, new):
        await table.settle()

        assert {key: r for key, (r, _) in (await table.failures()).items()} == {'{"id": "250"}': reason}
        await run(db, "select sidecar.verify('items')")  # enqueues all but that one
        await table.settle()
        assert await value(db, "select found from sidecar_internal.scans where purpose = 'verify'") == 0
        assert await value(db, f"select count(embedding) from {home}") == ROWS

        await run(db, drop.format(home=home))
        await run(db, "select sidecar.retry('items')")
        await table.settle_right(new)
        assert await table.failures() == {}


async def test_the_move_ends_even_if_every_row_rejects_it(database_url: str, db: Connection) -> None:
    table = await make_texts(db, 60)
    await move_on(database_url, db, table)
    await run(db, "create function no() returns trigger language plpgsql as $$ begin return null; end $$")
    await run(db, "create trigger no before update on items for each row execute function no()")
    async with running_ingest(database_url, GatedEncoder("new")):
        await table.settle()
    assert len(await table.failures()) == 60


@in_row_and_companion
async def test_locked_rows_are_cleared_once_they_are_unlocked_and_hold_up_no_others(
    database_url: str, db: Connection, companion: str | None
) -> None:
    home = companion or "items"
    new = GatedEncoder("new")
    table = await make_texts(db, ROWS, companion=companion)
    await move_on(database_url, db, table)
    async with user(database_url, autocommit=False) as holder, running_ingest(database_url, new):
        await run(holder, f"select from {home} where id in (1, 250) for update")

        async def all_others_are_cleared() -> bool:
            return bool(await value(db, f"select count(embedding) = 2 from {home}"))

        await wait_until_async(all_others_are_cleared, "all others to be cleared")
        assert await value(db, "select finished_at is null from sidecar_internal.scans where purpose = 'clear'")
        assert not new.texts, "vectors of two models would stand in one column"
        await holder.commit()
        await table.settle_right(new)


async def test_more_locked_rows_than_can_be_remembered_make_the_clearing_wait(
    database_url: str, db: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(clearing, "MAX_SKIPPED", 10)
    new = GatedEncoder("new")
    table = await make_texts(db, ROWS)
    await move_on(database_url, db, table)
    async with user(database_url, autocommit=False) as holder, running_ingest(database_url, new):
        await run(holder, "select from items where id between 30 and 300 for update")

        async def some_wait() -> bool:
            return bool(
                await value(db, "select cardinality(passed_by) > 0 from sidecar_internal.scans where purpose = 'clear'")
            )

        await wait_until_async(some_wait, "rows to be passed by")
        await run(db, "delete from items where id = 400")
        await run(holder, "delete from items where id = 40")
        await run(holder, "update items set id = 1000 where id = 50")
        await holder.commit()
        await table.settle_right(new)
    assert await value(db, "select passed_by = '{}' from sidecar_internal.scans where purpose = 'clear'")


@in_row_and_companion
async def test_no_user_is_the_victim_of_a_deadlock_with_the_clearing(
    database_url: str, db: Connection, companion: str | None
) -> None:
    """The user locks a row late in the order, then one that was already cleared; deadlock_timeout is short."""
    home = companion or "items"
    new = GatedEncoder("new")
    table = await make_texts(db, 2000, companion=companion)
    await move_on(database_url, db, table)
    done = asyncio.Event()
    victims: list[str] = []

    async def write(number: int) -> None:
        async with user(database_url, autocommit=False) as session:
            await run(session, "set deadlock_timeout = '1ms'")
            await run(session, "set lock_timeout = '2s'")
            await session.commit()
            while not done.is_set():
                try:
                    for key in (
                        *range(190, 2000, 200),
                        *range(10, 2000, 200),
                    ):  # a late row of each page, then an early one
                        await run(session, f"select from {home} where id = %s for update", key + number)
                except psycopg.errors.DeadlockDetected as error:
                    victims.append(str(error))
                await session.rollback()

    async with running_ingest(database_url, new):
        writers = [asyncio.create_task(write(number), name=f"writer-{number}") for number in range(2)]

        async def is_cleared() -> bool:
            return bool(
                await value(db, "select finished_at is not null from sidecar_internal.scans where purpose = 'clear'")
            )

        await wait_until_async(is_cleared, "the old vectors to be cleared", 30)
        done.set()
        await asyncio.gather(*writers)
        await table.settle_right(new)
    assert victims == []

"""A database that becomes unavailable: ingest waits, and continues where it was."""

from __future__ import annotations

import asyncio

import pytest

from sidecar.operations.migrations import migrate
from tests.integration.ingest.composition import running_ingest
from tests.integration.ingest.gated_encoder import GatedEncoder
from tests.integration.ingest.items import in_row_and_companion, insert_titles, make_texts
from tests.integration.ingest.proxy import proxy
from tests.integration.ingest.watched_table import Connection, run, user, value
from tests.waiting import wait_until_async

TERMINATE_ALL = """
    select count(pg_terminate_backend(pid)) from pg_stat_activity
    where datname = current_database() and application_name = 'sidecar'
"""


@in_row_and_companion
async def test_terminated_backends_cost_nothing_but_time(
    database_url: str, db: Connection, encoder: GatedEncoder, companion: str | None
) -> None:
    table = await make_texts(db, companion=companion)

    async def some_are_terminated() -> bool:
        return bool(await value(db, TERMINATE_ALL))

    async with running_ingest(database_url, encoder, poll_interval_s=0.05) as running:
        await table.settle()
        for i in range(8):
            await insert_titles(db, 1 + i * 300, 300 + i * 300)
            await wait_until_async(some_are_terminated, "connections to terminate")
            await run(db, "update items set title = title || '!' where id % 7 = 0")
        await table.age_leases()  # leases of claims whose response was lost

        await table.settle_right(encoder, timeout_s=30)
        assert not running.task.done()
    assert await table.failures() == {}


async def test_vectors_in_memory_outlive_the_connection(
    database_url: str, db: Connection, encoder: GatedEncoder
) -> None:
    table = await make_texts(db)
    async with proxy(database_url) as way, running_ingest(way.url, encoder) as running:
        await table.settle()
        encoder.close()
        await insert_titles(db, 1, 10)
        await encoder.until_held()
        await way.cut()
        encoder.open()

        async def are_encoded() -> bool:
            return bool(encoder.calls) and encoder.held == 0

        await wait_until_async(are_encoded, "the rows to be encoded")
        await way.open()

        await table.settle_right(encoder)
        assert not running.task.done()
    assert max(encoder.texts.values()) == 1


async def test_ingest_waits_for_a_database_that_is_down_at_the_start(
    database_url: str, db: Connection, encoder: GatedEncoder
) -> None:
    table = await make_texts(db, 3)
    async with proxy(database_url) as way:
        await way.cut()
        async with running_ingest(way.url, encoder) as running:
            async with user(database_url) as session:  # gives it time to retry
                await run(session, "select 1")
            await asyncio.wait([running.task], timeout=0.3)
            assert not running.task.done()
            await way.open()

            await table.settle_right(encoder)


async def test_ingest_catches_up_after_an_outage(database_url: str, db: Connection, encoder: GatedEncoder) -> None:
    table = await make_texts(db, 3)
    async with proxy(database_url) as way, running_ingest(way.url, encoder) as running:
        for i in range(3):
            await table.settle_right(encoder)
            await way.cut()
            await run(db, "update items set title = %s", f"written while it was away {i}")
            await way.open()
        await table.settle_right(encoder)
        assert not running.task.done()


async def test_ingest_waits_for_a_database_that_is_not_migrated(
    plain_database_url: str, encoder: GatedEncoder, caplog: pytest.LogCaptureFixture
) -> None:
    async with running_ingest(plain_database_url, encoder) as running, user(plain_database_url) as session:

        async def has_looked() -> bool:
            return "run `sidecar migrate`" in caplog.text

        await wait_until_async(has_looked, "ingest to look at the database")
        await asyncio.to_thread(migrate, plain_database_url)
        table = await make_texts(session, 3)
        await table.settle_right(encoder)
        assert not running.task.done()

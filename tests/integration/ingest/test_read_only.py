"""A database that accepts no writes for a while, as during a failover of a managed service or when a disk is full."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from tests.integration.ingest.composition import running_ingest
from tests.integration.ingest.gated_encoder import GatedEncoder
from tests.integration.ingest.items import in_row_and_companion, insert_titles, make_texts
from tests.integration.ingest.watched_table import Connection, run, user, value
from tests.waiting import wait_until_async

RECOVERY_S = 6.0
REFUSED = "cannot execute"
BEATS = "select count(*) from sidecar_internal.sidecars where seen_at > clock_timestamp() - interval '3 s'"

# Statements that begin and end it. The last two affect only sessions that start meanwhile, for all of their life.
WAYS = {
    "system": (
        "alter system set default_transaction_read_only = on",
        "alter system reset default_transaction_read_only",
    ),
    "database": (
        "alter database {db} set default_transaction_read_only = on",
        "alter database {db} reset default_transaction_read_only",
    ),
    "role": (
        "alter role postgres in database {db} set default_transaction_read_only = on",
        "alter role postgres in database {db} reset default_transaction_read_only",
    ),
}


@asynccontextmanager
async def read_only(db: Connection, way: str) -> AsyncIterator[None]:
    """Makes transactions read-only inside the block: those of new sessions, with "system" also of present ones."""
    await run(db, "set default_transaction_read_only = off")
    name = await value(db, "select current_database()")
    begin, end = (statement.format(db=name) for statement in WAYS[way])
    await run(db, begin)
    try:
        await run(db, "select pg_reload_conf()")
        yield
    finally:
        await run(db, end)
        await run(db, "select pg_reload_conf()")


async def end_sessions(db: Connection) -> None:
    """Ends the sessions of sidecars; new ones start with the database's present settings."""
    await run(db, "select pg_terminate_backend(pid) from pg_stat_activity where application_name = 'sidecar'")


@in_row_and_companion
@pytest.mark.parametrize("way", WAYS)
async def test_rows_get_their_vectors_seconds_after_a_read_only_period(
    database_url: str,
    db: Connection,
    encoder: GatedEncoder,
    caplog: pytest.LogCaptureFixture,
    way: str,
    companion: str | None,
) -> None:
    table = await make_texts(db, companion=companion)
    async with running_ingest(database_url, encoder) as running:
        await table.settle()
        async with read_only(db, way):
            await end_sessions(db)
            await insert_titles(db, 1, 50)

            async def is_refused() -> bool:
                return REFUSED in caplog.text

            await wait_until_async(is_refused, "a write to be refused")
            assert await value(db, BEATS) <= 1
        await table.settle_right(encoder, RECOVERY_S)
        await wait_until_async(lambda: _beats(db), "the heartbeat", RECOVERY_S)
        await run(db, "update items set title = title || '!'")
        await table.settle_right(encoder, RECOVERY_S)
        assert not running.task.done()


async def _beats(db: Connection) -> bool:
    return bool(await value(db, BEATS))


async def test_vectors_encoded_when_a_read_only_period_begins_are_written_after_it(
    database_url: str, db: Connection, encoder: GatedEncoder, caplog: pytest.LogCaptureFixture
) -> None:
    table = await make_texts(db)
    async with running_ingest(database_url, encoder), user(database_url) as session:
        await table.settle()
        encoder.close()
        await insert_titles(session, 1, 50)
        await encoder.until_held()
        async with read_only(db, "database"):
            await end_sessions(db)
            encoder.open()

            async def is_refused() -> bool:
                return REFUSED in caplog.text

            await wait_until_async(is_refused, "a write to be refused")
        await table.settle_right(encoder, RECOVERY_S)
    assert max(encoder.texts.values()) == 1

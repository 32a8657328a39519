"""How ingest learns of new rows: by notifications, and without them."""

from __future__ import annotations

import logging

import pytest

from tests.integration.ingest.composition import running_ingest
from tests.integration.ingest.gated_encoder import GatedEncoder
from tests.integration.ingest.items import insert_titles, make_texts
from tests.integration.ingest.watched_table import Connection, run, user, value
from tests.waiting import wait_until_async

IS_LISTENING = """
    select exists (select from pg_stat_activity where datname = current_database() and application_name = 'sidecar'
                   and pid <> pg_backend_pid() and query ~ '^LISTEN|transaction_read_only')
"""
KILL_LISTENER = """
    select pg_terminate_backend(pid) from pg_stat_activity where datname = current_database()
    and application_name = 'sidecar' and query ~ '^LISTEN|transaction_read_only'
"""
LONG_S = 30.0


IS_ASLEEP = "select last_value > extract(epoch from clock_timestamp()) * 1000 from sidecar_internal.asleep_1"


async def until_listening(db: Connection) -> None:
    async def listens() -> bool:
        return bool(await value(db, IS_LISTENING))

    await wait_until_async(listens, "a connection that listens")


async def until_asleep(db: Connection) -> None:
    async def is_asleep() -> bool:
        return bool(await value(db, IS_ASLEEP))

    await wait_until_async(is_asleep, "a sidecar asleep")


async def until_woken(caplog: pytest.LogCaptureFixture) -> None:
    async def is_woken() -> bool:
        return "woken by a notification" in caplog.text

    await wait_until_async(is_woken, "a notification to wake the sidecar")


async def test_a_sleeping_sidecar_is_woken_by_a_notification(
    database_url: str, db: Connection, encoder: GatedEncoder, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, "sidecar.ingest.worker")
    table = await make_texts(db)
    async with running_ingest(database_url, encoder, poll_interval_s=LONG_S):
        await table.settle()
        await until_listening(db)
        await until_woken(caplog)  # once because the listener has connected
        await until_asleep(db)
        caplog.clear()
        await run(db, "insert into items values (1, 'new')")

        await until_woken(caplog)
        await table.settle_right(encoder)


async def test_commits_send_no_notification_while_the_sidecar_is_busy(
    database_url: str, db: Connection, encoder: GatedEncoder
) -> None:
    table = await make_texts(db)
    async with running_ingest(database_url, encoder, poll_interval_s=0.05), user(database_url) as listener:
        await run(listener, "listen sidecar")
        await table.settle()
        encoder.close()
        await insert_titles(db, 1, 2000)
        await encoder.until_held()

        async def no_sidecar_sleeps() -> bool:
            return not await value(db, IS_ASLEEP)

        await wait_until_async(no_sidecar_sleeps, "the announcement to expire")
        [_ async for _ in listener.notifies(timeout=0)]
        await run(db, "insert into items values (0, 'one more')")
        assert [n async for n in listener.notifies(timeout=0.2)] == []
        encoder.open()
        await table.settle_right(encoder)

        async def a_change_is_notified_of() -> bool:
            """The announcement lasts 0.1 s, so on a busy machine it may just have expired."""
            await until_asleep(db)
            await run(db, "update items set title = title || '!' where id = 0")
            return len([n async for n in listener.notifies(timeout=0.5, stop_after=1)]) == 1

        await wait_until_async(a_change_is_notified_of, "a notification", timeout_s=20)


UNFETCHED = {
    "paused": "select sidecar.pause('items')",
    "at its cap": "select sidecar.set_rate('items', rows_per_s => 0.001)",
    "broken": "update sidecar_internal.watches set broken = 'for a test'",
    "another model's": "update sidecar_internal.watches set fingerprint = 'another'",
}


@pytest.mark.parametrize("why", UNFETCHED)
async def test_commits_send_no_notification_for_rows_that_no_sidecar_would_claim(
    database_url: str, db: Connection, encoder: GatedEncoder, why: str
) -> None:
    """An idle sidecar beside such a watch once made each commit notify, which is slower than doing the work."""
    table = await make_texts(db, 3)
    async with running_ingest(database_url, encoder, poll_interval_s=0.05), user(database_url) as listener:
        await run(listener, "listen sidecar")
        await until_listening(db)
        await table.settle_right(encoder)
        await until_asleep(db)
        await run(db, UNFETCHED[why])
        await run(db, "notify sidecar_watches")
        await insert_titles(db, 10, 12)  # the rate limit allows one of them

        async def is_awake() -> bool:
            return not await value(db, IS_ASLEEP)

        await wait_until_async(is_awake, "the announcement to be revoked")
        [_ async for _ in listener.notifies(timeout=0)]
        for i in range(20, 30):
            await run(db, "insert into items values (%s, 'unheard')", i)
        assert [n.channel async for n in listener.notifies(timeout=0.2)] == []


async def test_resuming_a_watch_wakes_its_sidecar(database_url: str, db: Connection, encoder: GatedEncoder) -> None:
    table = await make_texts(db, 3)
    await run(db, "select sidecar.pause()")
    async with running_ingest(database_url, encoder, poll_interval_s=LONG_S):
        await until_listening(db)
        await run(db, "insert into items values (10, 'while paused')")
        await run(db, "select sidecar.resume()")
        await table.settle_right(encoder, timeout_s=LONG_S / 2)


async def test_a_lost_notification_costs_one_poll(database_url: str, db: Connection, encoder: GatedEncoder) -> None:
    table = await make_texts(db)
    async with running_ingest(database_url, encoder, poll_interval_s=0.3):
        await until_listening(db)
        await run(db, "select setval('sidecar_internal.asleep_1', 1)")  # so that the trigger finds no sleeping sidecar
        await run(db, "insert into items values (1, 'silent')")

        await table.settle_right(encoder, timeout_s=15)


async def test_polling_alone_is_correct(database_url: str, db: Connection, encoder: GatedEncoder) -> None:
    """LISTEN_DATABASE_URL cannot be connected to, as behind a pooler that is not configured for it."""
    table = await make_texts(db)
    nowhere = "postgresql://nobody@127.0.0.1:1/nowhere"
    async with running_ingest(database_url, encoder, listen_database_url=nowhere):
        for i in range(5):
            await run(db, "insert into items values (%s, 'polled')", i)
            await table.settle_right(encoder, timeout_s=15)


async def test_a_listener_whose_connection_was_killed_reconnects_and_wakes_the_worker_at_once(
    database_url: str, db: Connection, encoder: GatedEncoder, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, "sidecar.ingest.worker")
    table = await make_texts(db)
    async with running_ingest(database_url, encoder, poll_interval_s=LONG_S):
        await table.settle()
        await until_listening(db)
        await until_woken(caplog)
        caplog.clear()
        assert await run(db, KILL_LISTENER)
        await run(db, "insert into items values (1, 'while nobody listened')")
        await until_woken(caplog)
        await table.settle_right(encoder)

        await until_listening(db)
        await until_asleep(db)
        caplog.clear()
        await run(db, "insert into items values (2, 'new')")
        await until_woken(caplog)

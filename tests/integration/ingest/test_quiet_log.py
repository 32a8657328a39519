"""The log of database trouble: one line at its beginning, one at its end, and what it is."""

from __future__ import annotations

import logging

import pytest

from sidecar.postgres.trouble_log import QUIET_S
from tests.integration.ingest.composition import running_ingest
from tests.integration.ingest.gated_encoder import GatedEncoder
from tests.integration.ingest.items import in_row_and_companion, insert_titles, make_texts
from tests.integration.ingest.proxy import proxy
from tests.integration.ingest.test_signals import KILL_LISTENER, LONG_S, until_listening
from tests.integration.ingest.watched_table import Connection, run, value
from tests.waiting import wait_until_async


def lines(caplog: pytest.LogCaptureFixture, level: int = logging.WARNING) -> list[str]:
    return [r.message for r in caplog.records if r.levelno >= level and r.name.startswith("sidecar")]


async def test_an_idle_session_ended_by_the_server_is_not_logged(
    database_url: str, db: Connection, encoder: GatedEncoder, caplog: pytest.LogCaptureFixture
) -> None:
    name = await value(db, "select current_database()")
    await run(db, f"alter database {name} set idle_session_timeout = '20ms'")
    table = await make_texts(db)
    async with running_ingest(database_url, encoder, poll_interval_s=LONG_S):
        await table.settle()
        await until_listening(db)
        started = await value(db, "select clock_timestamp()")

        async def some_time_passed() -> bool:
            return bool(await value(db, "select clock_timestamp() > %s + interval '300 ms'", started))

        await wait_until_async(some_time_passed, "the idle timeout to pass many times")
        await insert_titles(db, 1, 3)
        await table.settle_right(encoder, 5)
    assert lines(caplog) == []


async def test_a_listener_that_is_ended_again_and_again_is_logged_once(
    database_url: str, db: Connection, encoder: GatedEncoder, caplog: pytest.LogCaptureFixture
) -> None:
    table = await make_texts(db)
    async with running_ingest(database_url, encoder):
        await table.settle()

        async def is_ended() -> bool:
            return bool(await run(db, KILL_LISTENER))

        for _ in range(5):
            await wait_until_async(is_ended, "a connection that listens")
        await until_listening(db)
        await insert_titles(db, 1, 3)
        await table.settle_right(encoder)
    assert len([line for line in lines(caplog) if "notifications" in line]) == 1, f"within {QUIET_S} s"


async def test_an_outage_is_logged_at_its_beginning_and_at_its_end(
    database_url: str, db: Connection, encoder: GatedEncoder, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, "sidecar")
    table = await make_texts(db, 3)
    async with proxy(database_url) as way, running_ingest(way.url, encoder):
        await table.settle_right(encoder)
        await way.cut()

        async def was_tried_often() -> bool:
            return caplog.text.count("database gone, still") > 9

        await wait_until_async(was_tried_often, "several tries")
        await way.open()
        await run(db, "update items set title = title || '!'")
        await table.settle_right(encoder)

        async def is_over() -> bool:
            return "database back after" in caplog.text

        await wait_until_async(is_over, "the end of the trouble to be logged")
    [line] = lines(caplog)
    assert line.startswith("database gone since ")
    assert " UTC, trying again: " in line
    assert len([line for line in lines(caplog, logging.INFO) if line.startswith("database back after ")]) == 1


@in_row_and_companion
async def test_a_busy_table_that_is_dropped_is_logged_as_dropped(
    database_url: str,
    db: Connection,
    encoder: GatedEncoder,
    caplog: pytest.LogCaptureFixture,
    companion: str | None,
) -> None:
    caplog.set_level(logging.INFO, "sidecar")
    await make_texts(db, companion=companion)
    async with running_ingest(database_url, encoder, ingest_batch_rows=50) as running:
        await insert_titles(db, 1, 2000)

        async def is_busy() -> bool:
            return sum(encoder.texts.values()) > 300

        await wait_until_async(is_busy, "some rows to be done")
        await run(db, "drop table items cascade")

        async def is_forgotten() -> bool:
            return not await value(db, "select count(*) from sidecar_internal.watches where unwatched_at is null")

        await wait_until_async(is_forgotten, "the watch to be forgotten")
        running.ingest._context.progress._unreported[1].embedded += 1  # as by a batch that ended just now
        await running.ingest._context.progress.report(running.ingest._database)
        assert not running.task.done()
    assert not [line for line in lines(caplog, logging.INFO) if "violates" in line or "constraint" in line]
    assert len(lines(caplog)) <= 2, lines(caplog)
    assert not [r for r in caplog.records if r.levelno >= logging.ERROR]

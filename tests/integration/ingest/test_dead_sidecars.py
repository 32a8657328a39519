"""Leases of a dead sidecar are released at once; those of a living one are not."""

from __future__ import annotations

import asyncio
import logging
import signal
import time
from collections.abc import AsyncIterator
from uuid import UUID, uuid4

import pytest
from pydantic import SecretStr

from sidecar.ingest import dead_sidecars
from sidecar.ingest.dead_sidecars import OBSERVED_S
from sidecar.ingest.decision import MAX_ATTEMPTS
from sidecar.postgres.database import Database
from sidecar.postgres.liveness import LivenessLock, free_leases, list_other_sidecars
from sidecar.postgres.watches import load_watches
from tests.integration.ingest.composition import running_ingest
from tests.integration.ingest.gated_encoder import GatedEncoder
from tests.integration.ingest.items import insert_titles, make_texts
from tests.integration.ingest.processes import START_S, sidecar_process
from tests.integration.ingest.proxy import proxy
from tests.integration.ingest.test_crashes import BuggyEncoder
from tests.integration.ingest.watched_table import Connection, WatchedTable, run, user, value
from tests.waiting import wait_until_async

logger = logging.getLogger(__name__)

BOUND_S = 5.0
LOCKS = (
    "select count(*) from pg_locks l join pg_database d on d.oid = l.database"
    " where d.datname = current_database() and l.locktype = 'advisory' and l.mode = 'ShareLock'"
)
LEASED = "lease_until > now()"


@pytest.fixture
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    """Makes sidecars count as dead without waiting for further heartbeats."""
    monkeypatch.setattr(dead_sidecars, "SILENT_S", 0.1)
    monkeypatch.setattr(dead_sidecars, "OBSERVED_S", 0.2)
    monkeypatch.setattr(dead_sidecars, "SUSPICIOUS_INTERVAL_S", 0.1)
    monkeypatch.setattr(dead_sidecars, "INTERVAL_S", 0.1)


async def make_quiet_texts(db: Connection) -> WatchedTable:
    """Creates the table without a backfill, so that every event is of a change."""
    table = await make_texts(db)
    await run(db, "update sidecar_internal.scans set finished_at = now()")
    return table


async def locks_are_held(db: Connection, count: int) -> None:
    async def are_held() -> bool:
        return bool(await value(db, LOCKS) == count)

    await wait_until_async(are_held, f"{count} sidecars to say that they live", START_S)


async def test_a_restarted_sidecar_takes_over_from_a_killed_one_within_seconds(
    database_url: str, db: Connection, encoder: GatedEncoder
) -> None:
    table = await make_quiet_texts(db)
    async with sidecar_process(database_url, hold="title 77") as doomed:
        await locks_are_held(db, 1)
        await insert_titles(db, 1, 400)
        await doomed.until_holding()
        await doomed.kill()
    in_flight = await table.count("events", f"{LEASED} and attempts = 1")
    assert in_flight > 0

    async with sidecar_process(database_url) as successor:
        await locks_are_held(db, 1)
        began = time.monotonic()
        await table.settle_right(encoder, timeout_s=START_S)
        took_s = time.monotonic() - began
        logger.warning("%d rows of a killed sidecar were done %.1f s after a new one had started", in_flight, took_s)
        assert successor.texts["title 77"] == 1
    assert took_s < BOUND_S
    assert await table.failures() == {}


async def test_a_second_sidecar_takes_over_from_a_killed_one_within_seconds(
    database_url: str, db: Connection, encoder: GatedEncoder
) -> None:
    table = await make_quiet_texts(db)
    async with sidecar_process(database_url, hold="title 77") as doomed:
        await locks_are_held(db, 1)
        await insert_titles(db, 1, 400)
        await doomed.until_holding()
        async with running_ingest(database_url, encoder):
            await locks_are_held(db, 2)

            async def only_its_own_are_left() -> bool:
                return await table.count("events", f"not {LEASED}") == 0

            await wait_until_async(only_its_own_are_left, "all that is free")
            in_flight = await table.count("events", LEASED)
            assert in_flight > 0
            await doomed.kill()
            began = time.monotonic()
            await table.settle_right(encoder, timeout_s=START_S)
            took_s = time.monotonic() - began
            logger.warning("%d rows of a killed sidecar were done beside another after %.1f s", in_flight, took_s)
    assert took_s < BOUND_S
    assert encoder.texts["title 77"] == 1


async def test_a_sidecar_stopped_by_sigstop_keeps_its_leases_until_they_expire(
    database_url: str, db: Connection, encoder: GatedEncoder
) -> None:
    table = await make_quiet_texts(db)
    async with sidecar_process(database_url, hold="title 7") as stopped:
        await locks_are_held(db, 1)
        await insert_titles(db, 1, 10)
        await stopped.until_holding()
        stopped.process.send_signal(signal.SIGSTOP)
        async with running_ingest(database_url, encoder) as running:
            await locks_are_held(db, 2)
            await until_silent(db, running.ingest._context.identity.id)
            assert await table.count("events", f"{LEASED} and attempts = 1") == 10

            await table.age_leases()
            await table.settle_right(encoder)
        assert await table.failures() == {}


async def until_silent(db: Connection, but: UUID) -> None:
    """Waits until all other sidecars were silent for long enough to be taken for dead."""

    async def is_silent() -> bool:
        return bool(
            await value(
                db,
                "select max(seen_at) < clock_timestamp() - make_interval(secs => %s) from sidecar_internal.sidecars"
                " where id <> %s",
                *(OBSERVED_S + 2, but),
            )
        )

    await wait_until_async(is_silent, "silence", 4 * OBSERVED_S)


async def add_sidecar(db: Connection, sidecar_id: UUID, silent_s: float) -> LivenessLock:
    """Records a sidecar whose last heartbeat was so long ago. Returns a token that names it."""
    await run(
        db,
        "insert into sidecar_internal.sidecars (id, host, pid, version, model, fingerprint, dimensions, seen_at)"
        " values (%s, 'elsewhere', 1, '1', 'hash', 'f', 16, clock_timestamp() - make_interval(secs => %s))",
        *(sidecar_id, silent_s),
    )
    liveness = LivenessLock(sidecar_id)
    liveness.held = True
    return liveness


async def lease_to(db: Connection, table: WatchedTable, token: UUID, which: str = "true") -> None:
    """Leases events to the token, as by a claim just now."""
    await run(
        db,
        f"update sidecar_internal.events_{table.watch_id} set attempts = 1, lease_until = now() + interval '1 min',"
        f" lease_token = %s where {which}",
        token,
    )


async def lock(connection: Connection, sidecar_id: UUID) -> None:
    await run(
        connection, "select pg_advisory_lock_shared(hashtextextended('sidecar.lives.' || %s, 0))", str(sidecar_id)
    )


async def test_a_sidecar_that_loses_its_lock_with_its_connection_keeps_its_leases_and_takes_the_lock_again(
    database_url: str, db: Connection, encoder: GatedEncoder, hasty: None
) -> None:
    table = await make_quiet_texts(db)
    slow = GatedEncoder()
    async with running_ingest(database_url, slow):
        await locks_are_held(db, 1)
        slow.close()
        await insert_titles(db, 1, 10)
        await slow.until_held()
        tokens = await run(db, f"select gen, lease_token from sidecar_internal.events_{table.watch_id} order by gen")
        await run(
            db, "select pg_terminate_backend(pid) from pg_locks where locktype = 'advisory' and mode = 'ShareLock'"
        )
        await locks_are_held(db, 1)  # again
        async with running_ingest(database_url, encoder):
            await locks_are_held(db, 2)
            assert (
                await run(db, f"select gen, lease_token from sidecar_internal.events_{table.watch_id} order by gen")
                == tokens
            )
            slow.open()
            await table.settle_right(encoder)
    assert sum(slow.texts.values()) == 10
    assert not encoder.texts


async def test_a_sidecar_with_heartbeats_but_without_the_lock_keeps_its_leases(
    database_url: str, db: Connection, encoder: GatedEncoder
) -> None:
    table = await make_quiet_texts(db)
    slow = GatedEncoder()
    async with proxy(database_url) as way, running_ingest(database_url, slow, listen_database_url=way.url):
        await locks_are_held(db, 1)
        slow.close()
        await insert_titles(db, 1, 10)
        await slow.until_held()
        await way.cut()
        await locks_are_held(db, 0)
        async with running_ingest(database_url, encoder) as other:
            await locks_are_held(db, 1)

            async def was_watched() -> bool:
                long_there = (
                    "select count(*) = 1 from sidecar_internal.sidecars"
                    " where id = %s and started_at < clock_timestamp() - make_interval(secs => %s)"
                )
                return bool(await value(db, long_there, other.ingest._context.identity.id, OBSERVED_S + 1.5))

            await wait_until_async(was_watched, "the other one to look for a while")
            assert await table.count("events", f"{LEASED} and attempts = 1") == 10
            slow.open()
            await table.settle_right(encoder)
            await way.open()
    assert not encoder.texts


async def test_a_row_that_ends_its_process_five_times_is_given_up_though_leases_are_released_at_once(
    database_url: str, db: Connection, encoder: GatedEncoder, hasty: None
) -> None:
    table = await make_quiet_texts(db)
    await run(db, "insert into items values (1, 'deadly')")
    for attempt in range(1, MAX_ATTEMPTS + 1):
        async with running_ingest(database_url, encoder) as doomed:
            encoder.close()
            await encoder.until_held()
            assert await table.count("events", f"attempts = {attempt}") == 1
            await doomed.crash()
            encoder.open()
    async with running_ingest(database_url, encoder):
        await table.settle_right(encoder)
    assert {key: reason for key, (reason, _) in (await table.failures()).items()} == {'{"id": "1"}': "worker_crashed"}


async def end_by_a_fault(database_url: str, db: Connection) -> None:
    async with running_ingest(database_url, BuggyEncoder()) as doomed:
        await locks_are_held(db, 1)
        await run(db, "insert into items values (1, 'deadly')")
        await asyncio.wait([doomed.task], timeout=10)


async def test_leases_of_a_sidecar_that_ends_by_a_bug_are_released_at_once(
    database_url: str, db: Connection, encoder: GatedEncoder, hasty: None
) -> None:
    table = await make_quiet_texts(db)
    with pytest.raises(ZeroDivisionError):
        await end_by_a_fault(database_url, db)
    async with running_ingest(database_url, encoder):
        await table.settle_right(encoder)
    assert encoder.texts["deadly"] == 1


async def test_leases_that_name_no_sidecar_are_left_to_expire(
    database_url: str, db: Connection, encoder: GatedEncoder, hasty: None
) -> None:
    """Such as those of a version without the lock, or of a sidecar behind a pooler."""
    table = await make_quiet_texts(db)
    older = await add_sidecar(db, uuid4(), silent_s=40)
    older.mark_lost()
    await insert_titles(db, 1, 3)
    await lease_to(db, table, older.new_token())
    async with running_ingest(database_url, encoder):

        async def is_forgotten() -> bool:
            return bool(await value(db, "select count(*) = 1 from sidecar_internal.sidecars"))

        await wait_until_async(is_forgotten, "the older sidecar to be found dead")
        assert await table.count("events", LEASED) == 3
        await table.age_leases()
        await table.settle_right(encoder)


async def free_all(database: Database, page_events: int) -> tuple[int, int]:
    """Releases the leases of all sidecars that look dead. Returns the pages read and the leases released."""
    pages, freed = 0, 0
    end: int | None = 0
    async with database.connection() as connection:
        [watch] = await load_watches(connection)
        dead = [other for other in await list_other_sidecars(connection, uuid4(), 2.5) if other.is_unlocked]
        while end is not None:
            end, count = await free_leases(connection, watch, dead, end, page_events)
            pages, freed = pages + 1, freed + count
    return pages, freed


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    made = Database(SecretStr(database_url))
    await made.open()
    yield made
    await made.close()


async def test_leases_are_released_page_by_page_except_locked_events_and_those_of_living_sidecars(
    database_url: str, database: Database, db: Connection
) -> None:
    table = await make_quiet_texts(db)
    dead, living = uuid4(), uuid4()
    await insert_titles(db, 1, 1000)
    await lease_to(db, table, (await add_sidecar(db, dead, silent_s=9)).new_token(), "mod(k1, 10) in (0, 1)")
    await lease_to(db, table, (await add_sidecar(db, living, silent_s=9)).new_token(), "mod(k1, 10) = 2")
    async with user(database_url, autocommit=False) as holder, user(database_url) as lives:
        await lock(lives, living)
        await run(holder, f"select from sidecar_internal.events_{table.watch_id} where k1 = 500 for update")
        assert await free_all(database, page_events=300) == (4, 199)

    assert await table.count("events", "lease_token is not null and k1 <> 500") == 100  # of the living sidecar
    assert await table.count("events", "attempts = 1") == 300


async def test_a_sidecar_that_is_back_or_sends_heartbeats_again_loses_nothing(
    database_url: str, database: Database, db: Connection
) -> None:
    table = await make_quiet_texts(db)
    sidecar_id = uuid4()
    await insert_titles(db, 1, 4)
    await lease_to(db, table, (await add_sidecar(db, sidecar_id, silent_s=9)).new_token())
    async with database.connection() as connection:
        [watch] = await load_watches(connection)
        suspects = await list_other_sidecars(connection, uuid4(), 2.5)
        assert [other.is_unlocked for other in suspects] == [True]
        async with user(database_url) as back:
            await lock(back, sidecar_id)
            assert await free_leases(connection, watch, suspects, 0, 100) == (None, 0)
        await run(db, "update sidecar_internal.sidecars set seen_at = seen_at + interval '1 s'")
        assert await free_leases(connection, watch, suspects, 0, 100) == (None, 0)
    assert await free_all(database, page_events=100) == (1, 4)

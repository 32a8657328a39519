"""A result counts only if the ledger entry is still the one that was read: in all cases, for every outcome."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator

import psycopg
import pytest

from sidecar.embedded_postgres.server import EmbeddedPostgres
from sidecar.operations.migrations import migrate
from sidecar.postgres.completion import RowOutcome
from tests.integration.ingest.gated_encoder import GatedEncoder
from tests.integration.ingest.items import in_row_and_companion, make_texts
from tests.integration.ingest.steps import MAX_BYTES, Steps, steps_of
from tests.integration.ingest.watched_table import Connection, run, user, value
from tests.servers import open_directory
from tests.waiting import wait_until_async

REPLACE = "update sidecar_internal.ledger_1 set content_hash = content_hash"
REMOVE = "delete from sidecar_internal.ledger_1"
MAKE = "insert into sidecar_internal.ledger_1 (k1, gen, content_hash) values (1, 1, 'empty')"
TOMBSTONE = "insert into sidecar_internal.ledger_1 (k1, gen) values (1, 1)"
# The ledger entry when the row was read, what has happened since, and whether the result counts.
CASES = {
    "none, none": (False, [], True),
    "none, some": (False, [MAKE], False),
    "none, a tombstone": (False, [TOMBSTONE], False),
    "the same": (True, [], True),
    "another": (True, [REPLACE], False),
    "some, none": (True, [REMOVE], False),
    "some, gone and made again": (True, [REMOVE, MAKE], False),
    "some, gone and a tombstone": (True, [REMOVE, TOMBSTONE], False),
}
OUTCOMES = [RowOutcome.VECTOR, RowOutcome.UNCHANGED, RowOutcome.EMPTY, RowOutcome.FAILED, RowOutcome.MISSING]


async def state_of(db: Connection, home: str) -> list[list[tuple[object, ...]]]:
    """The ledger and the vectors."""
    return [
        await run(db, "select * from sidecar_internal.ledger_1"),
        await run(db, f"select id, embedding::text from {home}"),
        await run(db, "select key, reason from sidecar_internal.failures"),
        await run(db, "select gen from sidecar_internal.events_1"),
    ]


async def embed(db: Connection, steps: Steps) -> None:
    """Embeds the only row, whatever the ledger says."""
    await run(db, "delete from sidecar_internal.events_1")
    await run(db, REMOVE)
    await run(db, "insert into sidecar_internal.events_1 (k1) values (1)")
    [(claimed, row)] = await steps.claim_and_read()
    done = await steps.complete([steps.result(claimed, row, RowOutcome.VECTOR)])
    assert done.written


@pytest.mark.parametrize("outcome", OUTCOMES, ids=[o.value for o in OUTCOMES])
@in_row_and_companion
async def test_a_result_counts_only_while_the_entry_is_the_one_that_was_read(
    database_url: str, db: Connection, companion: str | None, outcome: RowOutcome, encoder: GatedEncoder
) -> None:
    await make_texts(db, 1, companion=companion)
    async with steps_of(database_url, encoder) as steps:
        for case, (was_there, meanwhile, counts) in CASES.items():
            if outcome is RowOutcome.UNCHANGED and not was_there:
                continue  # UNCHANGED needs an entry
            await embed(db, steps)
            if not was_there:
                await run(db, REMOVE)
            await run(db, "insert into sidecar_internal.events_1 (k1, force) values (1, true)")
            [(claimed, row)] = await steps.claim_and_read()
            for statement in meanwhile:
                await run(db, statement)
            before = await state_of(db, companion or "items")

            done = await steps.complete([steps.result(claimed, row, outcome)])

            after = await state_of(db, companion or "items")
            assert (len(done.written), len(done.stale)) == ((1, 0) if counts else (0, 1)), case
            assert (after[-1] == []) is counts, case
            assert counts or after == before, case


async def test_results_whose_entry_vanished_do_not_affect_their_neighbours(
    database_url: str, db: Connection, encoder: GatedEncoder
) -> None:
    await make_texts(db, 5, companion="vectors")
    await run(db, "insert into sidecar_internal.events_1 (k1) select generate_series(1, 5)")
    async with steps_of(database_url, encoder) as steps:
        read = await steps.claim_and_read()
        await steps.complete([steps.result(claimed, row, RowOutcome.VECTOR) for claimed, row in read])
        await run(db, "insert into sidecar_internal.events_1 (k1) select generate_series(1, 5)")
        read = await steps.claim_and_read()
        await run(db, "delete from sidecar_internal.ledger_1 where k1 in (2, 4)")
        await run(db, "delete from vectors where id in (2, 4)")
        await run(db, "delete from sidecar_internal.events_1 where lease_token is null")

        done = await steps.complete([steps.result(claimed, row, RowOutcome.UNCHANGED) for claimed, row in read])

    assert sorted(r.key for r in done.written) == [("1",), ("3",), ("5",)]
    assert await run(db, "select k1 from sidecar_internal.ledger_1 order by k1") == [(1,), (3,), (5,)]
    assert await run(db, "select k1 from sidecar_internal.events_1 order by k1") == [(2,), (4,)]


@pytest.fixture
def crashing_server() -> Iterator[str]:
    """URL of a server of its own, without background writes."""
    settings = {"fsync": "off", "full_page_writes": "off", "autovacuum": "off", "max_connections": "20"}
    with open_directory() as directory, EmbeddedPostgres(directory / "data", settings=settings) as server:
        migrate(server.url)
        yield server.url


async def crash(db: Connection, walwriter: int) -> None:
    """Crashes the server: what was committed asynchronously since `walwriter` was stopped is lost."""
    os.kill(walwriter, signal.SIGKILL)  # the postmaster ends all sessions and recovers

    async def has_lost_its_session() -> bool:
        try:
            await db.execute("select")
        except psycopg.OperationalError:
            return True
        return False

    await wait_until_async(has_lost_its_session, "the server to crash")


async def until_recovered(url: str) -> None:
    async def is_up() -> bool:
        try:
            async with user(url):
                return True
        except psycopg.OperationalError:
            return False

    await wait_until_async(is_up, "the server to recover", 30)


async def test_a_result_that_outlived_a_crash_of_the_server_does_not_meet_a_later_entry(
    crashing_server: str, encoder: GatedEncoder
) -> None:
    """The transaction that made the entry was lost, and a later one got the same id."""
    async with user(crashing_server) as db:
        await make_texts(db, 1)
        async with steps_of(crashing_server, encoder) as steps:
            await embed(db, steps)
            await run(db, "insert into sidecar_internal.events_1 (k1, force) values (1, true)")
            [(claimed, _)] = await steps.claim_and_read()
            await run(db, "checkpoint")
            walwriter = await value(db, "select pid from pg_stat_activity where backend_type = 'walwriter'")
            os.kill(walwriter, signal.SIGSTOP)
            async with user(crashing_server) as writer:
                await run(writer, "set synchronous_commit = off")
                await run(writer, "update sidecar_internal.ledger_1 set gen = gen + 1, version = 2")
                lost = await value(writer, "select xmin::text from sidecar_internal.ledger_1")
                assert await value(writer, "select title from items") == "title 1"
                [row] = await steps.read([claimed])
                result = steps.result(claimed.with_row(row, MAX_BYTES), row, RowOutcome.VECTOR)
            await crash(db, walwriter)
            await until_recovered(crashing_server)
            async with user(crashing_server) as again:
                await run(again, "update sidecar_internal.ledger_1 set gen = gen + 2, version = 4")
                assert await value(again, "select xmin::text from sidecar_internal.ledger_1") == lost

            done = await steps.complete([result])

    assert done.stale

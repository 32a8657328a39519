"""Sidecars that end during their work, and leases."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from sidecar.batching.encoder import PreparedText
from sidecar.ingest.decision import MAX_ATTEMPTS
from sidecar.ingest.worker import MAX_BATCHES_IN_FLIGHT
from tests.integration.ingest.composition import running_ingest
from tests.integration.ingest.gated_encoder import GatedEncoder
from tests.integration.ingest.items import insert_titles, make_texts
from tests.integration.ingest.processes import START_S, sidecar_process
from tests.integration.ingest.watched_table import Connection, run, value
from tests.waiting import wait_until_async


async def test_a_new_process_finishes_what_a_killed_one_had_in_flight(
    database_url: str, db: Connection, encoder: GatedEncoder
) -> None:
    table = await make_texts(db)
    await run(db, "update sidecar_internal.scans set finished_at = now()")  # no backfill: no second event for any row
    await insert_titles(db, 1, 200)
    async with sidecar_process(database_url, hold="title 77") as doomed:
        await doomed.until_holding()
        await doomed.kill()
    in_flight = await table.count("events", "lease_until is not null and attempts = 1")
    assert in_flight > 0
    await table.age_leases()
    async with sidecar_process(database_url) as successor:
        await table.settle_right(encoder, timeout_s=START_S)
        assert successor.texts["title 77"] == 1

    assert await table.failures() == {}


async def test_a_row_that_ends_the_process_five_times_is_given_up(
    database_url: str, db: Connection, encoder: GatedEncoder
) -> None:
    table = await make_texts(db)
    await run(db, "update sidecar_internal.scans set finished_at = now()")
    await run(db, "insert into items values (1, 'deadly')")
    for attempt in range(1, MAX_ATTEMPTS + 1):
        async with running_ingest(database_url, encoder) as doomed:
            encoder.close()
            await encoder.until_held()
            await doomed.crash()
            encoder.open()
        assert await table.count("events", f"attempts = {attempt}") == 1
        await insert_titles(db, attempt * 10, attempt * 10 + 3)
        await table.age_leases()
    async with running_ingest(database_url, encoder):
        await table.settle_right(encoder)

    assert {key: reason for key, (reason, _) in (await table.failures()).items()} == {'{"id": "1"}': "worker_crashed"}
    assert await value(db, "select count(embedding) from items") == 4 * MAX_ATTEMPTS


class BuggyEncoder(GatedEncoder):
    """Raises an unexpected error on one text."""

    def prepare_texts(self, texts: Sequence[str]) -> list[PreparedText]:
        if "deadly" in texts:
            raise ZeroDivisionError
        return super().prepare_texts(texts)


async def test_a_row_on_which_our_own_code_fails_is_given_up_too(database_url: str, db: Connection) -> None:
    encoder = BuggyEncoder()
    table = await make_texts(db)
    await run(db, "update sidecar_internal.scans set finished_at = now()")
    await run(db, "insert into items values (1, 'deadly')")
    for attempt in range(1, MAX_ATTEMPTS + 1):
        with pytest.raises(ZeroDivisionError):
            async with running_ingest(database_url, encoder) as doomed:
                await asyncio.wait([doomed.task], timeout=10)
        assert await table.count("events", f"attempts = {attempt}") == 1
        await table.age_leases()
    async with running_ingest(database_url, encoder):
        await table.settle_right(encoder)

    assert [reason for reason, _ in (await table.failures()).values()] == ["worker_crashed"]


async def test_a_lease_is_respected_until_it_expires(database_url: str, db: Connection, encoder: GatedEncoder) -> None:
    table = await make_texts(db, 0)
    await run(db, "update sidecar_internal.scans set finished_at = now()")  # a backfill would enqueue both rows again
    await run(db, "insert into items values (1, 'leased'), (2, 'free')")
    await run(
        db,
        "update sidecar_internal.events_1 set attempts = 1, lease_token = gen_random_uuid(), "
        "lease_until = now() + interval '1 min' where k1 = 1",
    )
    async with running_ingest(database_url, encoder):

        async def the_other_is_done() -> bool:
            return bool(await value(db, "select count(embedding) = 1 from items"))

        await wait_until_async(the_other_is_done, "the row without a lease")
        assert encoder.texts["leased"] == 0
        await table.age_leases()
        await table.settle_right(encoder)


async def test_a_lease_is_renewed_while_the_device_works(
    database_url: str, db: Connection, encoder: GatedEncoder
) -> None:
    table = await make_texts(db)
    async with running_ingest(database_url, encoder, lease_s=5, decode_timeout_s=1):
        await table.settle()
        encoder.close()
        await run(db, "insert into items values (1, 'slow')")
        await encoder.until_held()
        lease = "select max(lease_until) from sidecar_internal.events_1"
        first = await value(db, lease)

        async def is_renewed() -> bool:
            return bool(await value(db, lease) > first)

        await wait_until_async(is_renewed, "the lease to be renewed")
        encoder.open()
        await table.settle_right(encoder)
    assert encoder.texts["slow"] == 1


async def test_a_sidecar_whose_lease_expired_writes_nothing(
    database_url: str, db: Connection, encoder: GatedEncoder
) -> None:
    table = await make_texts(db, MAX_BATCHES_IN_FLIGHT)
    slow = GatedEncoder()
    async with running_ingest(database_url, slow, ingest_batch_rows=1):
        await table.settle_right(encoder)
        slow.close()
        await run(db, "update items set title = 'read by the zombie'")

        async def all_are_read() -> bool:
            return slow.texts["read by the zombie"] == MAX_BATCHES_IN_FLIGHT

        await wait_until_async(all_are_read, "the zombie to read all that it can")
        await run(db, "update items set title = 'newest'")
        await table.age_leases()
        async with running_ingest(database_url, encoder):
            await table.settle_right(encoder)
            slow.open()
    assert not await table.wrong(encoder)


async def test_two_processes_share_the_work_and_encode_each_row_once(
    database_url: str, db: Connection, encoder: GatedEncoder
) -> None:
    table = await make_texts(db)
    await run(db, "update sidecar_internal.scans set finished_at = now()")
    async with (
        sidecar_process(database_url, view_ms=1) as left,
        sidecar_process(database_url, view_ms=1) as right,
    ):

        async def both_are_there() -> bool:
            return bool(await value(db, "select count(*) = 2 from sidecar_internal.sidecars"))

        await wait_until_async(both_are_there, "both sidecars", START_S)
        left.texts.clear()
        right.texts.clear()
        await insert_titles(db, 1, 3000)
        await table.settle_right(encoder, timeout_s=40)

        both = left.texts + right.texts
        assert both == {f"title {i}": 1 for i in range(1, 3001)}
        assert min(sum(left.texts.values()), sum(right.texts.values())) > 300

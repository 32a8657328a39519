"""sidecar.verify finds changes that no trigger recorded, and nothing else."""

from __future__ import annotations

import time
from typing import Any

from tests.integration.ingest.composition import running_ingest
from tests.integration.ingest.gated_encoder import GatedEncoder
from tests.integration.ingest.items import in_row_and_companion, make_pictures, make_texts
from tests.integration.ingest.watched_table import Connection, picture, run, value, watch
from tests.waiting import wait_until_async


async def verify(db: Connection) -> dict[str, Any]:
    """Starts a verification and waits until it is finished."""
    await run(db, "select sidecar.verify('items')")
    columns = "rows_seen, bytes_seen, found, finished_at is not null as finished"
    query = f"select to_jsonb(s) from (select {columns} from sidecar_internal.scans where purpose = 'verify') s"

    async def is_finished() -> bool:
        return bool((await value(db, query))["finished"])

    await wait_until_async(is_finished, "the verification to end")
    result: dict[str, Any] = await value(db, query)
    return result


async def run_without_triggers(db: Connection, *statements: str) -> None:
    """Runs statements with triggers disabled, as a bulk load does."""
    await run(db, "set session_replication_role = replica")
    for statement in statements:
        await run(db, statement)
    await run(db, "reset session_replication_role")


@in_row_and_companion
async def test_it_finds_rows_changed_without_triggers_and_embeds_only_those(
    database_url: str, db: Connection, encoder: GatedEncoder, companion: str | None
) -> None:
    table = await make_texts(db, 100, companion=companion)
    home = companion or "items"
    async with running_ingest(database_url, encoder, ingest_batch_rows=20):
        await table.settle_right(encoder)
        assert (await verify(db))["found"] == 0
        encoder.texts.clear()

        await run_without_triggers(
            db,
            "update items set title = 'changed' where id = 1",
            "update items set title = null where id = 2",
            f"update {home} set embedding = (select embedding from {home} where id = 50) where id = 3",
            f"update sidecar_internal.ledger_{table.watch_id} set content_hash = sha256('x') where k1 = 4",
            f"update sidecar_internal.ledger_{table.watch_id} set vector_digest = sha256('x') where k1 = 5",
            f"delete from sidecar_internal.ledger_{table.watch_id} where k1 = 6",
            "insert into items values (101, 'new')",
            "delete from items where id = 7",
            "update items set id = 108 where id = 8",
        )
        await run(db, "set sidecar.writer = 'on'")
        gone = f"delete from {home} where id = 10" if companion else "update items set embedding = null where id = 10"
        await run(db, gone)
        await run(db, "reset sidecar.writer")

        # 1-6, 10, 101, 108, and the ledger entries without a row: 7 and 8.
        found = await verify(db)
        await table.settle_right(encoder)
        assert found["found"] == 11
        assert found["rows_seen"] == 100
        assert (await verify(db))["found"] == 0
    assert dict(encoder.texts) == {
        **dict.fromkeys(("changed", "new"), 1),
        **dict.fromkeys((f"title {i}" for i in (3, 4, 5, 6, 8, 10)), 1),
    }


async def test_it_deletes_vectors_without_a_row_from_a_companion(
    database_url: str, db: Connection, encoder: GatedEncoder
) -> None:
    table = await make_texts(db, 3, companion="vectors")
    async with running_ingest(database_url, encoder):
        await table.settle_right(encoder)
        await run_without_triggers(db, "insert into vectors select 77, embedding from vectors where id = 1")
        assert (await verify(db))["found"] == 1
        await table.settle_right(encoder)
    assert await value(db, "select array_agg(id order by id) from vectors") == [1, 2, 3]


async def test_blank_empty_and_failed_rows_count_as_unchanged(
    database_url: str, db: Connection, encoder: GatedEncoder
) -> None:
    await run(db, "create table items (id int primary key, photo bytea, title text)")
    await run(db, "insert into items values (1, null, null), (2, '', ''), (3, 'no picture', ' ')")
    await run(db, "insert into items values (4, %s, 'title')", picture(4))
    photos = await watch(db, ["items"], ["photo"])
    titles = await watch(db, ["items"], ["title"], target="title_embedding")
    async with running_ingest(database_url, encoder, pictures=True):
        for table, target in ((photos, "embedding"), (titles, "title_embedding")):
            await table.settle()
            await run(db, "select sidecar.verify('items', %s)", target)

            async def is_finished(watch_id: int = table.watch_id) -> bool:
                query = (
                    "select finished_at is not null from sidecar_internal.scans where purpose = 'verify' "
                    "and watch_id = %s"
                )
                return bool(await value(db, query, watch_id))

            await wait_until_async(is_finished, "the verification to end")
        assert await run(db, "select found, rows_seen from sidecar_internal.scans where purpose = 'verify'") == [
            (0, 4),
            (0, 4),
        ]
        await run_without_triggers(
            db, "update items set title = 'was blank' where id = 3", "update items set title = '' where id = 4"
        )
        await run(db, "select sidecar.verify('items', 'title_embedding')")
        await titles.become_right(encoder)


async def test_pictures_are_compared_by_their_bytes(database_url: str, db: Connection, encoder: GatedEncoder) -> None:
    table = await make_pictures(db, 6)
    async with running_ingest(database_url, encoder, pictures=True):
        await table.settle_right(encoder)
        await run(db, "set session_replication_role = replica")
        await run(db, "update items set photo = %s where id = 2", picture(99))
        await run(db, "reset session_replication_role")
        encoder.views = 0
        assert (await verify(db))["found"] == 1
        await table.settle_right(encoder)
    assert encoder.views == 1


async def test_rows_that_are_already_pending_are_not_counted_as_found(
    database_url: str, db: Connection, encoder: GatedEncoder
) -> None:
    table = await make_texts(db, 10)
    async with running_ingest(database_url, encoder):
        await table.settle_right(encoder)
        encoder.close()
        await run(db, "update items set title = 'on its way' where id < 4")
        assert (await verify(db))["found"] == 0
        encoder.open()
        await table.settle_right(encoder)


async def test_it_keeps_to_verify_bytes_per_s_and_reports_progress(
    database_url: str, db: Connection, encoder: GatedEncoder
) -> None:
    await run(db, "create table items (id int, part int, title text, primary key (id, part))")
    await run(db, "insert into items select i / 10, i % 10, i || repeat(' word', 1600) from generate_series(1, 60) i")
    table = await watch(db, ["items"], ["title"], ["id", "part"])
    rate = 256 * 1024
    async with running_ingest(database_url, encoder, verify_bytes_per_s=rate):
        await table.settle_right(encoder)
        began = time.monotonic()
        await run(db, "select sidecar.verify('items')")
        seen: set[int] = set()

        async def is_finished() -> bool:
            row = await run(
                db, "select rows_seen, finished_at is not null from sidecar_internal.scans where purpose = 'verify'"
            )
            seen.add(row[0][0])
            return bool(row[0][1])

        await wait_until_async(is_finished, "the verification to end")
        took_s = time.monotonic() - began
    size_bytes = await value(db, "select bytes_seen from sidecar_internal.scans where purpose = 'verify'")
    assert size_bytes == await value(db, "select sum(octet_length(title) + 64) from items")
    assert took_s > size_bytes / rate - 0.5
    assert max(seen) == 60
    assert len(seen) >= 4, "progress shows"


async def test_an_interrupted_verification_is_resumed_by_the_next_sidecar(
    database_url: str, db: Connection, encoder: GatedEncoder
) -> None:
    table = await make_texts(db, 3000)
    async with running_ingest(database_url, encoder):
        await table.settle_right(encoder)
    await run_without_triggers(db, "update items set title = 'changed' where id = 1 or id = 3000")
    await run(db, "select sidecar.verify('items')")
    slow = 64 * 1024
    async with running_ingest(database_url, encoder, verify_bytes_per_s=slow):

        async def has_begun() -> bool:
            return bool(await value(db, "select rows_seen > 0 from sidecar_internal.scans where purpose = 'verify'"))

        await wait_until_async(has_begun, "the first page")
    assert await value(db, "select finished_at from sidecar_internal.scans where purpose = 'verify'") is None
    async with running_ingest(database_url, encoder):
        await table.settle_right(encoder)
    assert await run(db, "select rows_seen, found from sidecar_internal.scans where purpose = 'verify'") == [(3000, 2)]

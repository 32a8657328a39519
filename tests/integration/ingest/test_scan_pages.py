"""Every statement of a scan reads one page: none grows with the table. The tests run the pages one by one."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from pydantic import SecretStr

from sidecar.postgres.database import Connection as OurConnection
from sidecar.postgres.database import Database
from sidecar.postgres.scans import Page, backfill_page, sweep_page, verify_page
from sidecar.postgres.watches import Watch, load_watches
from tests.integration.ingest.items import in_row_and_companion, make_texts
from tests.integration.ingest.watched_table import Connection, WatchedTable, run, value, watch

PAGE_ROWS = 10
ROWS = 45
VECTOR = "array_fill(0.25, array[16])::vector"


@pytest.fixture
async def ours(database_url: str) -> AsyncIterator[OurConnection]:
    database = Database(SecretStr(database_url))
    await database.open()
    async with database.connection() as connection:
        yield connection
    await database.close()


async def lose_rows(db: Connection, table: WatchedTable, companion: str | None) -> None:
    """Leaves ledger entries, and companion rows, of rows deleted with the triggers off; without a backfill."""
    await run(
        db,
        f"insert into sidecar_internal.ledger_{table.watch_id} (k1, gen, content_hash, vector_digest) "
        f"select i, 1, sha256(i::text::bytea), sha256(i::text::bytea) from generate_series(1, {ROWS}) i",
    )
    if companion:  # some of these are in the ledger, the others never were
        await run(db, f"insert into {companion} select i, {VECTOR} from generate_series(20, {2 * ROWS}) i")
    await run(db, f"insert into items select i, 'title ' || i from generate_series(1, {ROWS}, 9) i")
    await run(db, f"delete from sidecar_internal.events_{table.watch_id}")
    await run(db, "update sidecar_internal.scans set finished_at = now()")


async def enqueued_keys(db: Connection, table: WatchedTable) -> list[int]:
    return [row[0] for row in await run(db, f"select k1 from sidecar_internal.events_{table.watch_id} order by k1")]


@pytest.mark.parametrize("purpose", ["sweep", "verify"])
@in_row_and_companion
async def test_entries_without_row_are_searched_page_by_page(
    db: Connection, ours: OurConnection, companion: str | None, purpose: str
) -> None:
    table = await make_texts(db, companion=companion)
    await lose_rows(db, table, companion)
    await run(db, "select sidecar_internal.start_scan(%s, %s)", table.watch_id, purpose)
    [loaded] = await load_watches(ours)

    async def turn() -> Page | None:
        if purpose == "sweep":
            return await sweep_page(ours, loaded, PAGE_ROWS)
        return await verify_page(ours, loaded, PAGE_ROWS, bytes_per_s=1e12, page_bytes=10**9)

    pages, places = [], []
    while (page := await turn()) is not None:
        pages.append(page)
        places += await run(db, "select phase, last_key from sidecar_internal.scans where purpose = %s", purpose)
        assert len(pages) < 40

    gone = set(range(1, ROWS + 1)) | (set(range(20, 2 * ROWS + 1)) if companion else set())
    there = set(range(1, ROWS + 1, 9))
    found = set(await enqueued_keys(db, table))
    assert gone - there <= found
    assert found <= gone | there
    assert len(await enqueued_keys(db, table)) == len(found), "a key was enqueued twice"
    assert max(page.rows for page in pages) == PAGE_ROWS
    assert [page.last for page in pages] == [False] * (len(pages) - 1) + [True]
    assert ("entries", ["10"]) in places, "the cursor is kept with the page"
    assert await value(db, "select finished_at is not null from sidecar_internal.scans where purpose = %s", purpose)


@in_row_and_companion
async def test_a_new_sweep_starts_with_the_rows_again(
    db: Connection, ours: OurConnection, companion: str | None
) -> None:
    table = await make_texts(db, companion=companion)
    await lose_rows(db, table, companion)
    await run(db, "select sidecar_internal.start_scan(%s, 'sweep')", table.watch_id)
    [loaded] = await load_watches(ours)
    for _ in range(3):
        await sweep_page(ours, loaded, PAGE_ROWS)
    assert await value(db, "select phase from sidecar_internal.scans where purpose = 'sweep'") == "entries"

    await run(db, "select sidecar_internal.start_scan(%s, 'sweep')", table.watch_id)

    [(phase, last_key)] = await run(db, "select phase, last_key from sidecar_internal.scans where purpose = 'sweep'")
    assert (phase, last_key) == ("rows", None)


async def test_entries_without_row_under_a_key_of_two_columns_are_found_once(
    db: Connection, ours: OurConnection
) -> None:
    await run(db, "create table items (shop int, nr text, title text, primary key (shop, nr))")
    table = await watch(db, ["items"], ["title"], ["shop", "nr"])
    await run(
        db,
        f"insert into sidecar_internal.ledger_{table.watch_id} (k1, k2, gen, content_hash, vector_digest) "
        "select i % 3, 'nr ' || i, 1, sha256('x'), sha256('x') from generate_series(1, 35) i",
    )
    await run(db, "update sidecar_internal.scans set finished_at = now()")
    await run(db, "select sidecar_internal.start_scan(%s, 'sweep')", table.watch_id)
    [loaded] = await load_watches(ours)
    pages = 0
    while await sweep_page(ours, loaded, PAGE_ROWS) is not None:
        pages += 1

    assert pages == 5
    assert await table.count("events") == 35


async def test_a_move_ends_without_reading_the_whole_companion(db: Connection, ours: OurConnection) -> None:
    """Its last page once deleted all companion rows without a row; now the sweep finds those."""
    table = await make_texts(db, ROWS, companion="items_embeddings")
    await run(db, f"insert into items_embeddings select i, {VECTOR} from generate_series(1, {3 * ROWS}) i")
    await run(db, "select sidecar.watch('items', 'title', dimensions => 16, target => 'embedding', replace => true)")
    await run(db, "update sidecar_internal.watches set fingerprint = 'f', moved_fingerprint = 'f'")
    await run(
        db,
        "select sidecar.watch('items', 'title', dimensions => 16, target => 'embedding', replace => true, "
        "companion => 'items_embeddings')",
    )
    loaded: Watch
    [loaded] = await load_watches(ours)
    while "move" in loaded.scans:
        await backfill_page(ours, loaded, PAGE_ROWS)
        [loaded] = await load_watches(ours)
    assert await value(db, "select count(*) from items_embeddings") == 3 * ROWS
    await run(db, f"delete from sidecar_internal.events_{table.watch_id}")

    while await sweep_page(ours, loaded, PAGE_ROWS) is not None:
        pass

    assert set(range(ROWS + 1, 3 * ROWS + 1)) <= set(await enqueued_keys(db, table))


async def test_pages_of_a_move_do_not_scan_rows_that_were_moved(db: Connection, ours: OurConnection) -> None:
    table = await make_texts(db, companion="items_embeddings")
    await run(db, f"insert into items select i, 'title ' || i from generate_series(1, {ROWS}) i")
    await run(
        db,
        f"insert into sidecar_internal.ledger_{table.watch_id} (k1, gen, content_hash, vector_digest) "
        f"select i, 1, sha256(i::text::bytea), sha256(i::text::bytea) from generate_series(1, {ROWS}) i",
    )
    await run(db, "update sidecar_internal.watches set fingerprint = 'f'")
    await run(db, "select sidecar.watch('items', 'title', dimensions => 16, target => 'embedding', replace => true)")
    moved = []
    for _ in range(3):
        async with ours.transaction():
            moved.append(await ours.fetchval("select sidecar_internal.move_page($1, 20)", table.watch_id))
            await ours.execute("select 1")
        [(place,)] = await run(db, "select last_key[1] from sidecar_internal.scans where purpose = 'move'")
        assert place is not None

    assert moved == [20, 20, 5]
    assert await value(db, f"select count(*) from sidecar_internal.former_{table.watch_id}") == 0

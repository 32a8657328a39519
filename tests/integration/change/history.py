"""A database with watches in many states, and checks of it after a restore."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from uuid import UUID

from tests.integration.change.dumps import dump
from tests.integration.change.states import until_all_are
from tests.integration.ingest.composition import running_ingest
from tests.integration.ingest.gated_encoder import GatedEncoder
from tests.integration.ingest.items import insert_titles, make_texts
from tests.integration.ingest.watched_table import Connection, WatchedTable, run, user, value, watch
from tests.servers import open_directory
from tests.waiting import wait_until_async

PENDING = {"changed": 1, "new": 1, "title 11": 1, "in flight": 1}


@dataclass(frozen=True, slots=True)
class Dumps:
    """Dumps of a database from `make_history`: its watched tables, and the lease tokens of the crashed sidecar."""

    directory: Path
    tables: list[WatchedTable]
    dead_leases: frozenset[UUID]

    def file(self, format_name: str) -> Path:
        return self.directory / ("dump.sql" if format_name == "plain" else f"dump.{format_name}")


@contextmanager
def dumps_of(url: str, version: str) -> Iterator[Dumps]:
    async def remember() -> tuple[list[WatchedTable], frozenset[UUID]]:
        async with user(url) as connection:
            tables = await make_history(url, connection, GatedEncoder())
            leases = await run(
                connection, "select lease_token from sidecar_internal.events_1 where lease_until > now()"
            )
            return tables, frozenset(token for (token,) in leases)

    tables, dead_leases = asyncio.run(remember())
    with open_directory() as directory:
        dumps = Dumps(directory, tables, dead_leases)
        for format_name in ("custom", "plain"):
            dump(url, dumps.file(format_name), f"--format={format_name}", version=version)
        yield dumps


async def make_history(url: str, db: Connection, encoder: GatedEncoder) -> list[WatchedTable]:
    """Two watched tables with vectors and indexes, a failure, pending changes, and rows leased by a crashed sidecar."""
    await run(db, "create schema shop")
    items = await make_texts(db, 30, index="halfvec")
    await run(db, "create table shop.photos (shop text, nr int, caption text, primary key (shop, nr))")
    await run(db, "insert into shop.photos select 's', i, 'caption ' || i from generate_series(1, 10) i")
    photos = await watch(db, ["shop", "photos"], ["caption"], ["shop", "nr"], companion="vectors", index="vector")
    async with running_ingest(url, encoder) as running:
        await items.settle_right(encoder)
        await photos.settle_right(encoder)

        async def has_indexes() -> bool:
            # pg_dump omits indexes that are not valid yet.
            indexes = "select pg_get_indexdef(indexrelid) as made from pg_index where indisvalid"
            return bool(await value(db, f"select count(*) = 2 from ({indexes}) i where made like '%% hnsw %%'"))

        await wait_until_async(has_indexes, "the indexes")
        encoder.close()
        await run(db, "update items set title = 'in flight' where id = 1")
        await encoder.until_held()
        await running.crash()
        encoder.open()
    await run(db, "update items set title = 'changed' where id = 2")
    await run(db, "insert into items values (31, 'new'), (32, null)")
    await run(db, "delete from items where id = 3")
    await run(db, "update items set embedding = null where id = 11")
    await run(db, "delete from shop.photos where nr = 4")
    return [items, photos]


async def check_embedding_continues(url: str, connection: Connection, dumps: Dumps) -> None:
    encoder = GatedEncoder()
    async with running_ingest(url, encoder):
        await check_pending_is_embedded(connection, dumps, encoder)
    again = await watch(connection, ["items"], ["title"], index="halfvec")
    assert again.watch_id == dumps.tables[0].watch_id
    assert await value(connection, "select count(*) from sidecar_internal.scans where finished_at is null") == 0
    assert await value(connection, "select count(*) from pg_indexes where indexdef like '%% hnsw %%'") == 2


async def check_pending_is_embedded(connection: Connection, dumps: Dumps, encoder: GatedEncoder) -> None:
    """Rows pending at the time of the dump are embedded, once, and no others; so are rows written from now on."""
    items, photos = (replace(table, connection=connection) for table in dumps.tables)
    await items.end_leases(dumps.dead_leases)
    await items.settle_without_delays()
    await photos.settle_without_delays()
    assert dict(encoder.texts) == PENDING
    await check_writes_are_embedded(items, photos, encoder)


async def check_writes_are_embedded(items: WatchedTable, photos: WatchedTable, encoder: GatedEncoder) -> None:
    connection = items.connection
    for table in (items, photos):
        assert not await table.wrong(encoder)
    await insert_titles(connection, 41, 42)
    await run(connection, "update items set title = 'after it' where id = 5")
    await run(connection, "delete from items where id = 6")
    await run(connection, "update shop.photos set caption = 'after it' where nr = 5")
    for table in (items, photos):
        await table.settle_right(encoder)
    await until_all_are("up to date", connection)

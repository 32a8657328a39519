"""A subscriber of logical replication: rows written by the apply worker are embedded like all others."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import psycopg
import pytest

from sidecar.embedded_postgres.programs import VERSIONS
from sidecar.embedded_postgres.server import EmbeddedPostgres
from sidecar.operations.migrations import migrate
from tests.integration.ingest.composition import running_ingest
from tests.integration.ingest.gated_encoder import GatedEncoder
from tests.integration.ingest.items import make_texts
from tests.integration.ingest.watched_table import Connection, run, user, value, watch
from tests.integration.tables.both_places import settle_right, until_all_clean, watch_both
from tests.integration.tables.replication import ITEMS, subscribed, url_of
from tests.servers import Server, open_directory
from tests.waiting import wait_until_async

LOGICAL = {"fsync": "off", "full_page_writes": "off", "wal_level": "logical", "max_connections": "60"}
CHANGES = (
    "insert into items select i, 'inserted ' || i from generate_series(11, 20) i",
    "update items set title = 'changed' where id < 4",
    "update items set price = 1 where id = 4",
    "update items set id = 105 where id = 5",
    "delete from items where id = 6",
    "truncate items",
    "insert into items values (1, 'after the truncate')",
)


@pytest.fixture(scope="module")
def logical_server(postgres_server: Server) -> Iterator[Server]:
    """A server with wal_level logical, of the version that the other tests use."""
    with psycopg.connect(postgres_server.url) as connection:
        version = str(connection.info.server_version // 10000)
    if version not in VERSIONS:
        pytest.skip(f"logical replication needs a server of our own, and there is no embedded PostgreSQL {version}")
    with open_directory() as directory, EmbeddedPostgres(directory / "data", version, settings=LOGICAL) as server:
        yield Server(server.url)


@pytest.fixture
async def publisher(logical_server: Server) -> AsyncIterator[Connection]:
    """A database with ten `items` and without the sidecar's schema."""
    with logical_server.lend_database() as url:
        async with user(url) as connection:
            await run(connection, ITEMS)
            await run(connection, "insert into items select i, 'title ' || i from generate_series(1, 10) i")
            yield connection


@pytest.fixture
async def subscriber(logical_server: Server) -> AsyncIterator[Connection]:
    with logical_server.lend_database() as url:
        migrate(url)
        async with user(url) as connection:
            yield connection


async def state(db: Connection) -> str:
    return str(await value(db, "select string_agg(distinct state, '; ') from sidecar.status"))


SHAPES = {"table": "", "partitioned": " partition by range (id)"}


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
async def test_replicated_changes_of_a_subscribed_table_are_embedded(
    publisher: Connection, subscriber: Connection, encoder: GatedEncoder, shape: str
) -> None:
    await run(subscriber, ITEMS + shape)
    if shape:
        await run(subscriber, "create table items_low partition of items for values from (0) to (100)")
        await run(subscriber, "create table items_high partition of items for values from (100) to (200)")
    async with subscribed(publisher, subscriber) as replication:
        both = await watch_both(subscriber, "items", "id")
        async with running_ingest(url_of(subscriber), encoder):
            await settle_right(both, encoder)
            encoder.texts.clear()
            for change in CHANGES:
                await replication.publish(change)
                await settle_right(both, encoder)
            await until_all_clean(subscriber, both)
            assert await state(subscriber) == "up to date"
    assert encoder.texts["title 4"] == 0, "an update of another column is not embedded"


async def test_replicated_changes_of_one_watched_partition_are_embedded(
    publisher: Connection, subscriber: Connection, encoder: GatedEncoder
) -> None:
    """The subscription contains only the root."""
    await run(subscriber, ITEMS + SHAPES["partitioned"])
    await run(subscriber, "create table items_low partition of items for values from (0) to (15)")
    await run(subscriber, "create table items_high partition of items for values from (15) to (200)")
    async with subscribed(publisher, subscriber) as replication, running_ingest(url_of(subscriber), encoder):
        table = await watch(subscriber, ["items_low"], ["title"], companion="vectors")
        for change in CHANGES[:-2]:
            await replication.publish(change)
            await table.settle_right(encoder)
        assert len(await table.vectors()) == 12


async def test_a_table_subscribed_after_it_was_watched_is_reported_and_watch_repairs_it(
    publisher: Connection, subscriber: Connection, encoder: GatedEncoder
) -> None:
    """Its triggers do not fire for the apply worker; watching again replaces them and scans every row."""
    await run(subscriber, ITEMS)
    table = await watch(subscriber, ["items"], ["title"])
    async with running_ingest(url_of(subscriber), encoder), subscribed(publisher, subscriber) as replication:
        assert await table.count("events") == await table.count("ledger") == 0
        assert "call sidecar.watch again" in await state(subscriber)
        assert (await watch(subscriber, ["items"], ["title"])).watch_id == table.watch_id
        await table.settle_right(encoder)
        assert await state(subscriber) == "up to date"
        await replication.publish("update items set title = 'seen' where id = 2")
        await table.settle_right(encoder)


async def test_a_published_watched_table_replicates_its_vectors(
    publisher: Connection, subscriber: Connection, encoder: GatedEncoder
) -> None:
    """The publisher's sidecar writes the vectors; they reach the subscriber as an ordinary column."""
    here, there = subscriber, publisher
    await run(here, ITEMS)
    await run(here, "insert into items select i, 'title ' || i from generate_series(1, 3) i")
    table = await watch(here, ["items"], ["title"])
    await run(there, "truncate items")
    await run(there, "create extension vector")
    await run(there, "alter table items add column embedding vector(16)")
    query = "select id, embedding::text from items order by id"
    async with running_ingest(url_of(here), encoder), subscribed(here, there):
        await table.settle_right(encoder)
        vectors = await run(here, query)

        async def have_arrived() -> bool:
            return await run(there, query) == vectors

        await wait_until_async(have_arrived, "the vectors to arrive")


async def test_a_publication_for_all_tables_does_not_break_the_sidecars_tables(
    database_url: str, db: Connection, encoder: GatedEncoder
) -> None:
    """It includes the sidecar's tables, so each of them needs a replica identity."""
    await run(db, "create publication everything for all tables")
    table = await make_texts(db, 3)
    async with running_ingest(database_url, encoder):
        await table.settle_right(encoder)
        await run(db, "select sidecar_internal.report_breakage(%s, '42703', 'broken on purpose')", table.watch_id)
        await watch(db, ["items"], ["title"])
        await table.settle_right(encoder)
        await run(db, "truncate items")
        await table.settle_right(encoder)
        await run(db, "select sidecar.unwatch('items', drop_target => true)")

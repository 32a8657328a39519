"""A row that Postgres cannot read becomes a failure with the reason, and its neighbours get their vectors."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager

import psycopg
import pytest
from psycopg import sql

from sidecar.operations.migrations import migrate
from tests.integration.ingest.composition import running_ingest
from tests.integration.ingest.gated_encoder import GatedEncoder
from tests.integration.ingest.items import in_row_and_companion
from tests.integration.ingest.watched_table import Connection, WatchedTable, run, user, value, watch
from tests.servers import Server

ROWS = 300  # more than one page, with the bad ones among them

# Ways in which PG 18 cannot read a row, as expressions over n, which is 0 for the bad ones.
COMPUTED = {
    "a division by zero": ("(n / n + n)::text", "division by zero", "22012"),
    "a text of more than a gigabyte": (
        "repeat(n::text, 2000000000 - n * 1999999999)",
        "requested length too large",
        "54000",
    ),
    "a broken number": ("(left('no', 2 - 2 * n) || n)::integer::text", "invalid input syntax", "22P02"),
}


async def reasons(table: WatchedTable) -> dict[str, str]:
    return {key: reason for key, (reason, _) in (await table.failures()).items()}


async def make_computed(db: Connection, expression: str, bad: list[int], companion: str | None) -> WatchedTable:
    """Creates `items (id, n, title)`, whose title is computed when it is read."""
    await run(
        db,
        "create table items (id integer primary key, n integer, "
        f"title text generated always as ({expression}) virtual)",
    )
    await run(
        db,
        "insert into items (id, n) select i, case when i = any (%s) then 0 else 1 end from generate_series(1, %s) i",
        bad,
        ROWS,
    )
    return await watch(db, ["items"], ["title"], companion=companion)


@pytest.mark.parametrize("fault", COMPUTED)
@in_row_and_companion
async def test_a_column_that_cannot_be_computed_is_a_failure_of_its_row_alone(
    database_url: str, db: Connection, encoder: GatedEncoder, companion: str | None, fault: str
) -> None:
    expression, message, sqlstate = COMPUTED[fault]
    bad = [1, 77, 78, ROWS]
    table = await make_computed(db, expression, bad, companion)
    home = companion or "items"
    async with running_ingest(database_url, encoder):
        await table.settle()

        assert await reasons(table) == {f'{{"id": "{i}"}}': "read_rejected" for i in bad}
        [text] = {text for _, text in (await table.failures()).values()}
        assert message in text
        assert sqlstate in text
        assert await value(db, f"select count(embedding) from {home}") == ROWS - len(bad)
        assert await value(db, "select broken is null from sidecar_internal.watches")

        await run(
            db,
            "with gone as (delete from items where n = 0) "
            "insert into items (id, n) select 1000 + i, 1 from generate_series(1, 4) i",
        )
        await table.settle()
        assert await table.failures() == {}
        assert await value(db, f"select count(embedding) from {home}") == ROWS


async def test_a_row_that_becomes_unreadable_loses_its_vector_and_gets_it_back_once_repaired(
    database_url: str, db: Connection, encoder: GatedEncoder
) -> None:
    table = await make_computed(db, COMPUTED["a division by zero"][0], [], "vectors")
    async with running_ingest(database_url, encoder):
        await table.settle()
        await run(db, "delete from items where id = 5")
        await run(db, "insert into items (id, n) values (5, 0)")
        await table.settle()
        assert await reasons(table) == {'{"id": "5"}': "read_rejected"}
        assert await value(db, "select count(*) from vectors where id = 5") == 0

        await run(db, "set session_replication_role = replica")  # no trigger fires: the user enqueues the row
        await run(db, "update items set n = 2 where id = 5")
        await run(db, "reset session_replication_role")
        await run(db, "select sidecar.retry('items', key => '{\"id\": 5}')")
        await table.settle_right(encoder)
        assert await table.failures() == {}


@in_row_and_companion
async def test_a_verification_skips_rows_that_cannot_be_read(
    database_url: str, db: Connection, encoder: GatedEncoder, companion: str | None
) -> None:
    bad = [1, 77, 78, ROWS]
    table = await make_computed(db, COMPUTED["a division by zero"][0], bad, companion)
    home = companion or "items"
    async with running_ingest(database_url, encoder):
        await table.settle()
        await run(db, "set session_replication_role = replica; ")
        await run(db, f"update {home} set embedding = array_fill(1, array[16])::vector where id in (76, 79, 200)")
        await run(db, "reset session_replication_role")
        await run(db, "select sidecar.verify('items')")
        await table.settle()

        assert await reasons(table) == {f'{{"id": "{i}"}}': "read_rejected" for i in bad}
        assert await value(db, "select found from sidecar_internal.scans where purpose = 'verify'") == 3
        assert await value(db, f"select count(embedding) from {home}") == ROWS - len(bad)


async def test_a_verification_of_a_small_table_finds_nothing_wrong_with_the_rows_beside_it(
    database_url: str, db: Connection, encoder: GatedEncoder
) -> None:
    """The table is so small that it is sorted rather than read by its index."""
    await run(
        db,
        "create table items (id integer primary key, n integer, "
        f"title text generated always as ({COMPUTED['a division by zero'][0]}) virtual)",
    )
    await run(db, "insert into items (id, n) values (1, 1), (2, 0), (3, 1), (4, 0), (5, 1)")
    await run(db, "analyze items (id)")
    table = await watch(db, ["items"], ["title"])
    async with running_ingest(database_url, encoder):
        await table.settle()
        await run(db, "select sidecar.verify('items')")
        await table.settle()
        seen = await value(db, "select array[rows_seen, found] from sidecar_internal.scans where purpose = 'verify'")
    assert seen == [5, 0]


async def test_a_plan_samples_only_rows_that_can_be_read(db: Connection) -> None:
    await make_computed(db, COMPUTED["a division by zero"][0], [5], None)
    sampled = await value(
        db,
        "select array_agg(s.bytes) from sidecar_internal.watches w cross join "
        "sidecar_internal.sample_source(w, 300, 500, 1024) s",
    )
    assert len(sampled) == ROWS
    assert sampled.count(None) == 1


@pytest.fixture
def ascii_database_url(postgres_server: Server) -> Iterator[str]:
    """A database without a character encoding."""
    name = f"sidecar_test_ascii_{id(object())}"
    with psycopg.connect(postgres_server.url, autocommit=True) as connection:
        connection.execute(
            sql.SQL("create database {} template template0 encoding 'SQL_ASCII' locale 'C'").format(
                sql.Identifier(name)
            )
        )
    url = postgres_server.database_url(name)
    try:
        migrate(f"{url}?client_encoding=utf8")
        yield url
    finally:
        postgres_server.drop_database(name)


async def test_an_invalid_byte_is_a_failure_of_its_row_alone(ascii_database_url: str, encoder: GatedEncoder) -> None:
    async with user(f"{ascii_database_url}?client_encoding=utf8") as db:
        await run(db, "create table items (id integer primary key, title text)")
        await run(
            db,
            r"insert into items select i, case i when 7 then E'caf\xe9' else 'title ' || i end "
            "from generate_series(1, 20) i",
        )
        table = await watch(db, ["items"], ["title"], companion="vectors")
        async with running_ingest(ascii_database_url, encoder):
            await table.settle()
            assert await reasons(table) == {'{"id": "7"}': "read_rejected"}
            assert await value(db, "select count(*) from vectors") == 19
            await run(db, r"update items set title = E'caf\xc3\xa9' where id = 7")
            await table.settle()
            assert await table.failures() == {}
            assert await value(db, "select count(*) from vectors") == 20


@asynccontextmanager
async def damaged_copy(server: Server, url: str, relation: str) -> AsyncIterator[str]:
    """A copy of the database at `url` in which the file of `relation` has lost its first block."""
    name = f"{url.rpartition('/')[2]}_copy"
    async with user(url) as db:
        file = await value(db, "select pg_relation_filepath(%s::regclass)", relation)
        await run(db, "checkpoint")
    async with user(server.url) as admin:
        await run(admin, f"create database {name} template {url.rpartition('/')[2]} strategy file_copy")
        oid = await value(admin, "select oid::text from pg_database where datname = %s", name)
        path = f"base/{oid}/{file.rpartition('/')[2]}"
        zero = f"cat >/dev/null; dd if=/dev/zero of={path} bs=8192 count=1 conv=notrunc 2>/dev/null"
        await run(admin, f"copy (select 1) to program '{zero}'")
    try:
        yield server.database_url(name)
    finally:
        server.drop_database(name)


async def test_a_damaged_block_of_contents_is_a_failure_of_its_rows(
    database_url: str, postgres_server: Server, encoder: GatedEncoder
) -> None:
    async with user(database_url) as db:
        await run(db, "create table items (id integer primary key, title text)")
        await run(db, "alter table items alter title set storage external")
        await run(db, "insert into items select i, repeat(i || ' ', 5000) from generate_series(1, 20) i")
        table = await watch(db, ["items"], ["title"])
        toast = await value(db, "select reltoastrelid::regclass::text from pg_class where relname = 'items'")
    async with damaged_copy(postgres_server, database_url, toast) as url, user(url) as db:
        table = WatchedTable(db, table.watch_id, table.table, table.key, table.source, table.target, None)
        async with running_ingest(url, encoder):
            await table.settle()
            assert await reasons(table) == {'{"id": "1"}': "read_rejected"}
            assert "chunk number" in str(await table.failures())
            assert await value(db, "select count(embedding) from items") == 19


async def test_a_damaged_vector_is_replaced(database_url: str, postgres_server: Server, encoder: GatedEncoder) -> None:
    async with user(database_url) as db:
        await run(db, "create table items (id integer primary key, title text, pad text default repeat('x', 3000))")
        await run(db, "alter table items alter pad set storage plain")  # so that the vector is stored out of line
        await run(db, "insert into items select i, 'title ' || i from generate_series(1, 20) i")
        table = await watch(db, ["items"], ["title"])
        await run(db, "alter table items alter embedding set storage external")
        async with running_ingest(database_url, encoder):
            await table.settle_right(encoder)
        toast = await value(db, "select reltoastrelid::regclass::text from pg_class where relname = 'items'")
    async with damaged_copy(postgres_server, database_url, toast) as url, user(url) as db:
        table = WatchedTable(db, table.watch_id, table.table, table.key, table.source, table.target, None)
        with pytest.raises(psycopg.Error, match="chunk"):
            await table.vectors()
        await run(db, "select sidecar.verify('items')")
        async with running_ingest(url, encoder):
            await table.settle_right(encoder)

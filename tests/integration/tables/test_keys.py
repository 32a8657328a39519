"""Keys that are equal but spelled differently, generated keys, and unusual kinds of primary keys."""

from __future__ import annotations

import json

import numpy as np
import psycopg
import pytest

from tests.encoders import HashEncoder
from tests.integration.ingest.composition import running_ingest
from tests.integration.ingest.gated_encoder import GatedEncoder
from tests.integration.ingest.watched_table import Connection, WatchedTable, run, value
from tests.integration.tables.both_places import settle_right, until_all_clean, watch_both
from tests.integration.tables.sweeping import sweep, until_clean

# By table: the key's type, three spellings of one key, another key.
RESPELLED = {
    "numbers": ("numeric", ["1.0", "1.00", "1"], "2"),
    "doubles": ("double precision", ["'-0'", "'0'", "'-0.0'"], "1"),
    "intervals": ("interval", ["'1 mon'", "'30 days'", "'720 h'"], "'1 h'"),
    "documents": ("jsonb", ["'1.0'", "'1.00'", "'1'"], "'2'"),
}
WORDS = {"words": ("text collate case_blind", ["'Ab'", "'aB'", "'ab'"], "'c'")}
CASE_BLIND = "create collation case_blind (provider = icu, locale = 'und-u-ks-level2', deterministic = false)"


async def check_joined(db: Connection, table: WatchedTable, encoder: HashEncoder) -> None:
    """Checks with a user's join that each row of the table has exactly one vector, and the right one."""
    name, vectors = (each.as_string(db) for each in (table.table, table.companion or table.table))
    rows = await run(db, f"select t.title, h.{table.target}::text from {name} t join {vectors} h using (id)")
    assert (
        len(rows)
        == await value(db, f"select count(*) from {name}")
        == await value(db, f"select count(*) from {vectors}")
    )
    for title, vector in rows:
        np.testing.assert_allclose(json.loads(vector), encoder.vector_of(title), atol=1e-6)


async def respell(db: Connection, name: str, spellings: list[str]) -> None:
    """Enqueues an event for every spelling; the remaining row has the second one."""
    first, second, third = spellings
    for turn, spelling in enumerate([second, third, first]):
        await run(db, f"update {name} set id = {spelling}, title = 'turn {turn}' where id = {first}")
    await run(db, f"delete from {name} where id = {second}")
    await run(db, f"insert into {name} values ({third}, 'again')")
    await run(db, f"update {name} set id = {second} where id = {first}")


async def check_respelled(
    db: Connection, encoder: HashEncoder, database_url: str, shapes: dict[str, tuple[str, list[str], str]]
) -> None:
    tables = []
    for name, (type_, (first, *_), other) in shapes.items():
        await run(db, f"create table {name} (id {type_} primary key, title text)")
        await run(db, f"insert into {name} values ({first}, 'one'), ({other}, 'other')")
        tables += await watch_both(db, name, "id")
    async with running_ingest(database_url, encoder):
        for table in tables:
            await table.settle_right(encoder)
    for name, (_, spellings, _) in shapes.items():
        await respell(db, name, spellings)
    for table in tables:
        assert len(set(await run(db, f"select k1::text from sidecar_internal.events_{table.watch_id}"))) >= 2
    async with running_ingest(database_url, encoder):
        for table in tables:
            await table.settle()
            await until_clean(db, table)
            await check_joined(db, table, encoder)
            assert await table.failures() == {}


async def test_different_spellings_of_a_key_are_the_same_key(
    database_url: str, db: Connection, encoder: GatedEncoder
) -> None:
    """All spellings are in one batch; one row, one ledger entry and one vector remain."""
    await check_respelled(db, encoder, database_url, RESPELLED)


async def test_keys_that_differ_in_case_are_the_same_under_a_case_insensitive_collation(
    database_url: str, db: Connection, encoder: GatedEncoder
) -> None:
    try:
        await run(db, CASE_BLIND)
    except psycopg.errors.FeatureNotSupported:
        pytest.skip("this build of Postgres has no ICU, and so no collation that ignores case")
    await check_respelled(db, encoder, database_url, WORDS)


async def test_generated_and_identity_columns_work_as_keys(
    database_url: str, db: Connection, encoder: GatedEncoder
) -> None:
    """A generated key changes although the UPDATE does not name it."""
    await run(
        db,
        """
        create table items (id bigint generated always as identity, shop text, title text,
                            slug text generated always as (lower(shop) || '/' || lower(title)) stored,
                            sold boolean default false, primary key (slug, sold, id))
        """,
    )
    await run(db, "insert into items (shop, title) select 'Shop ' || i % 2, 'Title ' || i from generate_series(1, 6) i")
    both = await watch_both(db, "items", "slug", "sold", "id")
    async with running_ingest(database_url, encoder):
        await settle_right(both, encoder)
        await run(db, "update items set shop = 'Mall' where id < 3")
        await run(db, "update items set sold = not sold where id > 4")
        await run(db, "insert into items (shop, title) values ('new', 'new')")
        await run(db, "delete from items where id = 3")
        await settle_right(both, encoder)
        await until_all_clean(db, both)


async def test_a_deferrable_primary_key_may_be_violated_until_the_commit(
    database_url: str, db: Connection, encoder: GatedEncoder
) -> None:
    await run(db, "create table items (id bigint primary key deferrable initially deferred, title text)")
    await run(db, "insert into items select i, 'title ' || i from generate_series(1, 5) i")
    both = await watch_both(db, "items", "id")
    async with running_ingest(database_url, encoder):
        await settle_right(both, encoder)
        async with db.transaction():
            await run(db, "update items set id = 2 where id = 1")
            await run(db, "insert into items values (3, 'a second three')")
            await run(db, "update items set id = 1 where title = 'title 2'")
            await run(db, "delete from items where title = 'title 3'")
        await settle_right(both, encoder)
        await until_all_clean(db, both)


async def test_a_temporal_primary_key_works_as_a_key(database_url: str, db: Connection, encoder: GatedEncoder) -> None:
    if db.info.server_version < 180000:
        pytest.skip("WITHOUT OVERLAPS came with Postgres 18")
    await run(
        db,
        """
        create table items (room int4range, during daterange, title text, primary key (room, during without overlaps))
        """,
    )
    await run(
        db,
        "insert into items select int4range(i, i + 1), daterange('2026-01-01', '2026-02-01'), 'title ' || i "
        "from generate_series(1, 8) i",
    )
    both = await watch_both(db, "items", "room", "during")
    async with running_ingest(database_url, encoder, ingest_batch_rows=3):
        await settle_right(both, encoder)
        await run(db, "update items set during = '[2026-01-01,2026-01-15)', title = 'shorter' where room = '[1,2)'")
        await run(db, "insert into items values ('[1,2)', '[2026-01-15,2026-02-01)', 'the rest of it')")
        await run(db, "delete from items where room = '[2,3)'")
        await settle_right(both, encoder)
        for table in both:
            await sweep(db, table, encoder)
        await until_all_clean(db, both)

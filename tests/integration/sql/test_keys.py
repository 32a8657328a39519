"""Every key type works in triggers, claims, reads, completions, companions and sweeps."""

from __future__ import annotations

import pytest

from tests.encoders import HashEncoder
from tests.integration.ingest.composition import DIMENSIONS, running_ingest
from tests.integration.ingest.watched_table import Connection, WatchedTable, run, user, watch

TYPES = """
create schema "Odd, Place";
create type "Odd, Place"."Co""lour" as enum ('red', 'green', 'blue');
create domain sku as text not null check (value <> '');
create domain small_sku as sku check (length(value) < 20);
create domain byte_sku as text collate "C";
"""

# The key's columns and their types; keys of three rows; a statement that changes the key of the first.
KEYS = {
    "bigint": (["id bigint"], ["1", "-9223372036854775808", "9007199254740993"]),
    "smallint": (["id smallint"], ["1", "2", "3"]),
    "uuid": (["id uuid"], [f"'{i}0000000-0000-4000-8000-000000000000'" for i in range(3)]),
    "text": (["id text"], ["''", "'a b'", "'quote '' and \"double\", back\\slash, {brace}, ünï'"]),
    "collated": (['id text collate "C"'], ["'a'", "'B'", "'ä'"]),
    "varchar": (["id varchar(9)"], ["'a'", "'b '", "'NULL'"]),
    "char": (["id char(4)"], ["'a'", "'ab'", "''"]),
    "numeric": (["id numeric(12, 3)"], ["1.5", "-0.001", "123456789.125"]),
    "loose numeric": (["id numeric"], ["1.50", "-7", "1e30"]),
    "real": (["id real"], ["0.1", "'Infinity'", "-1e-30"]),
    "double": (["id double precision"], ["0.1", "-0.25", "1e300"]),
    "date": (["id date"], ["'2026-01-02'", "'0044-03-15'", "'9999-12-31'"]),
    "timestamptz": (["id timestamptz(3)"], ["'2026-01-02 03:04:05.678+09'", "'1900-01-01'", "'2999-01-01'"]),
    "interval": (["id interval"], ["'1 day'", "'-90 min'", "'1 mon 2 days 03:04:05.6'"]),
    "boolean": (["id boolean"], ["true", "false"]),
    "bytea": (["id bytea"], [r"'\x00ff'", "''", "'abc'"]),
    "inet": (["id inet"], ["'10.0.0.1/8'", "'::1'", "'192.168.1.1'"]),
    "enum": (['id "Odd, Place"."Co""lour"'], ["'red'", "'green'", "'blue'"]),
    "domain": (["id small_sku"], ["'a'", "'b'", "'c'"]),
    "collated domain": (['id byte_sku collate "ucs_basic"'], ["'a'", "'B'", "'ä'"]),
    "range": (["id int4range"], ["'[1,2)'", "'empty'", "'(,)'"]),
    "two columns": (["region text", "id bigint"], ["'eu', 1", "'us', 1", "'', 2"]),
    "five columns": (
        ['d date', 'c "Odd, Place"."Co""lour"', "u uuid", "n numeric", "t text"],
        [f"'2026-01-0{i}', 'red', '{i}0000000-0000-4000-8000-000000000000', {i}.5, 'x'" for i in range(1, 4)],
    ),
}  # fmt: skip


async def _create(db: Connection, name: str, place: str, source: str) -> tuple[str, list[str]]:
    """The table's and the key columns' names."""
    columns, _ = KEYS[name]
    table = f"{name} {place}".replace(" ", "_")
    key = [column.split()[0] for column in columns]
    await run(db, f"create table {table} ({', '.join([*columns, source])}, primary key ({', '.join(key)}))")
    return table, key


@pytest.mark.parametrize("place", ["in row", "companion"])
async def test_rows_are_embedded_updated_and_deleted_with_every_key_type(database_url: str, place: str) -> None:
    encoder = HashEncoder(dimensions=DIMENSIONS)
    watched: dict[str, WatchedTable] = {}
    async with user(database_url) as db, running_ingest(database_url, encoder) as _:
        await run(db, TYPES)
        for name, (_, rows) in KEYS.items():
            table, key = await _create(db, name, place, "title text")
            await run(db, f"insert into {table} values ({rows[0]}, 'there before')")
            companion = None if place == "in row" else f"{table}_vectors"
            watched[table] = await watch(db, [table], ["title"], key, companion=companion)
            for row in rows[1:]:
                await run(db, f"insert into {table} values ({row}, 'came later')")
        for each in watched.values():
            await each.settle_right(encoder)
        for table in watched:
            await run(db, f"update {table} set title = title || '!'")
            await run(db, f"delete from {table} where title like 'there%'")
        for each in watched.values():
            await each.settle_right(encoder)
        statuses = await run(db, "select state, failed, pending, embedded - rows from sidecar.status")
        assert set(statuses) == {("up to date", 0, 0, 0)}


async def test_every_key_type_survives_the_scan_cursor_and_the_json_of_failures(database_url: str) -> None:
    encoder = HashEncoder(dimensions=DIMENSIONS)
    watched: dict[str, WatchedTable] = {}
    async with user(database_url) as db:
        await run(db, TYPES)
        for name, (_, rows) in KEYS.items():
            table, key = await _create(db, name, "failing", "photo bytea")
            for row in rows:
                await run(db, f"insert into {table} values ({row}, 'no picture')")
            watched[table] = await watch(db, [table], ["photo"], key)
        async with running_ingest(database_url, encoder, pictures=True, ingest_batch_rows=1) as _:
            for table, each in watched.items():
                await each.settle()
                failures = await run(db, "select key::text from sidecar.failures where relation = %s::regclass", table)
                assert len(failures) == await each.count("ledger") == len(await each.contents()), table
        for table, key_json in await run(db, "select relation::text, key::text from sidecar.failures"):
            assert await run(db, "select sidecar.retry(%s, key => %s::jsonb)", table, key_json) == [(1,)], key_json
        for table, each in watched.items():
            assert await each.count("events") == len(await each.contents()), table

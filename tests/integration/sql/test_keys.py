"""Every type of key goes the whole way: trigger, claim, read, complete, companion, sweep of a deleted row."""

from __future__ import annotations

import pytest

from tests.encoders import HashEncoder
from tests.integration.ingest.composition import DIMENSIONS, running_ingest
from tests.integration.ingest.watched_table import WatchedTable, run, user, watch

TYPES = """
create schema "Odd, Place";
create type "Odd, Place"."Co""lour" as enum ('red', 'green', 'blue');
create domain sku as text not null check (value <> '');
create domain small_sku as sku check (length(value) < 20);
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
    "range": (["id int4range"], ["'[1,2)'", "'empty'", "'(,)'"]),
    "two columns": (["region text", "id bigint"], ["'eu', 1", "'us', 1", "'', 2"]),
    "five columns": (
        ['d date', 'c "Odd, Place"."Co""lour"', "u uuid", "n numeric", "t text"],
        [f"'2026-01-0{i}', 'red', '{i}0000000-0000-4000-8000-000000000000', {i}.5, 'x'" for i in range(1, 4)],
    ),
}  # fmt: skip


def _table_name(key: str, place: str) -> str:
    return f"{key} {place}".replace(" ", "_")


@pytest.mark.parametrize("place", ["in_row", "companion"])
async def test_rows_with_any_key_are_embedded_changed_and_deleted(database_url: str, place: str) -> None:
    encoder = HashEncoder(dimensions=DIMENSIONS)
    tables: dict[str, WatchedTable] = {}
    async with user(database_url) as db, running_ingest(database_url, encoder) as _:
        await run(db, TYPES)
        for name, (columns, rows) in KEYS.items():
            table = _table_name(name, place)
            key = [column.split()[0] for column in columns]
            await run(db, f"create table {table} ({', '.join(columns)}, title text, primary key ({', '.join(key)}))")
            await run(db, f"insert into {table} values ({rows[0]}, 'there before')")
            companion = {} if place == "in_row" else {"companion": f"{table}_vectors"}
            tables[table] = await watch(db, [table], ["title"], key, **companion)
            for row in rows[1:]:
                await run(db, f"insert into {table} values ({row}, 'came later')")
        for table in tables.values():
            await table.settle_right(encoder)
        for name in tables:
            await run(db, f"update {name} set title = title || '!'")
            [(rows_left,)] = await run(db, f"with gone as (delete from {name} where title like 'there%' returning 1) "
                                           "select count(*) from gone")  # fmt: skip
            assert rows_left == 1
        for table in tables.values():
            await table.settle_right(encoder)
        statuses = await run(db, "select relation::text, state, failed, pending, embedded - rows from sidecar.status")
        assert {status[1:] for status in statuses} == {("up to date", 0, 0, 0)}


async def test_a_backfill_in_pages_and_a_failure_find_rows_with_any_key(database_url: str) -> None:
    """The keyset cursor and the key in sidecar.failures go through text and JSON and back."""
    encoder = HashEncoder(dimensions=DIMENSIONS)
    async with user(database_url) as db:
        await run(db, TYPES)
        tables = {}
        for name, (columns, rows) in KEYS.items():
            table = _table_name(name, "failing")
            key = [column.split()[0] for column in columns]
            await run(db, f"create table {table} ({', '.join(columns)}, photo bytea, primary key ({', '.join(key)}))")
            for row in rows:
                await run(db, f"insert into {table} values ({row}, 'no picture')")
            tables[table] = await watch(db, [table], ["photo"], key)
        async with running_ingest(database_url, encoder, pictures=True, ingest_batch_rows=1) as _:
            for table in tables.values():
                await table.settle()
            for name, table in tables.items():
                keys = await run(db, "select key, reason from sidecar.failures where relation = %s::regclass", name)
                assert {reason for _, reason in keys} == {"not_a_picture"}
                assert len(keys) == await table.count("ledger") == len(await table.contents()), name
                for (key,) in await run(
                    db, "select key::text from sidecar.failures where relation = %s::regclass", name
                ):
                    assert await run(db, "select sidecar.retry(%s, key => %s::jsonb)", name, key) == [(1,)], (name, key)
            for table in tables.values():
                await table.settle()

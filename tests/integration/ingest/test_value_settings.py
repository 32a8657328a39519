"""Settings of a user's database that change how values are printed and parsed: no key is lost by any of them."""

from __future__ import annotations

import json

import psycopg
import pytest

from tests.integration.ingest.composition import running_ingest
from tests.integration.ingest.gated_encoder import GatedEncoder
from tests.integration.ingest.watched_table import Connection, WatchedTable, picture, run, user, value, watch

SETTINGS = {
    "extra_float_digits": "-15",
    "bytea_output": "escape",
    "datestyle": "'SQL, DMY'",
    "intervalstyle": "sql_standard",
    "timezone": "'Asia/Kathmandu'",
    "quote_all_identifiers": "on",
    "standard_conforming_strings": "off",
    "xmlbinary": "hex",
}
# Type, three keys as literals, and the first of them in JSON.
KEYS = {
    "double precision": ("0.1::float8 + 0.2", "1::float8 / 3", "1e300", 0.30000000000000004),
    "real": ("1::real / 3", "16777217.5", "-1e-30", 0.33333334),
    "timestamptz": ("'2026-02-01 03:04:05.67+00'", "'1900-01-01'", "'infinity'", "2026-02-01T03:04:05.67+00:00"),
    "date": ("'2026-02-01'", "'0044-03-15'", "'-infinity'", "2026-02-01"),
    "interval": ("'-1 mon -2 days -03:04:05'", "'1 mon -2 days 3 h'", "'-90 min'", "-1 mons -2 days -03:04:05"),
    "bytea": (r"decode('00ff5c27', 'hex')", "''", "'abc'", r"\x00ff5c27"),
    "money": ("1.5", "-0.01", "100", "$1.50"),
    "regclass": ("'pg_class'", "'sidecar_internal.watches'", "0", "pg_class"),
    "timetz": ("'03:04:05+09'", "'03:04:05-11:30'", "'24:00:00Z'", "03:04:05+09"),
}  # fmt: skip


async def set_all(db: Connection) -> None:
    """Applies settings to all new sessions and to the oracle's own."""
    name = await value(db, "select current_database()")
    for setting, wanted in SETTINGS.items():
        await run(db, f'alter database "{name}" set {setting} = {wanted}')


async def make(db: Connection, type_: str) -> WatchedTable:
    """Creates three rows, the first of which is no picture; one is inserted after the watch."""
    table = f"with_{type_.replace(' ', '_')}"
    first, second, third, _ = KEYS[type_]
    await run(db, f"create table {table} (id {type_} primary key, photo bytea)")
    await run(db, f"insert into {table} values ({first}, 'none'), ({second}, %s)", picture(1))
    watched = await watch(db, [table], ["photo"])
    await run(db, f"insert into {table} values ({third}, %s)", picture(2))
    return watched


async def test_no_key_is_taken_for_another_under_any_setting_of_the_database(
    database_url: str, db: Connection, encoder: GatedEncoder
) -> None:
    await set_all(db)
    watches = {type_: await make(db, type_) for type_ in KEYS}
    async with running_ingest(database_url, encoder, pictures=True, ingest_batch_rows=2):
        for _ in ("backfill", "sweep and verify"):
            for type_, watched in watches.items():
                await watched.settle()
                table = f"with_{type_.replace(' ', '_')}"
                assert await run(db, f"select count(*), count(embedding) from {table}") == [(3, 2)], table
                assert await watched.count("ledger", "content_hash is null") == 0, table
                await run(
                    db, "select sidecar_internal.start_scan(%s, 'sweep'), sidecar.verify(%s)", watched.watch_id, table
                )
        for watched in watches.values():
            await watched.settle()
        assert await run(db, "select distinct found from sidecar_internal.scans where purpose = 'verify'") == [(0,)]


async def test_a_key_is_found_under_any_setting_of_the_session(
    database_url: str, db: Connection, encoder: GatedEncoder
) -> None:
    """By the user's spelling, and by the one in sidecar.failures."""
    watches = {type_: await make(db, type_) for type_ in KEYS}
    async with running_ingest(database_url, encoder, pictures=True):
        for watched in watches.values():
            await watched.settle()
    await set_all(db)
    async with user(database_url) as session:
        for type_, watched in watches.items():
            table = f"with_{type_.replace(' ', '_')}"
            shown = await value(session, "select key::text from sidecar.failures where relation = %s::regclass", table)
            for key in (json.dumps({"id": KEYS[type_][3]}), shown):
                assert await value(session, "select sidecar.retry(%s, key => %s::jsonb)", table, key) == 1, (
                    table,
                    key,
                )
                same = f"select k1 = id from sidecar_internal.events_{watched.watch_id}, {table} where photo = 'none'"
                assert await run(session, same) == [(True,)], (table, key)
                await run(db, f"delete from sidecar_internal.events_{watched.watch_id}")
                wait = "call sidecar.wait_embedded(%s::regclass, %s::jsonb, timeout_ms => 0)"
                with pytest.raises(psycopg.Error, match="cannot be embedded: not_a_picture"):
                    await run(session, wait, table, key)


async def test_a_table_is_followed_under_any_setting_of_the_session_that_watched_it(
    database_url: str, db: Connection, encoder: GatedEncoder
) -> None:
    await set_all(db)
    async with user(database_url) as session:
        await run(session, "create table items (region text, id integer, title text, primary key (region, id))")
        table = await watch(session, ["items"], ["title"], key=("region", "id"))
        await run(session, "insert into items values ('eu', 1, 'a')")
        async with running_ingest(database_url, encoder):
            await table.settle_right(encoder)
            assert await value(db, "select state from sidecar.status") == "up to date"

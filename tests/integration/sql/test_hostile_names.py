"""Users' names with spaces and quotes, of the maximum length, and equal to names that the sidecar uses."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass

import pytest
from psycopg import sql

from tests.encoders import HashEncoder
from tests.integration.ingest.composition import DIMENSIONS, running_ingest
from tests.integration.ingest.watched_table import Connection, WatchedTable, run, user, watch

LONG = "ü" * 31 + "x"  # 63 bytes


@dataclass(frozen=True)
class Names:
    """Names of a schema, a table, its key and source columns, the target, and the companion."""

    schema: str
    table: str
    key: Sequence[str]
    source: Sequence[str]
    target: str
    companion: str


HOSTILE = [
    Names("public", '"we""ird ; drop table x --', ["id"], ["a b"], "e'", "c\\d"),
    Names('Sch"ema', "Table.With.Dots", ['"', "'"], ["%I", "%s %%"], "$1", "{events}"),
    Names("select", "from", ["where"], ["order"], "limit", "table"),
    Names("pg", "old", ["new"], ["old"], "changed_rows", "tg_op"),
    Names("k", "t", ["k1", "k2"], ["gen", "u"], "t", "e"),
    Names("l", "u", ["position", "k1"], ["content", "embedding"], "digest", "h"),
    Names("g", "page", ["k2", "k1"], ["force", "backfill"], "attempts", "p"),
    Names("w", "gone", ["l"], ["rows"], "relation", "wanted"),
    Names("Ümläut ☃", LONG, [LONG, "y" * 63], ["z" * 63], "ö" * 31, "ß" * 31),
    Names("$$", "$1", ["$f$", "$body$ \\'"], ["$outer$"], "$code$", "$_$"),
    Names("news\nlines", "tab\tle", ["/* */"], ["-- "], "';'", '""'),
]


async def _create(db: Connection, names: Names) -> sql.Identifier:
    table = sql.Identifier(names.schema, names.table)
    columns = sql.SQL(", ").join(
        [sql.SQL("{} bigint").format(sql.Identifier(key)) for key in names.key]
        + [sql.SQL("{} text").format(sql.Identifier(source)) for source in names.source]
    )
    key = sql.SQL(", ").join(map(sql.Identifier, names.key))
    await db.execute(sql.SQL("create schema if not exists {}").format(sql.Identifier(names.schema)))
    await db.execute(sql.SQL("create table {} ({}, primary key ({}))").format(table, columns, key))
    return table


async def _insert(db: Connection, names: Names, table: sql.Identifier, number: int) -> None:
    values = [number] * len(names.key) + [f"text {number} of {column}" for column in names.source]
    columns = sql.SQL(", ").join(map(sql.Identifier, [*names.key, *names.source]))
    await db.execute(
        sql.SQL("insert into {} ({}) values ({})").format(table, columns, sql.SQL(", ").join(map(sql.Literal, values)))
    )


async def _watch_with_two_rows(db: Connection, names: Names, place: str) -> WatchedTable:
    """One row exists before the watch; the other is inserted and updated afterwards."""
    table = await _create(db, names)
    await _insert(db, names, table, 1)
    companion = names.companion if place == "companion" else None
    path = (names.schema, names.table)
    watched = await watch(db, path, names.source, names.key, target=names.target, companion=companion)
    await _insert(db, names, table, 2)
    await db.execute(sql.SQL("update {} set {} = 'new'").format(table, sql.Identifier(names.source[0])))
    return watched


async def _spoil(db: Connection, names: Names, watched: WatchedTable) -> None:
    """With triggers disabled, changes the key of one row and removes all vectors."""
    key, target = sql.Identifier(names.key[0]), sql.Identifier(names.target)
    await db.execute(sql.SQL("update {} set {} = 77 where {} = 1").format(watched.table, key, key))
    remove = sql.SQL("delete from {}") if watched.companion else sql.SQL("update {} set {} = null")
    await run(db, "set session_replication_role = replica")
    await db.execute(remove.format(watched.companion or watched.table, target))
    await run(db, "reset session_replication_role")


async def _ask_for_each(db: Connection, watched: Sequence[WatchedTable]) -> None:
    """Calls each public function on the table: every result must cover its two rows."""
    for each in watched:
        name = each.table.as_string(db)
        [(query, rows, state)] = await run(
            db, "select query, rows, state from sidecar.status_exact(%s::text::regclass)", name
        )
        assert (rows, state) == (2, "up to date")
        search = query.replace("%", "%%").replace("$1::", "%s::")
        assert len(await run(db, search, str([0.5] * DIMENSIONS))) == 2
        key = json.dumps(dict.fromkeys(each.key, 2))
        await run(db, "call sidecar.wait_embedded(%s::text::regclass, %s, target => %s)", name, key, each.target)
        assert await run(db, "select sidecar.retry(%s::text::regclass, key => %s)", name, key) == [(0,)]


@pytest.mark.parametrize("place", ["in-row", "companion"])
async def test_tables_with_such_names_are_embedded_changed_swept_and_truncated(database_url: str, place: str) -> None:
    encoder = HashEncoder(dimensions=DIMENSIONS)
    async with user(database_url) as db, running_ingest(database_url, encoder, sweep_interval_s=1.0) as _:
        watched = [await _watch_with_two_rows(db, names, place) for names in HOSTILE]
        for each in watched:
            await each.settle_right(encoder)
        for names, each in zip(HOSTILE, watched, strict=True):
            await _spoil(db, names, each)
        for each in watched:
            await each.become_right(encoder)
            await each.settle()
        await _ask_for_each(db, watched)
        for each in watched:
            await db.execute(sql.SQL("truncate {}").format(each.table))
        for each in watched:
            await each.settle_right(encoder)
            assert await each.count("ledger", "content_hash is not null") == 0
            await run(db, "select sidecar.unwatch(%s::text::regclass, %s)", each.table.as_string(db), each.target)

"""Keys of all types and unusual names, from the row to its vector."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
from psycopg import sql

from tests.integration.ingest.composition import running_ingest
from tests.integration.ingest.gated_encoder import GatedEncoder
from tests.integration.ingest.items import in_row_and_companion
from tests.integration.ingest.watched_table import Connection, watch


@dataclass(frozen=True, slots=True)
class Shape:
    """A kind of key. `keys` are SQL for a few of them, the first of which is changed to `other`."""

    columns: tuple[tuple[str, str], ...]
    keys: tuple[str, ...]
    other: str
    table: tuple[str, ...] = ("items",)
    source: str = "title"
    target: str = "embedding"


HOSTILE = '"; drop table "x" -- %s {k} $1 \'é'
SHAPES = {
    "int": Shape((("id", "integer"),), ("1", "2", "-3"), "7"),
    "uuid": Shape((("id", "uuid"),), ("gen_random_uuid()", "gen_random_uuid()"), "gen_random_uuid()"),
    "text": Shape((("id", "text"),), ("'a'", "''", "'it''s {\"k\"} \\ NULL,'", "E'tab\\t\\n ü'"), "'null'"),
    "char": Shape((("id", "char(8)"),), ("'a'", "'b  c'"), "'d'"),
    "numeric": Shape((("id", "numeric"),), ("1.50", "-0.001", "12345678901234567890"), "1.5000001"),
    "float": Shape((("id", "double precision"),), ("0.1", "1e-300", "'infinity'"), "0.30000000000000004"),
    "date": Shape((("id", "date"),), ("'2024-02-29'", "'infinity'"), "'0044-03-15 BC'"),
    "time": Shape((("id", "timestamptz"),), ("'2024-02-29 12:00+02'", "'1999-12-31 23:59:59.999999'"), "'2000-01-01'"),
    "bytes": Shape((("id", "bytea"),), ("'\\x00ff'", "''"), "'\\x5c'"),
    "composite": Shape(
        (("region", "text"), ("id", "bigint")), ("'eu', 1", "'us', 1", "'eu', 2", "'', 9223372036854775807"), "'us', 2"
    ),
    "three": Shape(
        (("a", "smallint"), ("b", "uuid"), ("c", "boolean")),
        ("1, gen_random_uuid(), true", "1, gen_random_uuid(), false"),
        "2, gen_random_uuid(), true",
    ),
    "hostile": Shape(
        ((HOSTILE, "text"), ("k1", "integer")),
        ("'a', 1", "'b', 2"),
        "'c', 3",
        table=('Sch "ema" %I', 'ta.ble "items" $$'),
        source='so"urce %s',
        target='tar"get {keys:1}',
    ),
}  # fmt: skip


@in_row_and_companion
@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
async def test_a_row_is_found_by_its_key_whatever_its_type(
    database_url: str, db: Connection, encoder: GatedEncoder, shape: Shape, companion: str | None
) -> None:
    name, source = sql.Identifier(*shape.table), sql.Identifier(shape.source)
    key_names = [column for column, _ in shape.columns]
    key = sql.SQL(", ").join(map(sql.Identifier, key_names))
    if len(shape.table) == 2:
        await db.execute(sql.SQL("create schema {}").format(sql.Identifier(shape.table[0])))
    columns = sql.SQL(", ").join(sql.SQL("{} {}").format(sql.Identifier(c), sql.SQL(t)) for c, t in shape.columns)
    await db.execute(sql.SQL("create table {} ({}, {} text, primary key ({}))").format(name, columns, source, key))

    async def insert(*keys: str) -> None:
        for i, each in enumerate(keys):
            await db.execute(sql.SQL("insert into {} values ({}, {})").format(name, sql.SQL(each), f"text {i} {each}"))

    await insert(*shape.keys[:-1])
    home = None if companion is None else f"comp {HOSTILE}"[:60]
    table = await watch(db, shape.table, [shape.source], key_names, target=shape.target, companion=home)
    async with running_ingest(database_url, encoder, ingest_batch_rows=1):
        await insert(shape.keys[-1])
        await table.settle_right(encoder)
        await db.execute(sql.SQL("update {} set {} = {} || '!'").format(name, source, source))
        await table.settle_right(encoder)
        one = sql.SQL("({}) = (select {} from {} limit 1)").format(key, key, name)
        await db.execute(sql.SQL("update {} set ({}) = row({}) where {}").format(name, key, sql.SQL(shape.other), one))
        await table.settle_right(encoder)
        await db.execute(sql.SQL("delete from {} where {}").format(name, one))
        await table.settle_right(encoder)
        assert await table.failures() == {}

"""Tables that cannot hold a vector in their rows, and tables with inheritance."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import psycopg
import pytest

from tests.integration.ingest.composition import running_ingest
from tests.integration.ingest.gated_encoder import GatedEncoder
from tests.integration.ingest.items import make_texts
from tests.integration.ingest.watched_table import Connection, run, value, watch
from tests.integration.tables.trees import TREES, plant
from tests.waiting import wait_until_async


@dataclass(frozen=True, slots=True)
class Misplaced:
    """After `setup` an in-row watch on `table` is refused; one with a companion is not."""

    setup: Sequence[str]
    table: str
    message: str
    hint: str


MISPLACED = {
    "a partition": Misplaced(
        TREES["list"].statements,
        "items_eu",
        "items_eu cannot get a column 'embedding' of its own",
        "Watch public.items, or",
    ),
    "a partition whose root is watched": Misplaced(
        (
            *TREES["list"].statements,
            "select sidecar.watch('items', 'title', target => 'embedding', dimensions => 16, index => 'none')",
        ),
        "items_eu",
        "holds the vectors of the watch on public.items",
        "select sidecar.unwatch('public.items', 'embedding')",
    ),
    "a typed table": Misplaced(
        (
            "create type item as (region text, id integer, title text)",
            "create table typed of item (primary key (region, id))",
        ),
        "typed",
        "it is a typed table",
        "Alter its type first",
    ),
    "a table with a rule": Misplaced(
        (
            "create table ruled (region text, id integer, title text, primary key (region, id))",
            "create rule quiet as on update to ruled do instead nothing",
        ),
        "ruled",
        "rule quiet rewrites updates",
        "Use a trigger in place of the rule",
    ),
}


@pytest.mark.parametrize("case", MISPLACED.values(), ids=MISPLACED)
async def test_a_table_that_cannot_hold_vectors_in_its_rows_is_refused_without_a_companion(
    database_url: str, db: Connection, encoder: GatedEncoder, case: Misplaced
) -> None:
    for statement in case.setup:
        await run(db, statement)
    with pytest.raises(psycopg.Error, match=case.message) as caught:
        await watch(db, [case.table], ["title"], ["region", "id"])
    assert case.hint in (caught.value.diag.message_hint or "")
    assert "companion => " in (caught.value.diag.message_hint or "")
    table = await watch(db, [case.table], ["title"], ["region", "id"], companion="vectors")
    async with running_ingest(database_url, encoder):
        await run(db, f"insert into {case.table} values ('eu', 1, 'one')")
        await table.settle_right(encoder)


async def test_watching_a_root_is_refused_while_one_of_its_partitions_is_watched(db: Connection) -> None:
    await plant(db, TREES["list"])
    await run(db, "alter table items add column embedding vector(16)")
    await watch(db, ["items_eu"], ["title"], ["region", "id"])
    with pytest.raises(psycopg.errors.DuplicateObject, match=r"holds the vectors of the watch on public\.items_eu"):
        await watch(db, ["items"], ["title"], ["region", "id"])


async def test_inheritance_added_after_the_watch_breaks_it_without_stopping_the_sidecar(
    database_url: str, db: Connection, encoder: GatedEncoder
) -> None:
    """A child may have a row with the same key."""
    table = await make_texts(db, 3)
    await run(db, "create table others (id bigint primary key, title text)")
    other = await watch(db, ["others"], ["title"])
    async with running_ingest(database_url, encoder):
        await table.settle_right(encoder)
        await run(db, "create table child () inherits (items)")
        await run(db, "insert into child (id, title) values (1, 'the same key')")
        await run(db, "update items set title = 'changed' where id = 1")
        await run(db, "insert into others values (1, 'goes on')")
        await other.settle_right(encoder)

        async def is_reported() -> bool:
            state = "select state from sidecar.status where watch_id = %s"
            return "broken" in await value(db, state, table.watch_id)

        await wait_until_async(is_reported, "the watch to be reported as broken")
        with pytest.raises(psycopg.errors.WrongObjectType, match="takes part in table inheritance"):
            await watch(db, ["items"], ["title"])
        await run(db, "drop table child")
        again = await watch(db, ["items"], ["title"])
        await again.settle_right(encoder)


async def test_postgres_refuses_a_foreign_table_as_partition_of_a_watched_tree(db: Connection) -> None:
    """A primary key cannot include a foreign table."""
    await plant(db, TREES["list"])
    await watch(db, ["items"], ["title"], ["region", "id"])
    await run(db, "create foreign data wrapper nowhere")
    await run(db, "create server far foreign data wrapper nowhere")
    with pytest.raises(psycopg.errors.WrongObjectType, match="foreign"):
        await run(db, "create foreign table far_away partition of items for values in ('far') server far")

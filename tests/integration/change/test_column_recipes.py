"""Watched columns renamed, retyped or dropped by the documented recipe: only changed rows are embedded."""

from __future__ import annotations

import pytest

from tests.integration.change.columns import CREATE, watch_items
from tests.integration.change.states import until_all_are
from tests.integration.ingest.composition import running_ingest
from tests.integration.ingest.gated_encoder import GatedEncoder
from tests.integration.ingest.items import in_row_and_companion
from tests.integration.ingest.watched_table import Connection, run

# The migration between unwatch and watch, the key and source watched after it, and how many of 20 rows changed.
RECIPES = {
    "rename source": ("alter table items rename title to name", "id", "name", 0),
    "retype source": ("alter table items alter title type text", "id", "title", 0),
    "change contents": ("update items set title = upper(title) || '!' where id <= 3", "id", "title", 3),
    "drop source, watch another": ("alter table items drop title", "id", "brand", 20),
    "rename key": ("alter table items rename id to number", "number", "title", 0),
    "retype key": ("alter table items alter id type bigint", "id", "title", 0),
    "retype key to text": ("alter table items alter id type text", "id", "title", 0),
    "another key": (
        """
        alter table items add column code text;
        update items set code = 'c' || id;
        alter table items drop constraint items_pkey, add primary key (code)
        """,
        "code",
        "title",
        20,
    ),
}


@pytest.mark.parametrize(
    ("name", "companion"),
    [(name, None) for name in RECIPES if name != "another key"]
    + [(name, "vectors") for name in ("rename source", "retype source", "rename key", "retype key to text")],
)
async def test_the_recipe_embeds_only_changed_rows(
    database_url: str, db: Connection, encoder: GatedEncoder, name: str, companion: str | None
) -> None:
    migration, key, source, changed = RECIPES[name]
    await run(db, CREATE)
    table = await watch_items(db, "id", "title", companion)
    async with running_ingest(database_url, encoder):
        await table.settle_right(encoder)
        encoder.calls.clear()
        async with db.transaction():
            await run(db, "select sidecar.unwatch('items', 'embedding')")
            await run(db, migration)
            if companion is not None and "key" in name:
                await run(db, migration.replace("items", companion))
            again = await watch_items(db, key, source, companion)
        assert again.watch_id == table.watch_id
        await again.settle_right(encoder)
        assert sum(encoder.calls) == changed
        await run(db, f"update items set {source} = 'as before' where {key}::text = '1'")
        await again.settle_right(encoder)
        await until_all_are("up to date", db)


async def test_another_primary_key_embeds_all_rows(database_url: str, db: Connection, encoder: GatedEncoder) -> None:
    migration, key, source, changed = RECIPES["another key"]
    await run(db, CREATE)
    table = await watch_items(db, "id", "title", None)
    async with running_ingest(database_url, encoder):
        await table.settle_right(encoder)
        encoder.calls.clear()
        async with db.transaction():
            await run(db, "select sidecar.unwatch('items', 'embedding')")
            await run(db, migration)
            again = await watch_items(db, key, source, None)
        await again.settle_right(encoder)
    assert sum(encoder.calls) == changed


@in_row_and_companion
async def test_the_recipe_renames_or_drops_a_target(
    database_url: str, db: Connection, encoder: GatedEncoder, companion: str | None
) -> None:
    vector_table = companion or "items"
    await run(db, CREATE)
    table = await watch_items(db, "id", "title", companion)
    async with running_ingest(database_url, encoder):
        await table.settle_right(encoder)
        async with db.transaction():
            await run(db, "select sidecar.unwatch('items')")
            await run(db, f"alter table {vector_table} rename embedding to vector")
            renamed = await watch_items(db, "id", "title", companion, target="vector")
        await renamed.settle_right(encoder)
        assert (renamed.watch_id, sum(encoder.calls)) == (table.watch_id, 20)

        async with db.transaction():
            await run(db, "select sidecar.unwatch('items', drop_target => true)")
            fresh = await watch_items(db, "id", "title", companion, target="vector")
        await fresh.settle_right(encoder)
        assert sum(encoder.calls) == 40

"""A watch moves while it changes its model: vectors of the two are never mixed."""

from __future__ import annotations

import pytest

from tests.integration.companions.moving import each_way, embed_all, move
from tests.integration.ingest.composition import running_ingest
from tests.integration.ingest.gated_encoder import GatedEncoder
from tests.integration.ingest.items import make_texts
from tests.integration.ingest.watched_table import Connection, run, value, watch


async def test_vectors_of_another_space_do_not_move(database_url: str, db: Connection, encoder: GatedEncoder) -> None:
    table = await make_texts(db, 10)
    await embed_all(database_url, table, encoder)
    table = await move(db, "vectors", model="another")
    other = GatedEncoder("another")
    async with running_ingest(database_url, other):
        await table.settle_right(other)
    assert other.texts["title 1"] == 1


@each_way
@pytest.mark.parametrize("reembed_first", [True, False])
async def test_nor_where_the_model_is_changed_beside_it(
    database_url: str,
    db: Connection,
    encoder: GatedEncoder,
    before: str | None,
    after: str | None,
    reembed_first: bool,
) -> None:
    """The old vectors were to be cleared, and stand in both places."""
    table = await make_texts(db, 10, companion=before)
    await embed_all(database_url, table, encoder)
    if reembed_first:
        await run(db, "select sidecar.reembed('items', model => 'any')")
    table = await move(db, after)
    if not reembed_first:
        await run(db, "select sidecar.reembed('items', model => 'any')")
        assert await value(db, "select sidecar_internal.move_page(1, 100)") == 0
    other = GatedEncoder("another")
    async with running_ingest(database_url, other):
        await table.settle_right(other)


async def test_an_unwatched_table_whose_vectors_were_to_be_cleared_is_cleared_when_it_is_watched_again(
    database_url: str, db: Connection, encoder: GatedEncoder
) -> None:
    table = await make_texts(db, 10)
    await embed_all(database_url, table, encoder)
    await run(db, "select sidecar.reembed('items', model => 'any')")
    await run(db, "select sidecar.unwatch('items')")
    table = await watch(db, ["items"], ["title"])
    other = GatedEncoder("another")
    async with running_ingest(database_url, other):
        await table.settle_right(other)

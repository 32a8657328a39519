"""A watch moves while its model changes: vectors of the two models are never mixed."""

from __future__ import annotations

import pytest

from tests.integration.companions.moving import each_way, embed_all, move
from tests.integration.ingest.composition import running_ingest
from tests.integration.ingest.gated_encoder import GatedEncoder
from tests.integration.ingest.items import make_texts
from tests.integration.ingest.watched_table import Connection, run, value, watch


async def test_vectors_of_another_model_do_not_move(database_url: str, db: Connection, encoder: GatedEncoder) -> None:
    table = await make_texts(db, 10)
    await embed_all(database_url, table, encoder)
    table = await move(db, "vectors", model="another")
    other = GatedEncoder("another")
    async with running_ingest(database_url, other):
        await table.settle_right(other)
    assert other.texts["title 1"] == 1


@each_way
@pytest.mark.parametrize("reembed_first", [True, False])
async def test_vectors_do_not_move_if_reembed_changes_the_model_before_or_after_the_move(
    database_url: str,
    db: Connection,
    encoder: GatedEncoder,
    before: str | None,
    after: str | None,
    reembed_first: bool,
) -> None:
    """The old vectors are due to be cleared, in both places."""
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


async def test_vectors_still_to_be_cleared_at_unwatch_are_cleared_after_the_next_watch(
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

"""Vectors are moved into a column of another type without being encoded again."""

from __future__ import annotations

from tests.integration.companions.moving import each_way, embed_all, move
from tests.integration.ingest.composition import running_ingest
from tests.integration.ingest.gated_encoder import GatedEncoder
from tests.integration.ingest.items import make_texts
from tests.integration.ingest.watched_table import Connection, run, value


@each_way
async def test_vectors_become_halves_where_they_move_and_nothing_is_encoded(
    database_url: str, db: Connection, encoder: GatedEncoder, before: str | None, after: str | None
) -> None:
    table = await make_texts(db, 20, companion=before)
    await embed_all(database_url, table, encoder)
    table = await move(db, after, storage="halfvec")
    async with running_ingest(database_url, encoder):
        await table.settle_right(encoder)
        assert await value(db, "select embedded from sidecar.status_exact('items')") == 20
        await run(db, "update items set title = 'new' where id = 1")
        await table.settle_right(encoder)
    assert encoder.texts == {"new": 1}
    assert await value(db, f"select pg_typeof(embedding)::text from {after or 'items'} limit 1") == "halfvec"


async def test_halves_become_vectors_of_the_same_numbers(
    database_url: str, db: Connection, encoder: GatedEncoder
) -> None:
    table = await make_texts(db, 20, companion="vectors", storage="halfvec")
    await embed_all(database_url, table, encoder)
    halves = await table.vectors()
    table = await move(db, None, storage="vector")
    async with running_ingest(database_url, encoder):
        await table.settle()
    assert encoder.texts == {}
    moved = await table.vectors()
    assert moved.keys() == halves.keys()
    assert all((moved[key] == halves[key]).all() for key in halves)  # type: ignore[union-attr]
    assert await value(db, "select pg_typeof(embedding)::text from items limit 1") == "vector"
    assert (
        await value(
            db,
            "select (sidecar_internal.count_foreign_vectors(w, 100)).foreign_vectors from sidecar_internal.watches w",
        )
        == 0
    )


async def test_a_vector_that_does_not_match_its_entry_is_encoded_again(
    database_url: str, db: Connection, encoder: GatedEncoder
) -> None:
    table = await make_texts(db, 5)
    await embed_all(database_url, table, encoder)
    await run(db, "set session_replication_role = replica")
    await run(db, "update items set embedding = '[1,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0]' where id = 1")
    await run(db, "set session_replication_role = origin")
    table = await move(db, "vectors", storage="halfvec")
    async with running_ingest(database_url, encoder):
        await table.settle_right(encoder)
    assert set(encoder.texts) == {"title 1"}


async def test_a_move_to_another_type_that_is_reversed_halfway_encodes_nothing(
    database_url: str, db: Connection, encoder: GatedEncoder
) -> None:
    """What has moved comes back rounded, the rest stays as it is."""
    table = await make_texts(db, 20)
    await embed_all(database_url, table, encoder)
    stored = await table.vectors()
    await move(db, "vectors", storage="halfvec")
    assert await value(db, f"select sidecar_internal.move_page({table.watch_id}, 8)") == 8
    halves = await value(db, "select array_agg(id::text) from vectors")
    table = await move(db, None, storage="vector")
    async with running_ingest(database_url, encoder):
        await table.settle()
        assert await value(db, "select embedded from sidecar.status_exact('items')") == 20
    assert encoder.texts == {}
    moved = await table.vectors()
    changed = {key for key in stored if (moved[key] != stored[key]).any()}  # type: ignore[union-attr]
    assert changed == {(key,) for key in halves}

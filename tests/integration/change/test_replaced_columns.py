"""A watched column is renamed and another takes its name, while a sidecar still uses the old names."""

from __future__ import annotations

from dataclasses import replace

import pytest
from psycopg import sql

from tests.integration.ingest.composition import running_ingest
from tests.integration.ingest.gated_encoder import GatedEncoder
from tests.integration.ingest.items import insert_titles, make_texts
from tests.integration.ingest.watched_table import Connection, run, value


async def test_the_source_is_read_from_the_renamed_column(
    database_url: str, db: Connection, encoder: GatedEncoder
) -> None:
    table = await make_texts(db)
    async with running_ingest(database_url, encoder):
        await insert_titles(db, 1, 20)
        await table.settle_right(encoder)
        async with db.transaction():
            await run(db, "alter table items rename title to name")
            await run(db, "alter table items add column title text default 'not watched'")
            await run(db, "update items set name = 'changed ' || id")
        await replace(table, source=("name",)).settle_right(encoder)


@pytest.mark.parametrize("companion", [None, "vectors"])
async def test_a_vector_in_flight_is_written_to_the_renamed_column(
    database_url: str, db: Connection, encoder: GatedEncoder, companion: str | None
) -> None:
    table = await make_texts(db, companion=companion)
    vector_table = companion or "items"
    async with running_ingest(database_url, encoder):
        encoder.close()
        await insert_titles(db, 1, 2)
        await encoder.until_held()
        async with db.transaction():
            await run(db, f"alter table {vector_table} rename embedding to former_embedding")
            await run(db, f"alter table {vector_table} add column embedding vector({encoder.dimensions})")
        encoder.open()
        await replace(table, target="former_embedding").settle_right(encoder)
    assert (
        await value(db, sql.SQL("select count(embedding) from {}").format(sql.Identifier(vector_table)).as_string())
        == 0
    )

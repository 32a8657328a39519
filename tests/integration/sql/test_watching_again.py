"""Changes made while a table is not watched are found when it is watched again."""

from __future__ import annotations

import pytest

from tests.encoders import HashEncoder
from tests.integration.ingest.composition import DIMENSIONS, running_ingest
from tests.integration.ingest.watched_table import run, user, watch


@pytest.mark.parametrize("companion", [None, "vectors"], ids=["in-row", "companion"])
async def test_watching_again_finds_changed_and_deleted_rows_and_encodes_no_others(
    database_url: str, companion: str | None
) -> None:
    encoder = HashEncoder(dimensions=DIMENSIONS)
    async with user(database_url) as db, running_ingest(database_url, encoder) as _:
        await run(db, "create table items (id int primary key, title text)")
        await run(db, "insert into items select i, 'title ' || i from generate_series(1, 10) i")
        table = await watch(db, ["items"], ["title"], companion=companion)
        await table.settle_right(encoder)
        await run(db, "select sidecar.unwatch('items', 'embedding')")
        await run(db, "delete from items where id = 1")
        await run(db, "update items set title = 'changed' where id = 2")
        await run(db, "insert into items values (11, 'new')")
        encoder.calls.clear()
        table = await watch(db, ["items"], ["title"], companion=companion)
        await table.settle_right(encoder)
        assert sum(encoder.calls) == 2
        assert await table.count("ledger", "content_hash is not null") == 10

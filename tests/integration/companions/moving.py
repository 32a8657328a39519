"""Moves the watch on `items` between row and companion."""

from __future__ import annotations

from typing import Any

import pytest

from tests.integration.ingest.composition import running_ingest
from tests.integration.ingest.gated_encoder import GatedEncoder
from tests.integration.ingest.watched_table import Connection, WatchedTable, watch

WAYS = [(None, "vectors"), ("vectors", None), ("vectors", "others")]
each_way = pytest.mark.parametrize(("before", "after"), WAYS, ids=["out of the row", "into the row", "to another"])


async def move(db: Connection, companion: str | None, **options: Any) -> WatchedTable:
    """Moves the watch on `items` to another vector table, as a user would."""
    return await watch(db, ["items"], ["title"], companion=companion, replace=True, **options)


async def embed_all(database_url: str, table: WatchedTable, encoder: GatedEncoder) -> None:
    """Embeds every row, then resets the encoder's counts."""
    async with running_ingest(database_url, encoder):
        await table.settle_right(encoder)
    encoder.texts.clear()

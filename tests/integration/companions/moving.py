"""Watches of `items` that move: what tests of it share."""

from __future__ import annotations

from typing import Any

import pytest

from tests.integration.ingest.composition import running_ingest
from tests.integration.ingest.gated_encoder import GatedEncoder
from tests.integration.ingest.watched_table import Connection, WatchedTable, watch

WAYS = [(None, "vectors"), ("vectors", None), ("vectors", "others")]
each_way = pytest.mark.parametrize(("before", "after"), WAYS, ids=["out of the row", "into the row", "to another"])


async def move(db: Connection, companion: str | None, **options: Any) -> WatchedTable:
    """The watch on `items` gets another home, as its user does it."""
    return await watch(db, ["items"], ["title"], companion=companion, replace=True, **options)


async def embed_all(database_url: str, table: WatchedTable, encoder: GatedEncoder) -> None:
    """Every row has its vector; the encoder's count begins anew."""
    async with running_ingest(database_url, encoder):
        await table.settle_right(encoder)
    encoder.texts.clear()

"""Reads a sample of the rows of a watch, with their vectors."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import orjson
from numpy.typing import NDArray

from sidecar.postgres.database import Database
from sidecar.postgres.row_vectors import unpack_vector
from sidecar.postgres.search import SearchedWatch, search_transaction
from sidecar.postgres.statements import statement


class SampledRow(NamedTuple):
    """`key` is a JSON object; `label` the beginning of its exposed columns. `vector`: (dimensions,) float32, unit."""

    key: str
    label: str | None
    vector: NDArray[np.float32]


async def sample_rows(database: Database, watch: SearchedWatch, rows: int, timeout_s: float) -> list[SampledRow]:
    """At most `rows` rows that have a vector, from all over the table, and that pass the filter that is forced on it.

    Raises ForcedFilterRejected, SearchDenied, WatchChanged or another DatabaseError.
    """
    async with search_transaction(database, watch, timeout_s) as connection:
        forced = orjson.dumps(watch.narrowed({})).decode()
        records = await connection.fetch(statement("sample_rows"), watch.relation, watch.target, rows, forced)
    unpacked = ((record["key"], record["label"], unpack_vector(record["vector"])) for record in records)
    return [SampledRow(key, label, vector) for key, label, vector in unpacked if vector is not None]

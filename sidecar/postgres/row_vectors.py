"""Reads the stored vectors of rows that are named by their keys."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial
from typing import NamedTuple

import numpy as np
import orjson
from numpy.typing import NDArray

from sidecar.errors import InputError, StatementRejected
from sidecar.postgres.database import Database
from sidecar.postgres.search import NearestRow, SearchedWatch, is_data_exception, search_transaction
from sidecar.postgres.statements import statement

_HEAD_BYTES = 4  # of a vector in pgvector's binary format: the number of dimensions, and two that are not used


class RowVector(NamedTuple):
    """A row's key, as searches return it, and its vector: (dimensions,) float32 of unit length."""

    key: str
    vector: NDArray[np.float32]


async def find_row_vectors(
    database: Database, watch: SearchedWatch, keys: Mapping[str, Mapping[str, object]], timeout_s: float
) -> dict[str, RowVector]:
    """The rows with these keys, each an object of all key columns, by the names that the request has for them.

    Rows that the watch's forced filter hides appear not to exist.

    Raises InputError, which names the key: `wrong_key` if the type of a column cannot read its value, `row_not_found`,
    `row_without_vector`; SearchDenied, WatchChanged or another DatabaseError.
    """
    given = {param: orjson.dumps(key).decode() for param, key in keys.items()}
    read = partial(_read, database, watch, timeout_s)
    try:
        found = await read(list(given.values()))
    except StatementRejected as error:
        if is_data_exception(error):
            await _check_keys(read, given)
        raise
    return {
        param: _require_vector(watch, param, key, found.get(place))
        for place, (param, key) in enumerate(given.items(), 1)
    }


async def add_vectors(
    database: Database, watches: Sequence[SearchedWatch], rows: Sequence[NearestRow], timeout_s: float
) -> list[NearestRow]:
    """The rows with their vectors; rows deleted since they were found have none. Raises DatabaseError.

    Of several watches, a row's vectors follow one another in one of unit length. The cosine of two rows that have all
    of them is then the mean of their cosines in the targets.
    """
    keys = [row.key for row in rows]
    found = [await _read(database, watch, timeout_s, keys) if rows else {} for watch in watches]
    return [
        row._replace(vector=_joined([each.get(place, (None, None))[1] for each in found], watches[0].dimensions))
        for place, row in enumerate(rows, 1)
    ]


def _joined(vectors: Sequence[NDArray[np.float32] | None], dimensions: int) -> NDArray[np.float32] | None:
    """Of unit length, with zeros in place of a missing one; None if all are missing."""
    count = sum(vector is not None for vector in vectors)
    if count == 0:
        return None
    zeros = np.zeros(dimensions, np.float32)
    joined = np.concatenate([zeros if vector is None else vector for vector in vectors])
    return np.asarray(joined / np.sqrt(count), np.float32)


async def check_forced_filter(database: Database, watch: SearchedWatch, timeout_s: float) -> None:
    """Raises ForcedFilterRejected if Postgres cannot apply the filter that is forced on the watch; DatabaseError."""
    await _read(database, watch, timeout_s, [])


async def _read(
    database: Database, watch: SearchedWatch, timeout_s: float, keys: Sequence[str]
) -> dict[int, tuple[str, NDArray[np.float32] | None]]:
    """The rows with these keys, JSON objects: key and vector, None if it has none, by the place in `keys`, from 1.

    Raises StatementRejected, a data exception, if the type of a key column cannot read its value.
    """
    async with search_transaction(database, watch, timeout_s) as connection:
        forced = orjson.dumps(watch.narrowed({})).decode()
        records = await connection.fetch(statement("row_vectors"), watch.relation, watch.target, list(keys), forced)
    return {record["n"]: (record["key"], unpack_vector(record["vector"])) for record in records}


async def _check_keys(read: Callable[[Sequence[str]], Awaitable[object]], keys: Mapping[str, str]) -> None:
    """Raises InputError for the first key that cannot be read."""
    for param, key in keys.items():
        try:
            await read([key])
        except StatementRejected as error:
            if is_data_exception(error):
                raise InputError("wrong_key", f"`{param}`: {error.message}", param) from error
            raise


def _require_vector(
    watch: SearchedWatch, param: str, key: str, found: tuple[str, NDArray[np.float32] | None] | None
) -> RowVector:
    if found is None:
        raise InputError("row_not_found", f"`{param}`: {watch.table_name} has no row {key[:200]}.", param)
    row_key, vector = found
    if vector is None:
        message = (
            f"`{param}`: the row {key[:200]} of {watch.table_name} has no vector in {watch.target}: it waits to be "
            "embedded, has nothing to embed, or failed (sidecar.failures)."
        )
        raise InputError("row_without_vector", message, param)
    return RowVector(row_key, vector)


def unpack_vector(packed: bytes | None) -> NDArray[np.float32] | None:
    """(dimensions,) float32 of unit length, from pgvector's binary format.

    None also for a vector without direction, which no sidecar writes.
    """
    if packed is None:
        return None
    vector = np.frombuffer(packed, ">f4", offset=_HEAD_BYTES).astype(np.float32)
    length = float(np.linalg.norm(vector))
    return vector / np.float32(length) if 0 < length < np.inf else None

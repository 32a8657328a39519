"""Reads the picture of one row of a watch of pictures."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import orjson

from sidecar.errors import InputError, StatementRejected
from sidecar.postgres.database import Database
from sidecar.postgres.search import SearchedWatch, is_data_exception, search_transaction
from sidecar.postgres.statements import statement


@dataclass(frozen=True, slots=True)
class StoredPicture:
    """A row's picture. `version` changes with each update of the row; `size_bytes` is None where the column is NULL.

    `content` is None where it was not read, or has more bytes than were asked for.
    """

    version: str
    size_bytes: int | None
    content: bytes | None


@dataclass(frozen=True, slots=True)
class PictureQuery:
    """A row by its key, an object of all key columns. `only_failed`: rows that did not fail appear not to exist."""

    key: Mapping[str, object]
    only_failed: bool
    timeout_s: float


async def read_picture(
    database: Database, watch: SearchedWatch, query: PictureQuery, max_bytes: int
) -> StoredPicture | None:
    """The picture, if it has at most `max_bytes`; 0 reads only its size. None: there is no such row.

    Rows that the watch's forced filter hides appear not to exist. Raises InputError (`wrong_key`) if the type of a key
    column cannot read its value; SearchDenied, WatchChanged or another DatabaseError.
    """
    key, forced = orjson.dumps(query.key).decode(), orjson.dumps(watch.narrowed({})).decode()
    try:
        async with search_transaction(database, watch, query.timeout_s) as connection:
            arguments = (watch.relation, watch.target, key, forced, query.only_failed, max_bytes)
            record = await connection.fetchrow(statement("picture_of"), *arguments)
    except StatementRejected as error:
        if is_data_exception(error):
            raise InputError("wrong_key", f"`key`: {error.message}", "key") from error
        raise
    return None if record is None else StoredPicture(record["version"], record["bytes"], record["picture"])

"""Finds the rows of a watch nearest to a vector, with the columns that the watch exposes, for POST /search."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import NamedTuple

import asyncpg
import numpy as np
import orjson
from numpy.typing import NDArray

from sidecar.errors import Contention, DatabaseError, InputError, StatementRejected, WatchChanged
from sidecar.postgres.database import Connection, Database
from sidecar.postgres.statements import statement

MAX_ANSWER_BYTES = 32 * 1024 * 1024
LOCK_TIMEOUT_S = 2.0  # while the table is being altered, other searches need the connection
MAX_DOCUMENT_CHARS = 20_000  # of a row for reranking: more than any such model reads

_INVALID_NAME = "22023"
_INVALID_FILTER = {"22023": "invalid_filter", "42809": "column_not_comparable", "54000": "too_many_values"}
_DATA_EXCEPTION = "22"
_FILTER = "filter"  # how the path in a filter begins, which is the column of its error
_FORCED_PART, _CALLERS_PART = "filter.$and[0]", "filter.$and[1]"  # of a filter that is `narrowed`
_NOT_PERMITTED = "42501"
_NOT_WATCHED = {"42704", "42601"}  # no longer watched; a dropped companion is written as its OID


class SearchDenied(DatabaseError):
    """The sidecar's role lacks a right that the search needs, or a policy would hide rows from it."""


class ForcedFilterRejected(InputError):
    """The filter that a key forces does not suit the table. The message is for the log, not for the caller."""

    def __init__(self, why: str) -> None:
        super().__init__("filter_not_applicable", why)


@dataclass(frozen=True, slots=True)
class SearchedWatch:
    """A watch to search. `fingerprint` names the space of its vectors; None: it has no vectors yet.

    `forced` is a filter that every row read for the caller has to pass, besides the caller's own: see `narrowed`.

    `exposed` columns exist, with the types of SQL in `exposed_types`; `gone` ones were exposed but do not exist.
    `incomparable` has the types of the columns that cannot be filtered by, by their names. `shows_pictures`: the watch
    exposes the picture that it embeds, too, which a search does not return. `companion` holds the vectors; None: the
    table itself does.
    """

    watch_id: int
    relation: int  # its OID
    table_name: str  # schema-qualified and quoted
    target: str
    kind: str
    dimensions: int
    fingerprint: str | None
    model: str | None
    source: tuple[str, ...]
    key_columns: tuple[str, ...]
    exposed: tuple[str, ...]
    exposed_types: tuple[str, ...]
    gone: tuple[str, ...]
    incomparable: Mapping[str, str]
    paused: bool
    broken: str | None
    shows_pictures: bool = False
    companion: str | None = None  # schema-qualified and quoted
    forced: Mapping[str, object] | None = None

    @property
    def name(self) -> str:
        """The watch's name in metrics and /status: public.products.photo_embedding"""
        return f"{self.table_name}.{self.target}"

    def narrowed(self, columns: Mapping[str, object]) -> Mapping[str, object]:
        """The caller's filter and the forced one."""
        return columns if self.forced is None else {"$and": [self.forced, columns]}


@dataclass(frozen=True, slots=True)
class NearestQuery:
    """A search. `vector` is (dimensions,) float32. `filter` is as in the request: sql/code/filters.sql.

    `skip` rows are left out; `after` is the `place` of a row, JSON, to go on after. `document` are columns whose texts
    are returned, joined with a space. `candidates` rows are proposed by each of the rankings that are merged.
    """

    vector: NDArray[np.float32]
    k: int
    filter: Mapping[str, object]
    columns: Sequence[str]
    document: Sequence[str] = ()
    skip: int = 0
    after: str | None = None
    candidates: int | None = None


class NearestRow(NamedTuple):
    """A found row. `key` and `shown` are JSON objects of columns; `distance` is the cosine distance, 0 to 2.

    Of a hybrid search the fused score and the ranks on either side, None where that side did not propose the row;
    `distance` is None where it has no vector. Of a search of several targets the fused score, `distances` and `ranks`,
    JSON objects by target; `distance` is the least. `vector` is (dimensions,) float32 of unit length, where it was
    asked for. `place` is where the next page begins.
    """

    key: str
    distance: float | None
    shown: str
    document: str | None
    vector: NDArray[np.float32] | None = None
    score: float | None = None
    vector_rank: int | None = None
    text_rank: int | None = None
    place: str | None = None
    distances: str | None = None
    ranks: str | None = None

    @property
    def relevance(self) -> float:
        """What it was ranked by, higher is better: the fused score, or else the cosine."""
        return self.score if self.score is not None else 1 - (self.distance or 0.0)


async def find_watches(database: Database, table: str | None = None) -> list[SearchedWatch]:
    """The watches of the tables with this name, read as SQL does, with or without a schema; None: of all tables.

    Raises DatabaseError.
    """
    try:
        async with database.connection() as connection:
            records = await connection.fetch(statement("find_searched_watches"), table)
    except StatementRejected as error:
        if error.sqlstate == _INVALID_NAME:
            return []
        raise
    return [_watch(record) for record in records]


async def list_watched(database: Database) -> list[tuple[str, str]]:
    """Table (schema-qualified and quoted) and target of each watch, sorted. Raises DatabaseError."""
    async with database.connection() as connection:
        return [tuple(record) for record in await connection.fetch(statement("list_watched"))]


async def find_nearest(
    database: Database, watch: SearchedWatch, query: NearestQuery, timeout_s: float
) -> list[NearestRow]:
    """At most `query.k` rows, the nearest first. Cancelling ends the statement on the server, too; so does `timeout_s`.

    Raises InputError for a filter that does not suit its columns (`invalid_filter`, `invalid_filter_value`,
    `column_not_comparable`, `too_many_values`), ForcedFilterRejected, a wrong `after` (`wrong_cursor`), or where the
    columns are too large (`answer_too_large`); SearchDenied, WatchChanged or another DatabaseError.
    """
    try:
        async with search_transaction(database, watch, timeout_s) as connection:
            arguments = nearest_arguments(watch, query)
            records = await connection.fetch(statement("nearest_rows"), *arguments, query.skip, query.after)
    except StatementRejected as error:
        if query.after is not None and is_data_exception(error):
            message = f"`after` is not a place in this table: {error.message}."
            raise InputError("wrong_cursor", message, "after") from error
        raise
    return found_rows(records)


def nearest_arguments(watch: SearchedWatch, query: NearestQuery) -> Sequence[object]:
    """$1 to $9 of the statements that search for rows."""
    return (
        watch.relation,
        query.vector.tolist(),
        watch.target,
        query.k,
        orjson.dumps(watch.narrowed(query.filter)).decode(),
        list(query.columns),
        list(query.document),
        MAX_DOCUMENT_CHARS,
        MAX_ANSWER_BYTES,
    )


@asynccontextmanager
async def search_transaction(database: Database, watch: SearchedWatch, timeout_s: float) -> AsyncIterator[Connection]:
    """A connection whose transaction only reads, and whose statements end after `timeout_s` on the server, too.

    Raises SearchDenied, WatchChanged, Contention or another DatabaseError, which name the watch.
    """
    try:
        async with database.connection() as connection, connection.transaction():
            limits_ms = [str(max(int(limit_s * 1000), 1)) for limit_s in (timeout_s, min(timeout_s, LOCK_TIMEOUT_S))]
            await connection.execute(statement("limit_search"), *limits_ms)
            yield connection
    except WatchChanged as error:
        raise WatchChanged(f"{watch.table_name}.{watch.target} is not what it was: {error}") from error
    except Contention as error:
        raise Contention(f"{watch.table_name} could not be searched in time: {error}. Try again.") from error
    except StatementRejected as error:
        explained = _explain(watch, error)
        if explained is None:
            raise
        raise explained from error


def found_rows(records: Sequence[asyncpg.Record]) -> list[NearestRow]:
    """Raises InputError (`answer_too_large`)."""
    if any(record["shown"] is None for record in records):
        message = f"The columns of {len(records)} rows are more than {MAX_ANSWER_BYTES} bytes: ask for fewer of either."
        raise InputError("answer_too_large", message, "columns")
    return [NearestRow(**dict(record)) for record in records]


def is_data_exception(error: StatementRejected) -> bool:
    """Whether a value could not be read by the type that it was meant for."""
    return error.sqlstate.startswith(_DATA_EXCEPTION)


def _explain(watch: SearchedWatch, error: StatementRejected) -> DatabaseError | InputError | None:
    if error.column is not None and error.column.startswith(_FILTER):
        return _filter_fault(watch, error, error.column)
    if error.sqlstate == _NOT_PERMITTED:
        return SearchDenied(
            f"{watch.table_name} cannot be searched: {error.message}. `sidecar doctor` says what is missing."
        )
    if error.sqlstate in _NOT_WATCHED:
        return WatchChanged(f"{watch.table_name}.{watch.target} is not what it was: {error.message}")
    return None


def _filter_fault(watch: SearchedWatch, error: StatementRejected, path: str) -> InputError:
    if watch.forced is not None and not path.startswith(_CALLERS_PART):
        return ForcedFilterRejected(error.message.replace(_FORCED_PART, _FILTER))
    param = path if watch.forced is None else _FILTER + path.removeprefix(_CALLERS_PART)
    message = f"`{param}`: {error.message.removeprefix(f'{path}: ')}. {error.hint or ''}".rstrip()
    return InputError(_INVALID_FILTER.get(error.sqlstate, "invalid_filter_value"), message, param)


def _watch(record: asyncpg.Record) -> SearchedWatch:
    return SearchedWatch(
        watch_id=record["watch_id"],
        relation=record["relation"],
        table_name=record["table_name"],
        target=record["target"],
        kind=record["kind"],
        dimensions=record["dimensions"],
        fingerprint=record["fingerprint"],
        model=record["model"],
        source=tuple(record["source"]),
        key_columns=tuple(record["key_columns"]),
        exposed=tuple(record["exposed"]),
        exposed_types=tuple(record["exposed_types"]),
        gone=tuple(name for name in record["expose"] if name not in (*record["exposed"], *_picture_of(record))),
        incomparable=orjson.loads(record["incomparable"] or "{}"),
        paused=record["paused"],
        broken=record["broken"],
        shows_pictures=record["shows_pictures"],
        companion=record["companion"],
    )


def _picture_of(record: asyncpg.Record) -> list[str]:
    """The column of the picture that the watch exposes, if it does."""
    return list(record["source"]) if record["shows_pictures"] else []

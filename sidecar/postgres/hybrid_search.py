"""Finds the rows of a watch that are near a vector or match a text, by reciprocal rank fusion, for POST /search."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sidecar.errors import InputError, StatementRejected
from sidecar.postgres.database import Database
from sidecar.postgres.search import (
    NearestQuery,
    NearestRow,
    SearchedWatch,
    found_rows,
    nearest_arguments,
    search_transaction,
)
from sidecar.postgres.statements import statement

_CODES = {"hybrid.config": "unknown_config", "hybrid.columns": "column_not_text"}


@dataclass(frozen=True, slots=True)
class WordQuery:
    """The words to match in exposed `columns`, in the syntax of web search engines; the rest as in SQL's hybrid_search.

    `candidates`: the rows that each side proposes; None: those of the NearestQuery.
    """

    text: str
    columns: Sequence[str]
    config: str
    candidates: int | None
    rrf_constant: int
    vector_weight: float
    text_weight: float


async def find_hybrid(
    database: Database, watch: SearchedWatch, query: NearestQuery, words: WordQuery, timeout_s: float
) -> list[NearestRow]:
    """At most `query.k` rows, the best first, with their score and their rank on either side.

    Raises InputError as find_nearest, and for a text search configuration that does not exist (`unknown_config`) or
    columns that are not text (`column_not_text`); SearchDenied, WatchChanged or another DatabaseError.
    """
    try:
        async with search_transaction(database, watch, timeout_s) as connection:
            records = await connection.fetch(
                statement("hybrid_rows"),
                *nearest_arguments(watch, query),
                words.text,
                list(words.columns),
                words.config,
                query.candidates if words.candidates is None else words.candidates,
                words.rrf_constant,
                words.vector_weight,
                words.text_weight,
            )
    except StatementRejected as error:
        if error.column in _CODES:
            message = f"`{error.column}`: {error.message}. {error.hint}"
            raise InputError(_CODES[error.column], message, error.column) from error
        raise
    return found_rows(records)

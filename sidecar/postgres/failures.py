"""Pages of the rows that failed, and their reasons."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sidecar.errors import InputError, StatementRejected
from sidecar.postgres.database import Database
from sidecar.postgres.search import is_data_exception
from sidecar.postgres.statements import statement


@dataclass(frozen=True, slots=True)
class FailedRow:
    """A row whose content cannot be embedded. `key` is JSON; rows of one time are ordered by its digest."""

    watch_id: int
    key: str
    key_digest: str
    reason: str
    message: str
    attempts: int
    at: datetime


@dataclass(frozen=True, slots=True)
class FailureReason:
    """How many rows failed for a reason, and what to do. `retry_helps`: without other content."""

    reason: str
    rows: int
    advice: str
    retry_helps: bool


@dataclass(frozen=True, slots=True)
class FailuresQuery:
    """Failures of these watches. `after`: time, watch and digest of the key of the last row of the page before."""

    watch_ids: Sequence[int]
    reason: str | None
    after: tuple[datetime, int, str] | None
    limit: int


async def read_failures_page(database: Database, query: FailuresQuery) -> tuple[list[FailureReason], list[FailedRow]]:
    """All reasons, and a page of rows, the newest first. Raises InputError (`wrong_cursor`), DatabaseError."""
    after = query.after or (None, None, None)
    try:
        async with database.connection() as connection:
            reasons = await connection.fetch(statement("failure_reasons"), list(query.watch_ids))
            arguments = (list(query.watch_ids), query.reason, *after, query.limit)
            rows = await connection.fetch(statement("failures_page"), *arguments)
    except StatementRejected as error:
        if query.after is not None and is_data_exception(error):
            message = "`after` is no place among failures: give the `next` of the page before."
            raise InputError("wrong_cursor", message, "after") from error
        raise
    return [FailureReason(**dict(row)) for row in reasons], [FailedRow(**dict(row)) for row in rows]

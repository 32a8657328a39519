"""Pauses, resumes and slows watches, and has failed rows tried again, as the functions of sql/code/operate.sql do."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import orjson

from sidecar.errors import InputError, StatementRejected
from sidecar.postgres.database import Database
from sidecar.postgres.remedies import NOT_PERMITTED
from sidecar.postgres.search import SearchDenied, SearchedWatch, is_data_exception
from sidecar.postgres.statements import statement


async def set_paused(database: Database, watches: Sequence[SearchedWatch], *, paused: bool) -> int:
    """How many of the watches changed. Raises DatabaseError, here and below."""
    return await _run(database, "pause_watches", watches, paused)


async def set_rate(database: Database, watches: Sequence[SearchedWatch], rows_per_s: float | None) -> int:
    """How many of the watches changed. `rows_per_s`: of each, over all sidecars; None: no cap."""
    return await _run(database, "set_rates", watches, rows_per_s)


async def retry_failures(
    database: Database,
    watches: Sequence[SearchedWatch],
    keys: Sequence[Mapping[str, object]] | None,
    reason: str | None,
) -> int:
    """How many failed rows will be tried again: those with these keys, with this reason, or all.

    Raises InputError (`wrong_key`) if the type of a key column cannot read a value.
    """
    if keys is None:
        return await _run(database, "retry_failures", watches, reason)
    try:
        return await _run(database, "retry_keys", watches, reason, [orjson.dumps(key).decode() for key in keys])
    except StatementRejected as error:
        if is_data_exception(error):
            raise InputError("wrong_key", f"`keys`: {error.message}", "keys") from error
        raise


async def _run(database: Database, name: str, watches: Sequence[SearchedWatch], *arguments: object) -> int:
    """All of it or nothing. Raises SearchDenied if our role lacks a right."""
    meant = [watch.relation for watch in watches], [watch.target for watch in watches]
    try:
        async with database.connection() as connection:
            return int(await connection.fetchval(statement(name), *meant, *arguments))
    except StatementRejected as error:
        if error.sqlstate != NOT_PERMITTED:
            raise
        message = f"The sidecar's role may not do that: {error.message}. `sidecar doctor` says what is missing."
        raise SearchDenied(message) from error

"""`GET /failures` and `POST /retry`, for operators."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import orjson
from starlette.requests import Request
from starlette.responses import Response

from sidecar.errors import InputError
from sidecar.http.access import key_of
from sidecar.http.bodies.json_body import read_json
from sidecar.http.failures.bodies import MAX_REASON_CHARS, FailuresAnswer, RetryAnswer, RetryBody
from sidecar.http.failures.cursors import cursor_after, read_cursor
from sidecar.http.json_response import JsonResponse
from sidecar.http.limits import RequestLimits
from sidecar.http.operation import Operation, QueryParameter, Scope
from sidecar.http.query_parameters import read_query
from sidecar.http.watches.finding import find_meant
from sidecar.http.watches.grant import Grant
from sidecar.http.watches.keys import key_object
from sidecar.postgres.database import Database
from sidecar.postgres.failures import FailedRow, FailuresQuery, read_failures_page
from sidecar.postgres.operate import retry_failures
from sidecar.postgres.search import SearchedWatch

_USUAL_LIMIT, _MOST = 50, 500
_QUERY = (
    QueryParameter("table", "The watched table, as in SQL; default: all of them."),
    QueryParameter("target", "The vector column; default: all watches of the table."),
    QueryParameter("reason", "Only rows that failed for this reason.", max_chars=MAX_REASON_CHARS),
    QueryParameter("after", "`next` of the answer before: the next page.", max_chars=5000),
    QueryParameter("limit", f"Most rows to list; default: {_USUAL_LIMIT}.", least=1, most=_MOST),
)


class FailuresEndpoints:
    """`database`: None if there is none."""

    def __init__(self, limits: RequestLimits, database: Database | None) -> None:
        self._limits = limits
        self._database = database

    def operations(self) -> list[Operation]:
        return [
            Operation(
                *("GET", "/failures", self.failures, "The rows that cannot be embedded, and why", Scope.ADMIN),
                FailuresAnswer,
                errors=(403, 404, 503),
                query=_QUERY,
            ),
            Operation(
                *("POST", "/retry", self.retry, "Try failed rows again", Scope.ADMIN, RetryAnswer, RetryBody),
                errors=(403, 404, 503),
            ),
        ]

    async def failures(self, request: Request) -> Response:
        """A page of failures. Raises InputError, AccessDenied, DatabaseError; `retry`, too."""
        database = self._require_database()
        values = read_query(request, _QUERY)
        texts, limit = values.texts, values.integers.get("limit", _USUAL_LIMIT)
        reason, after = _reason(texts.get("reason")), read_cursor(texts.get("after"))
        watches = await find_meant(database, texts.get("table"), texts.get("target"), Grant(key_of(request)))
        query = FailuresQuery([watch.watch_id for watch in watches], reason, after, limit + 1)
        reasons, rows = await read_failures_page(database, query)
        by_id = {watch.watch_id: watch for watch in watches}
        return JsonResponse(
            {
                "reasons": reasons,
                "failures": [_failure(by_id[row.watch_id], row) for row in rows[:limit]],
                "next": cursor_after(rows[limit - 1]) if len(rows) > limit else None,
            }
        )

    async def retry(self, request: Request) -> Response:
        """Rows that will be tried again."""
        database = self._require_database()
        body = await read_json(request, RetryBody, self._limits)
        reason = _reason(body.reason)
        watches = await find_meant(database, body.table, body.target, Grant(key_of(request)))
        keys = None if body.keys is None else _keys(body, watches[0].key_columns)
        return JsonResponse(RetryAnswer(rows=await retry_failures(database, watches, keys, reason)))

    def _require_database(self) -> Database:
        if self._database is None:
            raise InputError("no_database", "No row can fail: DATABASE_URL is not set.")
        return self._database


def _keys(body: RetryBody, key_columns: Sequence[str]) -> list[Mapping[str, object]]:
    return [key_object(key, key_columns, f"keys[{index}]") for index, key in enumerate(body.keys or ())]


def _reason(reason: str | None) -> str | None:
    if reason is not None and "\0" in reason:
        raise InputError("wrong_value", "`reason` contains the character NUL (U+0000), which no reason has.", "reason")
    return reason


def _failure(watch: SearchedWatch, row: FailedRow) -> dict[str, Any]:
    """A FailureAnswer. The key is Postgres' own JSON, with all the digits of its numbers."""
    return {
        "table": watch.table_name,
        "target": watch.target,
        "key": orjson.Fragment(row.key),
        "reason": row.reason,
        "message": row.message,
        "at": row.at,
        "attempts": row.attempts,
    }

"""`GET /tables` and `POST /plan`: they read tables that are not watched, and change nothing."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass

from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from sidecar.errors import InputError, StatementRejected
from sidecar.http.access import check_scope, key_of
from sidecar.http.bodies.json_body import read_json
from sidecar.http.json_response import JsonResponse
from sidecar.http.limits import RequestLimits
from sidecar.http.operation import Operation, QueryParameter, Scope
from sidecar.http.planning.bodies import PlanAnswer, PlanBody, TablesAnswer
from sidecar.http.query_parameters import read_query
from sidecar.http.watches.grant import Grant

_USUAL_LIMIT, _MOST = 100, 1000
_QUERY = (
    QueryParameter("search", "How the name begins, with or without its schema; default: all tables.", max_chars=200),
    QueryParameter("limit", f"Most tables to list; default: {_USUAL_LIMIT}.", least=1, most=_MOST),
)
# undefined_table, invalid_schema_name, invalid_name; feature_not_supported: of another "database", a.b.c
_UNKNOWN_TABLE = {"42P01", "3F000", "42602", "0A000"}
_OF_COLUMNS = {"42703", "42804"}  # undefined_column, datatype_mismatch
_NOT_PERMITTED = "42501"
_CLASSES_OF_INPUT = ("22", "42", "0A", "54")  # errors that the names and types in a request cause


@dataclass(frozen=True, slots=True)
class Planner:
    """Looks at tables in the database, with the role of the service.

    Both raise DatabaseUnavailable, SchemaError, TimedOut; StatementRejected for what the request names.
    """

    find_tables: Callable[[str, int], Awaitable[TablesAnswer]]
    plan: Callable[[PlanBody], Awaitable[PlanAnswer]]


class PlanningEndpoints:
    """One look at a time: each is a thread with a connection of its own. `planner`: None without a database."""

    def __init__(self, limits: RequestLimits, planner: Planner | None) -> None:
        self._limits = limits
        self._planner = planner
        self._looking = asyncio.Lock()

    def operations(self) -> list[Operation]:
        return [
            Operation(
                *("GET", "/tables", self.tables, "Tables that can be watched, or are (scope `search`, too)"),
                *(Scope.ADMIN, TablesAnswer),
                deadline=False,  # each statement has one of its own; ended early it would go on in its thread
                errors=(403, 404, 503),
                query=_QUERY,
            ),
            Operation(
                *("POST", "/plan", self.plan, "What a watch would take, and the SQL to start it (scope `search`, too)"),
                *(Scope.ADMIN, PlanAnswer, PlanBody),
                deadline=False,
                errors=(403, 404, 503),
            ),
        ]

    async def tables(self, request: Request) -> Response:
        """Raises InputError, AccessDenied, DatabaseError, ClientDisconnect; `plan`, too."""
        planner = self._require_planner(request)
        values = read_query(request, _QUERY)
        prefix, limit = values.texts.get("search", ""), values.integers.get("limit", _USUAL_LIMIT)
        async with self._turn_of(request):
            with _explaining("search"):
                return JsonResponse(await planner.find_tables(prefix, limit))

    async def plan(self, request: Request) -> Response:
        planner = self._require_planner(request)
        body = await read_json(request, PlanBody, self._limits)
        async with self._turn_of(request):
            with _explaining("table"):
                return JsonResponse(await planner.plan(body))

    @asynccontextmanager
    async def _turn_of(self, request: Request) -> AsyncIterator[None]:
        """Raises ClientDisconnect if the client has not waited for its turn: those behind it would wait for nothing."""
        async with self._looking:
            if await request.is_disconnected():
                raise ClientDisconnect
            yield

    def _require_planner(self, request: Request) -> Planner:
        key = key_of(request)
        if key is not None:
            check_scope(key, Scope.SEARCH)  # rows are shown
        Grant(key).check_everything()
        if self._planner is None:
            raise InputError("no_database", "There are no tables: DATABASE_URL is not set.")
        return self._planner


@contextmanager
def _explaining(param: str) -> Iterator[None]:
    """Translates what Postgres says of the names in a request."""
    try:
        yield
    except StatementRejected as error:
        message = f"{error.message}." + (f" {error.hint}" if error.hint else "")
        if error.sqlstate in _UNKNOWN_TABLE:
            raise InputError("unknown_table", message, param) from error
        if error.sqlstate == _NOT_PERMITTED:
            raise InputError("unreadable_table", message, param) from error
        if error.sqlstate.startswith(_CLASSES_OF_INPUT):
            is_of_column = param == "table" and error.sqlstate in _OF_COLUMNS
            raise InputError("wrong_watch", message, "source" if is_of_column else param) from error
        raise

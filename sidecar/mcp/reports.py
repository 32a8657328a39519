"""What only the database knows: failed rows, and the state of a watch. Read-only; each report has its own session."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import asdict
from typing import Any, TypeAlias

from mcp.server.mcpserver.exceptions import ToolError
from pydantic import SecretStr, TypeAdapter

from sidecar.errors import DatabaseError, StatementRejected
from sidecar.mcp.exact_json import read_json
from sidecar.operations.operations import Operations, open_operations
from sidecar.postgres.status import Failure, FailuresByReason, WatchStatus

_Report: TypeAlias = Callable[[Operations], dict[str, Any]]

_WATCHES = TypeAdapter(list[WatchStatus])
_REASONS = TypeAdapter(list[FailuresByReason])
_INTERNAL = ("watch_id", "estimated", "companion_view")


class Reports:
    """Reports of the database at `url`. Raises ToolError."""

    def __init__(self, url: SecretStr) -> None:
        self._url = url

    async def failures(self, table: str | None, target: str | None, limit: int) -> dict[str, Any]:
        return await self._read(lambda operations: _failures(operations, table, target, limit))

    async def explain(self, table: str, target: str | None) -> dict[str, Any]:
        return await self._read(lambda operations: _explanation(operations, table, target))

    async def _read(self, report: _Report) -> dict[str, Any]:
        try:
            return await asyncio.to_thread(self._read_blocking, report)
        except StatementRejected as error:
            raise ToolError(f"{error}. {error.hint or ''}".rstrip()) from error
        except DatabaseError as error:
            raise ToolError(str(error)) from error

    def _read_blocking(self, report: _Report) -> dict[str, Any]:
        with open_operations(self._url, _ignore) as operations:
            return report(operations)


def _ignore(_warning: str, _hint: str | None) -> None:
    """The server's warnings are for the operator, who sees them in `sidecar doctor`."""


def _failures(operations: Operations, table: str | None, target: str | None, limit: int) -> dict[str, Any]:
    found = operations.failures(table, target, limit)
    return {"failures": [_as_object(failure) for failure in found], "may_be_more": len(found) == limit}


def _as_object(failure: Failure) -> dict[str, Any]:
    return {**asdict(failure), "key": read_json(failure.key), "at": failure.at.isoformat()}


def _explanation(operations: Operations, table: str, target: str | None) -> dict[str, Any]:
    watches = _WATCHES.dump_python(operations.status(table, target), mode="json")
    reasons = _REASONS.dump_python(operations.failures_by_reason(table, target), mode="json")
    return {
        "watches": [{name: value for name, value in watch.items() if name not in _INTERNAL} for watch in watches],
        "failures_by_reason": reasons,
    }

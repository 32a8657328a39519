"""`GET /doctor`: faults of the database and of the way to it, and what repairs each."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, Literal, TypeAlias

from pydantic import Field
from starlette.requests import Request
from starlette.responses import Response

from sidecar.errors import InputError
from sidecar.http.access import key_of
from sidecar.http.body_models import AnswerModel
from sidecar.http.json_response import JsonResponse
from sidecar.http.operation import Operation, Scope
from sidecar.http.watches.grant import Grant

FRESH_S = 5.0
"""How long a result is given to other callers, too."""


class FindingAnswer(AnswerModel):
    check: str
    severity: Literal["problem", "warning", "note"]
    subject: str = Field(description="What the finding is about: a table, a role, the server …")
    what: str
    why: str = Field(description="Why it matters.")
    remedy: str = Field(description="The statements or the command that repair it.")
    run_in: Literal["psql", "shell"]


class NotCheckedAnswer(AnswerModel):
    check: str
    reason: str


class DoctorAnswer(AnswerModel):
    findings: list[FindingAnswer] = Field(description="Problems first, then warnings, then notes.")
    not_checked: list[NotCheckedAnswer] = Field(description="Checks that could not run, or that the role may not make.")
    facts: dict[str, Any] = Field(description="Measurements by name: the server's version, its clock, the pooler.")


Examine: TypeAlias = Callable[[], Awaitable[DoctorAnswer]]


class DoctorEndpoint:
    """`GET /doctor`. One examination at a time; who asks meanwhile gets the same result or error, and the same result
    for FRESH_S more.

    `examine` runs the checks, and raises DatabaseError where the database cannot be reached; None without a database.
    """

    def __init__(self, examine: Examine | None) -> None:
        self._examine = examine
        self._last: asyncio.Future[DoctorAnswer] | None = None
        self._fresh_until = 0.0

    def operations(self) -> list[Operation]:
        return [
            Operation(
                *("GET", "/doctor", self.doctor, "Faults in the setup, and how to repair them, as `sidecar doctor`"),
                *(Scope.ADMIN, DoctorAnswer),
                deadline=False,  # each check has one of its own; ended early they would go on in their thread
                errors=(403, 404, 503),
            )
        ]

    async def doctor(self, request: Request) -> Response:
        """Raises InputError, AccessDenied, DatabaseError."""
        Grant(key_of(request)).check_everything()  # findings quote failed rows of any table
        if self._examine is None:
            raise InputError("no_database", "There is nothing to examine: DATABASE_URL is not set.")
        if self._last is None or self._is_over(self._last):
            self._last = asyncio.ensure_future(self._run(self._examine))
        return JsonResponse(await asyncio.shield(self._last))  # a caller that leaves ends nothing for the others

    async def _run(self, examine: Examine) -> DoctorAnswer:
        answer = await examine()
        self._fresh_until = asyncio.get_running_loop().time() + FRESH_S
        return answer

    def _is_over(self, examination: asyncio.Future[DoctorAnswer]) -> bool:
        """Whether it has failed, or its result is too old."""
        if not examination.done():
            return False
        has_failed = examination.cancelled() or examination.exception() is not None
        return has_failed or asyncio.get_running_loop().time() >= self._fresh_until

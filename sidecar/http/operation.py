"""An endpoint as one piece of data: its route, its document and its guards are all made from it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import TypeAlias

from pydantic import BaseModel
from starlette.requests import Request
from starlette.responses import Response

from sidecar.api_keys import Scope
from sidecar.http.errors import ErrorAnswer

__all__ = ["Endpoint", "MediaType", "Operation", "Scope"]

Endpoint: TypeAlias = Callable[[Request], Awaitable[Response]]


class MediaType(StrEnum):
    JSON = "application/json"
    FORM = "multipart/form-data"
    TEXT = "text/plain"
    HTML = "text/html"
    JAVASCRIPT = "text/javascript"
    CSS = "text/css"


@dataclass(frozen=True, slots=True)
class Operation:
    """`scope` None: no key is asked for. `deadline`: cut off after REQUEST_TIMEOUT_S.

    `request` and `response` are the models that validate and make the bodies; None: there is no body, or none in JSON.
    `errors` are the statuses it may answer beyond those that every operation may, in the shape of `error`; `headers`,
    what its answer has in its head, with what it means.
    """

    method: str
    path: str
    endpoint: Endpoint
    summary: str
    scope: Scope | None
    response: type[BaseModel] | None
    request: type[BaseModel] | None = None
    request_media: MediaType = MediaType.JSON
    response_media: MediaType = MediaType.JSON
    deadline: bool = True
    errors: tuple[int, ...] = ()
    headers: tuple[tuple[str, str], ...] = ()
    error: type[BaseModel] = ErrorAnswer

    @property
    def is_query(self) -> bool:
        """Whether the objectives judge it: what an application waits for, unlike lists of models, probes and pages."""
        return self.method == "POST" and self.scope in {Scope.EMBED, Scope.SEARCH}

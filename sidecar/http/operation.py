"""Endpoints as data, from which their routes, access checks, deadlines and documentation are made."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import TypeAlias

from pydantic import BaseModel
from starlette.requests import Request
from starlette.responses import Response

from sidecar.api_keys.key import Scope
from sidecar.http.errors import ErrorAnswer

__all__ = ["Endpoint", "MediaType", "Operation", "Scope"]

Endpoint: TypeAlias = Callable[[Request], Awaitable[Response]]


class MediaType(StrEnum):
    """The media types of bodies and answers."""

    JSON = "application/json"
    FORM = "multipart/form-data"
    TEXT = "text/plain"
    OPENMETRICS = "application/openmetrics-text"
    EVENTS = "text/event-stream"
    WEBP = "image/webp"
    JPEG = "image/jpeg"
    HTML = "text/html"
    JAVASCRIPT = "text/javascript"
    CSS = "text/css"
    SVG = "image/svg+xml"


@dataclass(frozen=True, slots=True)
class QueryParameter:
    """A value in the query string of a GET. `least`, `most`: of an integer; None: it is a text.

    `max_chars` of a text.
    """

    name: str
    description: str
    required: bool = False
    least: int | None = None
    most: int | None = None
    max_chars: int = 1000

    @property
    def is_integer(self) -> bool:
        return self.least is not None

    def schema(self) -> dict[str, object]:
        """Its JSON schema."""
        if self.is_integer:
            return {"type": "integer", "minimum": self.least, "maximum": self.most}
        return {"type": "string", "minLength": 1, "maxLength": self.max_chars}


@dataclass(frozen=True, slots=True)
class Operation:
    """One endpoint at one path.

    `scope`: of the key it needs; None for no key. `request`, `response`: models of the bodies; None for no body, or one
    that is not JSON. `other_media`: media types of the answer that `Accept` may ask for. `deadline`: whether it is
    cancelled after REQUEST_TIMEOUT_S. `errors`: statuses it may answer beyond those of every operation, in the shape of
    `error`. `query`: what its query string may have. `headers`: names and meanings of its answer's headers. `redirect`:
    the clients that it answers with a 307, if any.
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
    other_media: tuple[MediaType, ...] = ()
    deadline: bool = True
    errors: tuple[int, ...] = ()
    query: tuple[QueryParameter, ...] = ()
    headers: tuple[tuple[str, str], ...] = ()
    error: type[BaseModel] = ErrorAnswer
    redirect: str | None = None

    @property
    def is_query(self) -> bool:
        """Whether it counts for the objectives: applications wait for it, unlike lists of models, probes and pages."""
        return self.method == "POST" and self.scope in {Scope.EMBED, Scope.SEARCH}

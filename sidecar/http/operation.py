"""An endpoint as one piece of data: its route, its document and its guards are all made from it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import TypeAlias

from pydantic import BaseModel
from starlette.requests import Request
from starlette.responses import Response

Endpoint: TypeAlias = Callable[[Request], Awaitable[Response]]


class Scope(StrEnum):
    """What a key is good for."""

    EMBED = "embed"  # vectors and rerank scores of what the caller sends
    SEARCH = "search"  # what stands in watched tables
    ADMIN = "admin"  # what operators ask: status and metrics


class MediaType(StrEnum):
    JSON = "application/json"
    FORM = "multipart/form-data"
    TEXT = "text/plain"
    HTML = "text/html"


@dataclass(frozen=True, slots=True)
class Operation:
    """`scope` None: no key is asked for. `deadline`: cut off after REQUEST_TIMEOUT_S.

    `request` and `response` are the models that validate and make the bodies; None: there is no body, or none in JSON.
    `errors` are the statuses it may answer beyond those that every operation may.
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

"""A JSON body as a pydantic model."""

from __future__ import annotations

import codecs
from collections.abc import Callable
from typing import TypeVar

import orjson
from pydantic import BaseModel, ValidationError
from starlette.requests import Request

from sidecar.errors import InputError
from sidecar.http.bodies.body import body_chunks, require_content_type
from sidecar.http.bodies.json_bounds import check_marks, check_values
from sidecar.http.bodies.validation_errors import explain
from sidecar.http.limits import RequestLimits

_EXAMPLE = "curl -H 'Content-Type: application/json' -d '{\"text\": \"a red bicycle\"}'"

Body = TypeVar("Body", bound=BaseModel)


async def read_json(
    request: Request, model: type[Body], limits: RequestLimits, look: Callable[[object], None] = lambda _parsed: None
) -> Body:
    """Raises InputError for a body that is too large, not JSON, or not what `model` describes.

    `look` sees it first, as it was parsed, to refuse what deserves a better word than that it is too much.
    """
    require_content_type(request, "application/json", _EXAMPLE)
    body = b"".join([chunk async for chunk in body_chunks(request, limits.max_body_bytes)])
    body = body.removeprefix(codecs.BOM_UTF8)  # as RFC 8259 allows; editors and .NET write it
    check_marks(body)
    try:
        parsed = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        hint = " It is UTF-16 or UTF-32: send UTF-8." if b"\0" in body[:4] else ""
        raise InputError("invalid_json", f"The body is not JSON: {error}.{hint}") from error
    look(parsed)
    check_values(parsed, limits)
    try:
        return model.model_validate(parsed)
    except ValidationError as error:
        raise explain(error, model, parsed) from error

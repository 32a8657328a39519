"""A JSON body as a pydantic model, and what is wrong with it in the words of the request."""

from __future__ import annotations

from typing import TypeVar

import orjson
from pydantic import BaseModel, ValidationError
from starlette.requests import Request

from sidecar.errors import InputError
from sidecar.http.body import body_chunks, require_content_type
from sidecar.http.service import RequestLimits

_EXAMPLE = "curl -H 'Content-Type: application/json' -d '{\"text\": \"a red bicycle\"}'"

Body = TypeVar("Body", bound=BaseModel)


async def read_json(request: Request, model: type[Body], limits: RequestLimits) -> Body:
    """Raises InputError for a body that is too large, not JSON, or not what `model` describes."""
    require_content_type(request, "application/json", _EXAMPLE)
    body = b"".join([chunk async for chunk in body_chunks(request, limits.max_body_bytes)])
    try:
        return model.model_validate(orjson.loads(body))
    except orjson.JSONDecodeError as error:
        raise InputError("invalid_json", f"The body is not JSON: {error}") from error
    except ValidationError as error:
        raise _explain(error) from error


def _explain(error: ValidationError) -> InputError:
    """The first thing that is wrong."""
    first = error.errors(include_url=False, include_context=False)[0]
    field, *indexes = first["loc"] or ("",)
    param = f"{field}{''.join(f'[{index}]' for index in indexes)}" or None
    if first["type"] == "missing":
        return InputError("missing_field", f"The body has no field `{param}`.", param)
    expected = {"string_type": "a string", "list_type": "a list of strings"}.get(first["type"], "an object")
    subject = f"`{param}`" if param else "The body"
    return InputError("wrong_type", f"{subject} must be {expected}, not {_type_name(first['input'])}.", param)


def _type_name(value: object) -> str:
    names = {dict: "an object", list: "a list", str: "a string", bool: "a boolean", type(None): "null"}
    return names.get(type(value), "a number")

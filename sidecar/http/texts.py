"""The bodies of the text endpoints."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

import orjson
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from starlette.requests import Request

from sidecar.errors import InputError
from sidecar.http.body import body_chunks, require_content_type
from sidecar.http.service import RequestLimits

_EXAMPLE = "curl -H 'Content-Type: application/json' -d '{\"text\": \"a red bicycle\"}'"


class TextBody(BaseModel):
    """Fields that nobody reads are ignored."""

    model_config = ConfigDict(strict=True, frozen=True)

    text: str = Field(examples=["a red bicycle"])


class TextsBody(BaseModel):
    model_config = ConfigDict(strict=True, frozen=True)

    texts: list[str] = Field(examples=[["a red bicycle", "a lighthouse at dusk"]])


async def read_text(request: Request, limits: RequestLimits) -> str:
    """Raises InputError for a body that is not `{"text": …}` with a text worth embedding."""
    text = (await _read(request, TextBody, limits)).text
    _check_text(text, "text", limits)
    return text


async def read_texts(request: Request, limits: RequestLimits) -> list[str]:
    """Raises InputError for a body that is not `{"texts": […]}`, naming the text that is wrong as `texts[2]`."""
    texts = (await _read(request, TextsBody, limits)).texts
    _check_count(texts, limits)
    for index, text in enumerate(texts):
        _check_text(text, f"texts[{index}]", limits)
    return texts


Body = TypeVar("Body", bound=BaseModel)


async def _read(request: Request, model: type[Body], limits: RequestLimits) -> Body:
    require_content_type(request, "application/json", _EXAMPLE)
    body = b"".join([chunk async for chunk in body_chunks(request, limits.max_body_bytes)])
    try:
        return model.model_validate(orjson.loads(body))
    except orjson.JSONDecodeError as error:
        raise InputError("invalid_json", f"The body is not JSON: {error}") from error
    except ValidationError as error:
        raise _explain(error) from error


def _explain(error: ValidationError) -> InputError:
    """The first thing that is wrong, in the words of the request."""
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


def _check_count(texts: Sequence[str], limits: RequestLimits) -> None:
    if not texts:
        raise InputError("empty_list", "`texts` is empty; send at least one text.", "texts")
    if len(texts) > limits.max_batch_texts:
        message = f"`texts` has {len(texts)} texts; at most {limits.max_batch_texts} (MAX_BATCH_TEXTS) go in a request."
        raise InputError("too_many_texts", message, "texts")


def _check_text(text: str, param: str, limits: RequestLimits) -> None:
    if not text.strip():
        raise InputError("empty_text", f"`{param}` is empty; there is nothing to embed.", param)
    if len(text) > limits.max_text_chars:
        message = f"`{param}` has {len(text)} characters; at most {limits.max_text_chars} (MAX_TEXT_CHARS) are read."
        raise InputError("text_too_long", message, param)
    if "\0" in text:  # Postgres cannot store it either: no row can have such a text
        raise InputError("invalid_text", f"`{param}` contains the character NUL (U+0000). Remove it.", param)

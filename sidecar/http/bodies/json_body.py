"""JSON bodies as pydantic models, with bounds on how many values they hold, beyond their bytes.

A body of 60 MB may be 20 million empty objects: gigabytes of memory, and a minute in which nothing else is answered.
Pictures and texts are few values with many bytes, so both bounds are far from what an honest request holds.
"""

from __future__ import annotations

import codecs
from collections.abc import Callable
from typing import TypeVar

import orjson
from pydantic import BaseModel, ValidationError
from starlette.requests import Request

from sidecar.errors import InputError
from sidecar.http.bodies.body import body_chunks, require_content_type
from sidecar.http.bodies.validation_errors import to_input_error
from sidecar.http.limits import RequestLimits

_EXAMPLE = "curl -H 'Content-Type: application/json' -d '{\"text\": \"a red bicycle\"}'"

# Parsing so many takes 0.1 s. In texts they are ordinary characters: 1 in 50 of prose is a comma.
_MAX_COMMAS = 1_000_000
_MAX_BRACKETS = 200_000
_MAX_QUOTES = 200_000
_MAX_VALUES = 20_000  # more than a vector has numbers: at most 16,000 in pgvector

Body = TypeVar("Body", bound=BaseModel)


async def read_json(
    request: Request,
    model: type[Body],
    limits: RequestLimits,
    precheck: Callable[[object], None] = lambda _parsed: None,
) -> Body:
    """The request's body as `model`. Raises InputError if it is too large, not JSON, or not what `model` describes.

    `precheck` gets the parsed body before its values are counted, to raise a more helpful error than that there are
    too many.
    """
    require_content_type(request, "application/json", _EXAMPLE)
    body = b"".join([chunk async for chunk in body_chunks(request, limits.max_body_bytes)])
    body = body.removeprefix(codecs.BOM_UTF8)  # as RFC 8259 allows; editors and .NET write it
    check_separators(body)
    try:
        parsed = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        hint = " It is UTF-16 or UTF-32: send UTF-8." if b"\0" in body[:4] else ""
        raise InputError("invalid_json", f"The body is not JSON: {error}.{hint}") from error
    precheck(parsed)
    check_value_count(parsed, limits)
    try:
        return model.model_validate(parsed)
    except ValidationError as error:
        raise to_input_error(error, model, parsed) from error


def check_separators(body: bytes) -> None:
    """Counts separators before parsing. Raises InputError (`too_many_values`)."""
    for marks, most in ((b",", _MAX_COMMAS), (b"[{", _MAX_BRACKETS)):
        if _count(body, marks) > most and _count(_without_strings(body), marks) > most:
            shown = " and ".join(f"`{chr(mark)}`" for mark in marks)
            advice = "Send less at once, and texts rather than their token ids."
            raise InputError("too_many_values", f"The body has more than {most:,} {shown}. {advice}")


def _count(body: bytes, marks: bytes) -> int:
    return sum(body.count(mark) for mark in marks)


def _without_strings(body: bytes) -> bytes:
    """`body` without the contents of strings, where code or JSON has any number of marks. 20 ms for 16 MB."""
    plain = body.replace(b"\\\\", b"").replace(b'\\"', b"")
    if plain.count(b'"') > _MAX_QUOTES:  # splitting them would take gigabytes
        return body
    return b"".join(plain.split(b'"')[::2])


def check_value_count(parsed: object, limits: RequestLimits) -> None:
    """Counts values before validation, which makes an object and up to five errors of each. Raises InputError."""
    most = max(_MAX_VALUES, 4 * limits.max_batch_texts, 8 * limits.max_rerank_documents)
    count = 0
    containers: list[object] = [parsed]
    while containers:
        container = containers.pop()
        if not isinstance(container, list | dict):
            continue
        count += len(container)
        if count > most:
            raise InputError("too_many_values", f"The body has more than {most:,} values. Send fewer at once.")
        containers += container.values() if isinstance(container, dict) else container

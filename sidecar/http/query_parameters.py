"""Reads query strings, as strictly as bodies: unknown, repeated and malformed values are refused."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from starlette.requests import Request

from sidecar.errors import InputError
from sidecar.http.operation import QueryParameter
from sidecar.similarity import did_you_mean

_MAX_DIGITS = 18


@dataclass(frozen=True, slots=True)
class QueryValues:
    """The values of a query string, by name."""

    texts: dict[str, str]
    integers: dict[str, int]


def read_query(request: Request, parameters: Sequence[QueryParameter]) -> QueryValues:
    """Raises InputError, whose `param` names the field."""
    known = {each.name: each for each in parameters}
    sent = request.query_params.multi_items()
    values = QueryValues({}, {})
    for name, text in sent:
        if name not in known:
            similar = did_you_mean(name[:200], known, "`{}`")
            raise InputError("unknown_field", f"The query has an unknown field, `{name[:200]}`.{similar}", name[:200])
        if name in values.texts or name in values.integers:
            raise InputError("repeated_field", f"The query has `{name}` more than once.", name)
        if known[name].is_integer:
            values.integers[name] = _integer(known[name], text)
        else:
            values.texts[name] = _text(known[name], text)
    for each in parameters:
        if each.required and each.name not in values.texts and each.name not in values.integers:
            raise InputError("missing_field", f"The query has no field `{each.name}`.", each.name)
    return values


def _integer(parameter: QueryParameter, text: str) -> int:
    name = parameter.name
    if not (text.removeprefix("-").isdecimal() and text.isascii()) or len(text) > _MAX_DIGITS:
        raise InputError("wrong_type", f"`{name}` must be an integer, not {text[:100]!r}.", name)
    value = int(text)
    assert parameter.least is not None
    assert parameter.most is not None
    if not parameter.least <= value <= parameter.most:
        message = f"`{name}` must be from {parameter.least} to {parameter.most}, not {value}."
        raise InputError("out_of_range", message, name)
    return value


def _text(parameter: QueryParameter, text: str) -> str:
    if len(text) > parameter.max_chars:
        message = f"`{parameter.name}` must have at most {parameter.max_chars} characters."
        raise InputError("too_long", message, parameter.name)
    if not text:
        raise InputError("too_short", f"`{parameter.name}` is empty.", parameter.name)
    return text

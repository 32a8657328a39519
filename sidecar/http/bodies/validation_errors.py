"""Validation errors of pydantic, reduced to one InputError about the field as the client sent it."""

from __future__ import annotations

import typing
from collections.abc import Mapping, Sequence
from types import NoneType, UnionType
from typing import Any, Literal, Union

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from sidecar.errors import InputError

_EXPECTED = {
    "string_type": "a string",
    "list_type": "a list",
    "int_type": "an integer",
    "int_from_float": "an integer",
    "float_type": "a number",
    "finite_number": "a finite number",
    "bool_type": "a boolean",
    "dict_type": "an object",
    "model_type": "an object",
    "model_attributes_type": "an object",
    "none_required": "null",
}
_NAMES: Mapping[object, str] = {str: "a string", int: "an integer", float: "a number", bool: "a boolean"}
_PLURALS: Mapping[object, str] = {str: "strings", int: "integers", float: "numbers"}

_MAX_FAULTS = 1000

# Code and message for values of the right type; `{…}` is filled from pydantic's context.
_BOUNDS = {
    "greater_than": ("out_of_range", "must be above {gt}, not {value}"),
    "greater_than_equal": ("out_of_range", "must be at least {ge}, not {value}"),
    "less_than": ("out_of_range", "must be below {lt}, not {value}"),
    "less_than_equal": ("out_of_range", "must be at most {le}, not {value}"),
    "too_short": ("too_short", "has {actual_length} items; it must have at least {min_length}"),
    "too_long": ("too_long", "has {actual_length} items; it must have at most {max_length}"),
    "string_too_short": ("too_short", "must have at least {min_length} characters"),
    "string_too_long": ("too_long", "must have at most {max_length} characters"),
    "literal_error": ("wrong_value", "must be {expected}, not {value}"),
    "union_tag_invalid": ("wrong_value", "has the {discriminator} {tag!r}; it must be {expected_tags}"),
    "union_tag_not_found": ("missing_field", "has no field {discriminator}"),
}


def to_input_error(error: ValidationError, model: type[BaseModel], body: object) -> InputError:
    """The first error in `body`, which `model` rejected.

    Codes: `missing_field`, `unknown_field`, `wrong_type`, `wrong_value`, `out_of_range`, `too_short`, `too_long`,
    `too_many_faults`, and the types of the PydanticCustomErrors that a model raises itself.
    """
    if error.error_count() > _MAX_FAULTS:  # each takes 50 µs to format
        return InputError("too_many_faults", f"The body has {error.error_count():,} errors. Compare it with /docs.")
    details = error.errors(include_url=False)
    first, *others = [(_path(detail, body), detail) for detail in details]
    # A union reports the errors of each of its members. The deepest path belongs to the member that was meant.
    rivals = [first, *(other for other in others if other[0][:1] == first[0][:1])]
    depth = max(len(path) for path, _ in rivals)
    path, detail = next(rival for rival in rivals if len(rival[0]) == depth)
    expected = dict.fromkeys(_EXPECTED.get(other["type"], "") for where, other in rivals if where == path)
    param = _name(path) or None
    if len(path) == 1 and path[0] in model.model_fields and detail["type"] in _EXPECTED:
        expected = {_describe_type(model.model_fields[str(path[0])].annotation): None}
    return _describe_error(param, detail, " or ".join(word for word in expected if word))


def _path(detail: ErrorDetails, body: object) -> tuple[str | int, ...]:
    """The path in the body. pydantic's own path also names members of unions, which are not part of the body."""
    path: list[str | int] = []
    value: Any = body
    step: Any
    for step in detail["loc"]:
        if (isinstance(value, dict) and step in value) or _is_index(step, value):
            value = value[step]
            path.append(step)
    if detail["type"] == "missing":
        path.append(detail["loc"][-1])
    return tuple(path)


def _is_index(step: str | int, value: object) -> bool:
    # For a string, `step in range(…)` would compare it with every number.
    return isinstance(value, list) and isinstance(step, int) and 0 <= step < len(value)


def _name(path: Sequence[str | int]) -> str:
    """The path as text: `messages[0].content`. Names are cut after 200 characters."""
    return "".join(f"[{step}]" if isinstance(step, int) else f".{step[:200]}" for step in path).removeprefix(".")


def _describe_error(param: str | None, detail: ErrorDetails, expected: str) -> InputError:
    kind, value = detail["type"], detail["input"]
    subject = f"`{param}`" if param else "The body"
    if kind == "missing":
        return InputError("missing_field", f"The body has no field `{param}`.", param)
    if kind == "extra_forbidden":
        return InputError("unknown_field", f"The body has an unknown field, `{param}`.", param)
    if kind in _BOUNDS:
        code, words = _BOUNDS[kind]
        context = {"value": _show(value), **detail.get("ctx", {})}
        if "expected_tags" in context:
            context["expected_tags"] = context["expected_tags"].replace(", ", " or ")
        return InputError(code, f"{subject} {words.format_map(context)}.", param)
    if kind in _EXPECTED:
        got = _show(value) if type(value) is float and "integer" in expected else _type_name(value)
        return InputError("wrong_type", f"{subject} must be {expected}, not {got}.", param)
    return InputError(kind, f"{subject}: {detail['msg']}" if param else detail["msg"], param)


def _describe_type(annotation: Any) -> str:
    """A type in words: `str | list[str]` is "a string or a list of strings". None is left out."""
    origin, parts = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is typing.Annotated:
        return _describe_type(parts[0])
    if origin in {Union, UnionType}:
        return " or ".join(dict.fromkeys(_describe_type(part) for part in parts if part is not NoneType))
    if origin is list:
        return f"a list of {_PLURALS.get(_plain(parts[0]), 'objects')}"
    if origin is Literal:
        return "a string"
    return _NAMES.get(annotation, "an object")


def _plain(annotation: Any) -> Any:
    return typing.get_args(annotation)[0] if typing.get_origin(annotation) is typing.Annotated else annotation


def _type_name(value: object) -> str:
    names = {dict: "an object", list: "a list", str: "a string", bool: "a boolean", type(None): "null"}
    return names.get(type(value), "a number")


def _show(value: object) -> str:
    """The value of a number or text, cut after 100 characters; for anything else its type."""
    if isinstance(value, str):
        return repr(value[:100])
    return str(value) if isinstance(value, int | float) and not isinstance(value, bool) else _type_name(value)

"""Says in words which values a setting takes, from the same types and bounds that check it."""

from __future__ import annotations

from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin

import annotated_types
from pydantic.fields import FieldInfo


def allowed_values(field: FieldInfo) -> str:
    """For instance `a whole number from 1 to 65535`. A field may put it in other words with `extra(allowed=…)`."""
    extra = field.json_schema_extra
    if isinstance(extra, dict) and "allowed" in extra:
        return str(extra["allowed"])
    kind = _without_none(field.annotation)
    if get_origin(kind) is Literal:
        return "one of " + ", ".join(str(choice) for choice in get_args(kind))
    if kind is bool:
        return "1 or 0 (true/false, yes/no and on/off will do)"
    if kind is int:
        return "a whole number" + _bounds(field.metadata)
    if kind is float:
        return "a number" + _bounds(field.metadata)
    return "a text that is not blank"


def _without_none(annotation: Any) -> Any:
    if get_origin(annotation) in (Union, UnionType):
        return next(part for part in get_args(annotation) if part is not NoneType)
    return annotation


def _bounds(metadata: list[Any]) -> str:
    words = ""
    for bound in metadata:
        match bound:
            case annotated_types.Gt(gt=value):
                words += f" above {value} and"
            case annotated_types.Ge(ge=value):
                words += f" from {value}"
            case annotated_types.Le(le=value):
                words += f" up to {value}"
            case annotated_types.Lt(lt=value):
                words += f" to below {value}"
            case _:
                pass
    return words

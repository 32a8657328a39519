"""`filter` of `POST /search`: its schema, its bounds, the columns that it names. sql/code/filters.sql compiles it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, TypeAlias

import orjson
from pydantic import ConfigDict, Field, GetJsonSchemaHandler, StrictBool, StrictFloat, StrictInt, StrictStr
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema

from sidecar.errors import InputError
from sidecar.http.body_models import RequestModel

MAX_FILTER_DEPTH = 16  # of $and, $or and $not, and of JSON in a value
MAX_FILTER_CONDITIONS = 1000
_MAX_ECHOED_CHARS = 200  # of a name in an error
_MAX_EXACT = 2**53  # a larger float may have been an integer with more digits
_MAX_VALUES = 1000  # of a list
_MAX_CHARS = 10_000  # more than a value in a btree index can have
_MAX_BYTES = 1024 * 1024
_LISTS = ("$and", "$or")

Text: TypeAlias = Annotated[StrictStr, Field(max_length=_MAX_CHARS)]
Scalar: TypeAlias = Text | StrictBool | StrictInt | StrictFloat
Values: TypeAlias = Annotated[list[Scalar | None], Field(max_length=_MAX_VALUES)]
JsonOperand: TypeAlias = Scalar | list[Any] | dict[str, Any]


class FilterOperators(RequestModel):
    """What a column is compared with; all of it must hold."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"minProperties": 1})

    eq: JsonOperand | None = Field(alias="$eq", default_factory=str, description="Equal; null: IS NULL.")
    ne: JsonOperand | None = Field(
        alias="$ne", default_factory=str, description="Not equal, or NULL; null: IS NOT NULL."
    )
    lt: Scalar = Field(alias="$lt", default_factory=str)
    lte: Scalar = Field(alias="$lte", default_factory=str)
    gt: Scalar = Field(alias="$gt", default_factory=str)
    gte: Scalar = Field(alias="$gte", default_factory=str)
    between: Annotated[list[Scalar], Field(min_length=2, max_length=2)] = Field(
        alias="$between", default_factory=list, description="From the first to the second, both included."
    )
    one_of: Annotated[list[JsonOperand | None], Field(max_length=_MAX_VALUES)] = Field(
        alias="$in", default_factory=list
    )
    none_of: Annotated[list[JsonOperand | None], Field(max_length=_MAX_VALUES)] = Field(
        alias="$nin", default_factory=list, description="None of these, or NULL."
    )
    null: StrictBool = Field(alias="$null", default_factory=bool, description="IS NULL, or IS NOT NULL.")
    prefix: Text = Field(alias="$prefix", default_factory=str, description="How a text begins, case-sensitive.")
    contains: JsonOperand = Field(
        alias="$contains", default_factory=list, description="What an array (all of a list) or a jsonb column contains."
    )
    any: Annotated[list[JsonOperand], Field(max_length=_MAX_VALUES)] = Field(
        alias="$any",
        default_factory=list,
        description="Values of which an array or a jsonb column contains at least one.",
    )


class SearchFilter(RequestModel):
    """Conditions by column, key or exposed; all must hold. Null means IS NULL; of a list, any value may match."""

    model_config = ConfigDict(extra="allow")
    __pydantic_extra__: dict[str, Scalar | Values | FilterOperators | None]

    all_of: list[SearchFilter] = Field(
        alias="$and", default_factory=list, min_length=1, description="All of these filters."
    )
    any_of: list[SearchFilter] = Field(
        alias="$or", default_factory=list, min_length=1, description="At least one of these."
    )
    negated: SearchFilter = Field(
        alias="$not",
        default_factory=lambda: SearchFilter.model_construct(),  # noqa: PLW0108 - the class has no name here yet
        description="Not this one. NULL meets no comparison.",
    )


class _DescribedAsFilter:
    """Gives a plain object the JSON schema of SearchFilter; Postgres judges what is in it, by the columns' types."""

    def __get_pydantic_json_schema__(self, _schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        return handler(SearchFilter.__pydantic_core_schema__)


FilterObject: TypeAlias = Annotated[dict[str, Any], _DescribedAsFilter()]


@dataclass(frozen=True, slots=True)
class FilteredColumn:
    """A column that a filter names, and where: `filter.$or[1].price`."""

    path: str
    name: str


def check_filter(conditions: Mapping[str, object]) -> list[FilteredColumn]:
    """The columns of a filter that is within bounds. Raises InputError.

    Codes: `wrong_type`, `invalid_filter`, `invalid_filter_value`, `too_many_values`, `too_long`.
    """
    columns = list(_columns_of(conditions, "filter", 1))
    if len(columns) > MAX_FILTER_CONDITIONS:
        message = f"`filter` has {len(columns)} conditions; at most {MAX_FILTER_CONDITIONS} are allowed."
        raise InputError("too_many_values", message, "filter")
    size = len(orjson.dumps(conditions))
    if size > _MAX_BYTES:
        raise InputError("too_long", f"`filter` has {size} bytes of JSON; at most {_MAX_BYTES} are read.", "filter")
    return columns


def _columns_of(node: object, path: str, depth: int) -> Iterator[FilteredColumn]:
    if not isinstance(node, Mapping):
        raise InputError("wrong_type", f'`{path}` must be an object, like `{{"tenant": 7}}`.', path)
    _check_depth(path, depth)
    for name, asked in node.items():
        where = f"{path}.{name[:_MAX_ECHOED_CHARS]}"
        if name in _LISTS:
            if not isinstance(asked, list) or not asked:
                raise InputError("wrong_type", f"`{where}` must be a list of filters, not empty.", where)
            for index, inner in enumerate(asked):
                yield from _columns_of(inner, f"{where}[{index}]", depth + 1)
        elif name == "$not":
            yield from _columns_of(asked, where, depth + 1)
        else:
            _check_value(asked, where, 1)
            yield FilteredColumn(where, name)


def _check_depth(path: str, depth: int) -> None:
    if depth > MAX_FILTER_DEPTH:
        raise InputError("invalid_filter", f"`{path[:200]}` is more than {MAX_FILTER_DEPTH} levels deep.", "filter")


def _check_value(value: object, path: str, depth: int) -> None:
    """Raises InputError for what JSON or Postgres does not carry, anywhere in a value."""
    _check_depth(path, depth)
    if isinstance(value, list):
        if len(value) > _MAX_VALUES:
            message = f"`{path}` has {len(value)} values; at most {_MAX_VALUES} go in a list."
            raise InputError("too_many_values", message, path)
        for index, item in enumerate(value):
            _check_value(item, f"{path}[{index}]", depth + 1)
    elif isinstance(value, dict):
        for name, item in value.items():
            _check_text(name, f"{path}.{name}"[:200])
            _check_value(item, f"{path}.{name}", depth + 1)
    elif isinstance(value, float) and abs(value) > _MAX_EXACT:
        message = f"`{path}` is a number that JSON does not carry exactly. Send it as a string."
        raise InputError("invalid_filter_value", message, path)
    elif isinstance(value, str):
        _check_text(value, path)


def _check_text(text: str, path: str) -> None:
    if len(text) > _MAX_CHARS:
        message = f"`{path}` has {len(text)} characters; at most {_MAX_CHARS} are compared."
        raise InputError("invalid_filter_value", message, path)
    if "\0" in text:
        message = f"`{path}` contains the character NUL (U+0000), which Postgres does not store."
        raise InputError("invalid_filter_value", message, path)

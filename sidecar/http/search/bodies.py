"""The body of `POST /search`."""

from __future__ import annotations

from typing import Annotated, Any, TypeAlias

from pydantic import (
    ConfigDict,
    Field,
    StrictBool,
    StrictFloat,
    StrictInt,
    StrictStr,
    field_validator,
)
from pydantic_core import PydanticCustomError

from sidecar.errors import InputError
from sidecar.http.body_models import RequestModel
from sidecar.http.embed.texts import EmbeddableText, check_text
from sidecar.http.limits import RequestLimits, limited
from sidecar.http.search.diversity import MAX_CANDIDATES
from sidecar.http.search.query_parts import MAX_DIMENSIONS, MAX_PARTS, QueryPart, check_parts

_MAX_EXACT = 2**53  # a larger float may have been an integer with more digits
_MAX_FILTER_VALUES = 1000
_MAX_COLUMNS = 1600  # of a table in Postgres
_MAX_NAME_CHARS = 1000  # Postgres' names have at most 63 bytes
_MAX_FILTER_CHARS = 10_000  # more than a value in a btree index can have
_MAX_ROWS = limited(maximum="max_search_rows")

Scalar: TypeAlias = StrictStr | StrictBool | StrictInt | StrictFloat
FilterValue: TypeAlias = (
    Scalar | Annotated[list[Scalar], Field(json_schema_extra={"maxItems": _MAX_FILTER_VALUES})] | None
)


class RerankOptions(RequestModel):
    """`column` is an exposed column with the text to rank by. Default: the text that the watch embeds.

    `text` is the query to rank by. Default: the text that is searched for.
    """

    model_config = ConfigDict(extra="forbid")

    column: str | None = Field(default=None, max_length=_MAX_NAME_CHARS, examples=["title"])
    text: EmbeddableText | None = Field(default=None, examples=["a red bicycle"])
    top_k: Annotated[int, Field(ge=1)] = Field(
        default=50, description="How many of the nearest rows to rerank.", json_schema_extra=_MAX_ROWS
    )


class SearchBody(RequestModel):
    """One of `text`, `image`, `vector` and `query`. Unknown fields are refused: a misspelt filter finds too much."""

    model_config = ConfigDict(extra="forbid")

    table: str = Field(
        max_length=_MAX_NAME_CHARS, description="The watched table, as in SQL.", examples=["public.products"]
    )
    target: str | None = Field(
        default=None, max_length=_MAX_NAME_CHARS, description="The vector column, where the table has several watches."
    )
    text: EmbeddableText | None = Field(default=None, examples=["a red bicycle"])
    image: str | None = Field(default=None, description="The data URI of a picture, or an allowed URL.")
    vector: list[float] | None = Field(
        default=None,
        fail_fast=True,
        max_length=MAX_DIMENSIONS,
        description="A vector from an embedding endpoint of the same model.",
    )
    query: list[QueryPart] | None = Field(
        default=None,
        fail_fast=True,
        max_length=MAX_PARTS,
        description="Texts, pictures, vectors and keys of rows, mixed: the sum of their vectors times their weights.",
        examples=[[{"key": 3}, {"text": "in red", "weight": 0.5}, {"text": "leather", "weight": -0.5}]],
    )
    include_keys: bool = Field(default=False, description="Return also the rows that `query` names by their keys.")
    k: Annotated[int, Field(ge=1)] = Field(
        default=10, description="Number of rows to return, at most MAX_SEARCH_ROWS.", json_schema_extra=_MAX_ROWS
    )
    filter: dict[str, FilterValue] = Field(
        default_factory=dict,
        description="Values by column, key or exposed. Null means IS NULL; of a list, any value may match.",
        examples=[{"tenant": 7}],
    )
    columns: list[str] | None = Field(
        default=None,
        fail_fast=True,
        max_length=_MAX_COLUMNS,
        description="The exposed columns to return. Default: all of them.",
    )
    rerank: RerankOptions | None = Field(default=None, description="Rerank the nearest rows with a cross-encoder.")
    diversity: Annotated[float, Field(ge=0, le=1)] = Field(
        default=0.0,
        description="How much rows that resemble a row above them give way to others. 0: not at all; 1: relevance only "
        "chooses the first row.",
    )

    @field_validator("filter", mode="before")
    @classmethod
    def _check_lists(cls, columns: object) -> object:
        """Bounds the number of columns and values before each of them is validated."""
        if isinstance(columns, dict) and len(columns) > _MAX_COLUMNS:
            bounds = {"count": len(columns), "allowed": _MAX_COLUMNS}
            raise PydanticCustomError(
                "too_many_values", "it has {count} columns; a table has at most {allowed}.", bounds
            )
        for name, wanted in columns.items() if isinstance(columns, dict) else ():
            if isinstance(wanted, list) and len(wanted) > _MAX_FILTER_VALUES:
                message = "{name} has {count} values; at most {allowed} go in a list."
                context = {"name": str(name)[:200], "count": len(wanted), "allowed": _MAX_FILTER_VALUES}
                raise PydanticCustomError("too_many_values", message, context)
        return columns


def check_search(body: SearchBody, limits: RequestLimits) -> None:
    """Raises InputError for a search that is invalid whatever its watch."""
    _check_query(body, limits)
    if body.rerank is not None:
        _check_rerank(body.rerank, body.text, limits)
    for param, rows in (("k", body.k), ("rerank.top_k", body.rerank.top_k if body.rerank else 1)):
        if body.diversity and rows > MAX_CANDIDATES:
            message = (
                f"`{param}` is {rows}; with `diversity` at most {MAX_CANDIDATES} rows are compared with each other."
            )
            raise InputError("out_of_range", message, param)
        if rows > limits.max_search_rows:
            message = f"`{param}` is {rows}; at most {limits.max_search_rows} (MAX_SEARCH_ROWS) rows are searched for."
            raise InputError("out_of_range", message, param)
    for name, value in body.filter.items():
        _check_filter_value(f"filter.{name}", value)


def _check_query(body: SearchBody, limits: RequestLimits) -> None:
    given = [name for name in ("text", "image", "vector", "query") if getattr(body, name) is not None]
    if len(given) != 1:
        got = f"not {' and '.join(f'`{name}`' for name in given)}" if given else "there is none"
        message = f"Give one of `text`, `image`, `vector` and `query`, {got}."
        raise InputError("wrong_query", message, given[0] if given else None)
    if body.text is not None:
        check_text(body.text, "text", limits)
    if body.query is not None:
        check_parts(body.query, limits)


def _check_rerank(rerank: RerankOptions, text: str | None, limits: RequestLimits) -> None:
    if rerank.text is not None:
        check_text(rerank.text, "rerank.text", limits)
    elif text is None:
        message = "`rerank` reads texts: give the query as `text`, or as `rerank.text` the one to rank by."
        raise InputError("rerank_needs_text", message, "rerank")


def _check_filter_value(param: str, value: Any) -> None:
    for item in value if isinstance(value, list) else [value]:
        if isinstance(item, float) and abs(item) > _MAX_EXACT:
            message = f"`{param}` is a number that JSON does not carry exactly. Send it as a string."
            raise InputError("invalid_filter_value", message, param)
        if isinstance(item, str) and len(item) > _MAX_FILTER_CHARS:
            message = f"`{param}` has {len(item)} characters; at most {_MAX_FILTER_CHARS} are compared."
            raise InputError("invalid_filter_value", message, param)
        if isinstance(item, str) and "\0" in item:
            message = f"`{param}` contains the character NUL (U+0000), which Postgres does not store."
            raise InputError("invalid_filter_value", message, param)

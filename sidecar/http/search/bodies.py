"""The body of `POST /search`."""

from __future__ import annotations

from typing import Annotated

from pydantic import ConfigDict, Field

from sidecar.errors import InputError
from sidecar.http.body_models import RequestModel
from sidecar.http.embed.texts import EmbeddableText, check_text
from sidecar.http.limits import RequestLimits, limited
from sidecar.http.search.diversity import MAX_CANDIDATES
from sidecar.http.search.filters import FilterObject, check_filter
from sidecar.http.search.hybrid import HybridOptions, check_hybrid
from sidecar.http.search.query_parts import MAX_DIMENSIONS, MAX_PARTS, QueryPart, check_parts
from sidecar.http.search.targets import MAX_TARGETS, TargetList, check_targets

_MAX_COLUMNS = 1600  # of a table in Postgres
_MAX_NAME_CHARS = 1000  # Postgres' names have at most 63 bytes
_MAX_CURSOR_CHARS = 16_384  # more than a key can have
_MAX_ROWS = limited(maximum="max_search_rows")


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
    targets: TargetList | None = Field(
        default=None,
        fail_fast=True,
        max_length=MAX_TARGETS,
        description="Several vector columns instead of `target`: the nearest rows of each, merged by reciprocal rank "
        "fusion.",
        examples=[["photo_embedding", {"target": "title_embedding", "weight": 0.5}]],
        json_schema_extra=limited(min_items=1),
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
        json_schema_extra=limited(min_items=1),
    )
    include_keys: bool = Field(default=False, description="Return also the rows that `query` names by their keys.")
    k: Annotated[int, Field(ge=1)] = Field(
        default=10, description="Number of rows to return, at most MAX_SEARCH_ROWS.", json_schema_extra=_MAX_ROWS
    )
    offset: Annotated[int, Field(ge=0)] = Field(
        default=0, description="How many of the rows to skip.", json_schema_extra=_MAX_ROWS
    )
    after: str | None = Field(
        default=None,
        max_length=_MAX_CURSOR_CHARS,
        description="`next` of the answer to the same search: the next page.",
    )
    min_score: Annotated[float, Field(ge=-1, le=1)] | None = Field(
        default=None, description="The least cosine similarity, 1 - `distance`."
    )
    filter: FilterObject = Field(default_factory=dict, examples=[{"tenant": 7, "price": {"$gte": 10, "$lt": 50}}])
    columns: list[str] | None = Field(
        default=None,
        fail_fast=True,
        max_length=_MAX_COLUMNS,
        description="The exposed columns to return. Default: all of them.",
    )
    hybrid: HybridOptions | None = Field(default=None, description="Merge the nearest rows with full-text matches.")
    rerank: RerankOptions | None = Field(default=None, description="Rerank the nearest rows with a cross-encoder.")
    diversity: Annotated[float, Field(ge=0, le=1)] = Field(
        default=0.0,
        description="How much rows that resemble a row above them give way to others. 0: not at all; 1: relevance only "
        "chooses the first row.",
    )


def check_search(body: SearchBody, limits: RequestLimits) -> None:
    """Raises InputError for a search that is invalid whatever its watch."""
    _check_query(body, limits)
    _check_targets(body)
    if body.rerank is not None:
        _check_rerank(body.rerank, body.text, limits)
    if body.hybrid is not None:
        check_hybrid(body.hybrid, body.text, limits)
    for param, rows in (("k", body.k), ("rerank.top_k", body.rerank.top_k if body.rerank else 1)):
        if body.diversity and rows > MAX_CANDIDATES:
            message = (
                f"`{param}` is {rows}; with `diversity` at most {MAX_CANDIDATES} rows are compared with each other."
            )
            raise InputError("out_of_range", message, param)
        if rows > limits.max_search_rows:
            message = f"`{param}` is {rows}; at most {limits.max_search_rows} (MAX_SEARCH_ROWS) rows are searched for."
            raise InputError("out_of_range", message, param)
    check_filter(body.filter)


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


def _check_targets(body: SearchBody) -> None:
    if body.targets is None:
        return
    if body.target is not None:
        raise InputError("wrong_target", "Give `target` or `targets`, not both.", "targets")
    check_targets(body.targets)
    if body.hybrid is not None:
        message = "`targets` cannot go with `hybrid`: leave one of them out, or give a single `target`."
        raise InputError("wrong_target", message, "hybrid")


def _check_rerank(rerank: RerankOptions, text: str | None, limits: RequestLimits) -> None:
    if rerank.text is not None:
        check_text(rerank.text, "rerank.text", limits)
    elif text is None:
        message = "`rerank` reads texts: give the query as `text`, or as `rerank.text` the one to rank by."
        raise InputError("rerank_needs_text", message, "rerank")

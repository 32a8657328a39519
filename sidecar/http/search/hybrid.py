"""`hybrid` of `POST /search`: full text beside the vectors."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

from pydantic import ConfigDict, Field

from sidecar.errors import InputError
from sidecar.http.body_models import RequestModel
from sidecar.http.embed.texts import EmbeddableText, check_text
from sidecar.http.limits import RequestLimits, limited
from sidecar.postgres.hybrid_search import WordQuery

_MAX_NAME_CHARS = 1000  # Postgres' names have at most 63 bytes
_MAX_COLUMNS = 32  # of one GIN index

Weight = Annotated[float, Field(ge=0, le=1000)]


class HybridOptions(RequestModel):
    """Merges the nearest rows with the best full-text matches, as sidecar.hybrid_search does in SQL.

    `text` has the words to match, in the syntax of web search engines. Default: the text that is searched for.
    `columns` are exposed text columns, or one exposed tsvector column. Default: the columns that the watch embeds.
    """

    model_config = ConfigDict(extra="forbid")

    text: EmbeddableText | None = Field(default=None, examples=["blue mug"])
    columns: list[str] | None = Field(
        default=None,
        fail_fast=True,
        max_length=_MAX_COLUMNS,
        examples=[["title"]],
        json_schema_extra=limited(min_items=1),
    )
    config: str = Field(
        default="english", max_length=_MAX_NAME_CHARS, description="The text search configuration of the GIN index."
    )
    candidates: Annotated[int, Field(ge=1)] | None = Field(
        default=None,
        description="How many rows each side proposes. Default: four times as many as are wanted, at least 100.",
        json_schema_extra=limited(maximum="max_search_rows"),
    )
    rrf_constant: Annotated[int, Field(ge=0, le=10_000)] = Field(
        default=60, description="Smaller: the first ranks count for more."
    )
    vector_weight: Weight = 1.0
    text_weight: Weight = 1.0


def check_hybrid(hybrid: HybridOptions, text: str | None, limits: RequestLimits) -> None:
    """Raises InputError for options that are invalid whatever the watch."""
    if hybrid.text is not None:
        check_text(hybrid.text, "hybrid.text", limits)
    elif text is None:
        message = "`hybrid` matches words: give the query as `text`, or as `hybrid.text` the words."
        raise InputError("hybrid_needs_text", message, "hybrid")
    if hybrid.columns == []:
        raise InputError("empty_list", "`hybrid.columns` is empty; name at least one column.", "hybrid.columns")
    if "\0" in hybrid.config:
        raise InputError("unknown_config", "`hybrid.config` contains the character NUL (U+0000).", "hybrid.config")
    if hybrid.vector_weight == hybrid.text_weight == 0:
        message = "`hybrid.vector_weight` and `hybrid.text_weight` are both 0: give one of them more."
        raise InputError("out_of_range", message, "hybrid.vector_weight")
    if hybrid.candidates is not None and hybrid.candidates > limits.max_search_rows:
        message = (
            f"`hybrid.candidates` is {hybrid.candidates}; at most {limits.max_search_rows} (MAX_SEARCH_ROWS) rows are "
            "proposed."
        )
        raise InputError("out_of_range", message, "hybrid.candidates")


def word_query(hybrid: HybridOptions, text: str | None, columns: Sequence[str]) -> WordQuery:
    """What Postgres is asked; `text` is the query that is searched for."""
    return WordQuery(
        hybrid.text or text or "",
        columns,
        hybrid.config,
        hybrid.candidates,
        hybrid.rrf_constant,
        hybrid.vector_weight,
        hybrid.text_weight,
    )

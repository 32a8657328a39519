"""`query` of `POST /search`: texts, pictures, vectors and rows, each with a weight."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated

from pydantic import ConfigDict, Field

from sidecar.errors import InputError
from sidecar.http.body_models import RequestModel
from sidecar.http.embed.contents import Content, check_contents
from sidecar.http.embed.texts import EmbeddableText
from sidecar.http.limits import RequestLimits
from sidecar.http.watches.keys import KeyValue, key_object

MAX_PARTS = 64
MAX_DIMENSIONS = 16_000  # of a vector in pgvector

_MAX_WEIGHT = 1000.0
_MAX_NAME_CHARS = 1000  # Postgres' names have at most 63 bytes
_KINDS = ("text", "image", "vector", "key")


class QueryPart(RequestModel):
    """One of `text`, `image`, `vector` and `key`, and its weight."""

    model_config = ConfigDict(extra="forbid")

    text: EmbeddableText | None = Field(default=None, examples=["in red"])
    image: str | None = Field(default=None, description="The data URI of a picture, or an allowed URL.")
    vector: list[float] | None = Field(
        default=None,
        fail_fast=True,
        max_length=MAX_DIMENSIONS,
        description="A vector from an embedding endpoint of the same model.",
    )
    key: KeyValue | dict[str, KeyValue] | None = Field(
        default=None,
        description="The key of a row, whose vector is taken: a value, or an object of the key columns.",
        examples=[3],
    )
    target: str | None = Field(
        default=None,
        max_length=_MAX_NAME_CHARS,
        description="With `key` and several `targets`: the one of them whose vector of the row is taken.",
    )
    weight: Annotated[float, Field(ge=-_MAX_WEIGHT, le=_MAX_WEIGHT)] = Field(
        default=1.0, description="Negative: away from it."
    )


def check_parts(parts: Sequence[QueryPart], limits: RequestLimits) -> None:
    """Raises InputError for a query that is invalid whatever its watch."""
    if not parts:
        raise InputError("empty_list", "`query` is empty; give at least one text, picture, vector or key.", "query")
    for index, part in enumerate(parts):
        given = [kind for kind in _KINDS if getattr(part, kind) is not None]
        if len(given) != 1:
            param = f"query[{index}]"
            got = f"not {' and '.join(f'`{kind}`' for kind in given)}" if given else "there is none"
            message = f"`{param}`: give one of `text`, `image`, `vector` and `key`, {got}."
            raise InputError("wrong_query", message, f"{param}.{given[0]}" if given else param)
        if part.target is not None and part.key is None:
            message = f"`query[{index}].target` says which vector of a row is taken: it goes with `key` only."
            raise InputError("wrong_query", message, f"query[{index}].target")
    if contents := contents_of(parts):
        check_contents(contents, "query", limits)


def contents_of(parts: Sequence[QueryPart]) -> list[Content]:
    """The texts and pictures, in order."""
    contents = []
    for index, part in enumerate(parts):
        if part.text is not None:
            contents.append(Content(f"query[{index}].text", part.text))
        elif part.image is not None:
            contents.append(Content(f"query[{index}].image", part.image, is_picture=True))
    return contents


def keys_of(parts: Sequence[QueryPart], key_columns: Sequence[str]) -> dict[str, Mapping[str, KeyValue]]:
    """The keys as objects of all key columns, by their names in the request. Raises InputError (`wrong_key`)."""
    return {
        f"query[{index}].key": key_object(part.key, key_columns, f"query[{index}].key")
        for index, part in enumerate(parts)
        if part.key is not None
    }


def targets_of_keys(parts: Sequence[QueryPart], searched: Sequence[str]) -> dict[str, str]:
    """The target that has the vector of each key's row, by the keys' names. Raises InputError (`wrong_target`)."""
    targets: dict[str, str] = {}
    for index, part in enumerate(parts):
        if part.key is None:
            continue
        if part.target is None and len(searched) > 1:
            message = f"`query[{index}].key`: the row has several vectors; name in `query[{index}].target` one of "
            raise InputError("wrong_target", f"{message}{', '.join(searched)}.", f"query[{index}].key")
        if part.target not in {None, *searched}:
            message = f"`query[{index}].target` is not searched, but {', '.join(searched)}."
            raise InputError("wrong_target", message, f"query[{index}].target")
        targets[f"query[{index}].key"] = part.target or searched[0]
    return targets

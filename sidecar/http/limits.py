"""Bounds of one request, and their place in JSON schemas: named in a model, filled in for the document."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Self

from pydantic.config import JsonDict

from sidecar.config import Settings

_KEY = "x-limits"


@dataclass(frozen=True, slots=True)
class RequestLimits:
    """The settings that bound a single request; `max_uploads_bytes` bounds the bodies of all requests together."""

    max_body_bytes: int
    max_uploads_bytes: int
    max_batch_texts: int
    max_text_chars: int
    max_image_bytes: int
    max_batch_images: int
    max_rerank_documents: int
    max_search_rows: int
    timeout_s: float

    @classmethod
    def from_settings(cls, settings: Settings) -> Self:
        return cls(
            max_body_bytes=settings.max_body_bytes,
            max_uploads_bytes=settings.max_uploads_bytes,
            max_batch_texts=settings.max_batch_texts,
            max_text_chars=settings.max_text_chars,
            max_image_bytes=settings.max_image_bytes,
            max_batch_images=settings.max_batch_images,
            max_rerank_documents=settings.max_rerank_documents,
            max_search_rows=settings.max_search_rows,
            timeout_s=settings.request_timeout_s,
        )


def limited(*, min_items: int | None = None, **limits: str) -> JsonDict:
    """For `json_schema_extra`: `limited(maxItems="max_batch_texts")` is `maxItems` with that field of RequestLimits."""
    bounds: JsonDict = {_KEY: dict(limits)}
    return bounds if min_items is None else {"minItems": min_items, **bounds}


def fill_in_limits(schema: Any, limits: RequestLimits) -> Any:
    """A copy of `schema` with the numbers of `limits` in place of their names.

    Bounds of a union that may be null go to the member they are meant for.
    """
    if isinstance(schema, list):
        return [fill_in_limits(each, limits) for each in schema]
    if not isinstance(schema, dict):
        return schema
    filled = {key: fill_in_limits(value, limits) for key, value in schema.items() if key != _KEY}
    return filled | {keyword: getattr(limits, name) for keyword, name in schema.get(_KEY, {}).items()}

"""Bounds of JSON schemas that are settings: named where a model is written, filled in where the document is made."""

from __future__ import annotations

from typing import Any

from pydantic.config import JsonDict

from sidecar.http.service import RequestLimits

_KEY = "x-limits"


def limited(*, min_items: int | None = None, **limits: str) -> JsonDict:
    """For `json_schema_extra`: `limited(maxItems="max_batch_texts")` is `maxItems` with that field of RequestLimits."""
    bounds: JsonDict = {_KEY: dict(limits)}
    return bounds if min_items is None else {"minItems": min_items, **bounds}


def fill_in_limits(schema: Any, limits: RequestLimits) -> Any:
    """The same schema with numbers for names. Those of a union that may be null go to the member they are meant for."""
    if isinstance(schema, list):
        return [fill_in_limits(each, limits) for each in schema]
    if not isinstance(schema, dict):
        return schema
    filled = {key: fill_in_limits(value, limits) for key, value in schema.items() if key != _KEY}
    return filled | {keyword: getattr(limits, name) for keyword, name in schema.get(_KEY, {}).items()}

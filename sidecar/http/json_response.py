"""JSON answers, with numpy arrays written as lists of numbers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson
from pydantic import BaseModel
from starlette.responses import Response


class JsonResponse(Response):
    """float32 arrays are written in the fewest digits that read back as the same float32."""

    media_type = "application/json"

    def __init__(self, content: object, status_code: int = 200, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(content, status_code, headers)

    def render(self, content: Any) -> bytes:
        return orjson.dumps(content, default=_fields, option=orjson.OPT_SERIALIZE_NUMPY)


def _fields(value: object) -> dict[str, Any]:
    """pydantic's own way to JSON would take numpy arrays apart, number by number."""
    if isinstance(value, BaseModel):
        return vars(value)
    raise TypeError(type(value).__name__)

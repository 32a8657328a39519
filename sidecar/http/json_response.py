"""JSON responses, with numpy arrays as lists of numbers."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from itertools import islice
from typing import Any

import orjson
from pydantic import BaseModel
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

_MESSAGE_BYTES = 1024 * 1024  # how much BoundedHttpProtocol expects a client to read in its time
_ITEMS_AT_ONCE = 16  # vectors of 1,152 numbers: a millisecond, and 0.2 MB


class JsonResponse(Response):
    """A JSON response. Float32 arrays have the fewest digits that read back as the same float32."""

    media_type = "application/json"

    def __init__(self, content: object, status_code: int = 200, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(content, status_code, headers)

    def render(self, content: Any) -> bytes:
        return to_json(content)


def to_json(content: object) -> bytes:
    """JSON of models, dataclasses, numpy arrays and plain values, on one line."""
    return orjson.dumps(content, default=_fields, option=orjson.OPT_SERIALIZE_NUMPY)


class SerializedList:
    """A JSON list in pieces, for a LargeJsonResponse. Not a dataclass, which orjson would serialize by itself."""

    def __init__(self, pieces: list[bytes]) -> None:
        self.pieces = pieces


async def serialize_list(items: Iterable[object]) -> SerializedList:
    """Serializes a list a few items at a time, and lets the event loop run in between.

    2,048 vectors of 1,152 numbers are 29 MB and take 0.1 s, during which no other request would be answered.
    """
    pieces: list[bytes] = []
    rest = iter(items)
    while some := list(islice(rest, _ITEMS_AT_ONCE)):
        serialized = orjson.dumps(some, default=_fields, option=orjson.OPT_SERIALIZE_NUMPY)
        pieces.append((b"," if pieces else b"[") + serialized[1:-1])
        await asyncio.sleep(0)
    return SerializedList([*pieces, b"]"] if pieces else [b"[]"])


class LargeJsonResponse(Response):
    """A JsonResponse whose content has SerializedLists, which are sent piece by piece without a copy of the whole."""

    media_type = "application/json"

    def __init__(self, content: object, headers: Mapping[str, str] | None = None) -> None:
        lists: list[SerializedList] = []

        def mark(value: object) -> object:
            if not isinstance(value, SerializedList):
                return _fields(value)
            lists.append(value)
            return orjson.Fragment(b"\0")  # JSON has this byte nowhere else

        first, *others = orjson.dumps(content, default=mark, option=orjson.OPT_SERIALIZE_NUMPY).split(b"\0")
        self._pieces = [first]
        for serialized, after in zip(lists, others, strict=True):
            self._pieces += [*serialized.pieces, after]
        length = sum(map(len, self._pieces))
        super().__init__(None, 200, {**(headers or {}), "content-length": str(length)})

    async def __call__(self, _scope: Scope, _receive: Receive, send: Send) -> None:
        """Sends messages of about a MiB, and frees each piece as it is sent."""
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        self._pieces.reverse()
        while self._pieces:
            body = bytearray()
            while self._pieces and len(body) < _MESSAGE_BYTES:
                body += self._pieces.pop()
            await send({"type": "http.response.body", "body": bytes(body), "more_body": bool(self._pieces)})


def _fields(value: object) -> dict[str, Any]:
    """The fields of a pydantic model, whose own serialization would take numpy arrays apart number by number."""
    if isinstance(value, BaseModel):
        return vars(value)
    raise TypeError(type(value).__name__)

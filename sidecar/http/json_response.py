"""JSON answers, with numpy arrays written as lists of numbers."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from itertools import islice
from typing import Any

import orjson
from pydantic import BaseModel
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

_SENT_AT_ONCE_BYTES = 1024 * 1024
_ITEMS_AT_ONCE = 16  # vectors of 1,152 numbers: a millisecond, and 0.2 MB


class JsonResponse(Response):
    """float32 arrays are written in the fewest digits that read back as the same float32."""

    media_type = "application/json"

    def __init__(self, content: object, status_code: int = 200, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(content, status_code, headers)

    def render(self, content: Any) -> bytes:
        return orjson.dumps(content, default=_fields, option=orjson.OPT_SERIALIZE_NUMPY)


class WrittenList:
    """A JSON list in pieces, for a LongJsonResponse. No dataclass: orjson would write that by itself."""

    def __init__(self, pieces: list[bytes]) -> None:
        self.pieces = pieces


async def write_in_turns(items: Iterable[object]) -> WrittenList:
    """Write a list a few items at a time, and attend to other requests in between.

    2,048 vectors of 1,152 numbers are 29 MB and take 0.1 s, in which no other request would be answered.
    """
    pieces: list[bytes] = []
    rest = iter(items)
    while some := list(islice(rest, _ITEMS_AT_ONCE)):
        written = orjson.dumps(some, default=_fields, option=orjson.OPT_SERIALIZE_NUMPY)
        pieces.append((b"," if pieces else b"[") + written[1:-1])
        await asyncio.sleep(0)
    return WrittenList([*pieces, b"]"] if pieces else [b"[]"])


class LongJsonResponse(Response):
    """As JsonResponse, of a content with WrittenLists, which are sent piece by piece and never copied into one."""

    media_type = "application/json"

    def __init__(self, content: object, headers: Mapping[str, str] | None = None) -> None:
        lists: list[WrittenList] = []

        def place(value: object) -> object:
            if not isinstance(value, WrittenList):
                return _fields(value)
            lists.append(value)
            return orjson.Fragment(b"\0")  # which JSON has nowhere else

        first, *others = orjson.dumps(content, default=place, option=orjson.OPT_SERIALIZE_NUMPY).split(b"\0")
        self._pieces = [first]
        for written, after in zip(lists, others, strict=True):
            self._pieces += [*written.pieces, after]
        length = sum(map(len, self._pieces))
        super().__init__(None, 200, {**(headers or {}), "content-length": str(length)})

    async def __call__(self, _scope: Scope, _receive: Receive, send: Send) -> None:
        """What is sent is kept no longer. A part is a MiB: so much BoundedHttpProtocol has clients read in its time."""
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        self._pieces.reverse()
        while self._pieces:
            part = bytearray()
            while self._pieces and len(part) < _SENT_AT_ONCE_BYTES:
                part += self._pieces.pop()
            await send({"type": "http.response.body", "body": bytes(part), "more_body": bool(self._pieces)})


def _fields(value: object) -> dict[str, Any]:
    """pydantic's own way to JSON would take numpy arrays apart, number by number."""
    if isinstance(value, BaseModel):
        return vars(value)
    raise TypeError(type(value).__name__)

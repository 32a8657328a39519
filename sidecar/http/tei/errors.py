"""Errors in text-embeddings-inference's shape: huggingface_hub shows its `error` field to the user."""

from __future__ import annotations

from typing import Literal, TypeAlias

import orjson
from pydantic import Field
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from sidecar.http.body_models import AnswerModel

_Type: TypeAlias = Literal["Unhealthy", "Backend", "Overloaded", "Validation", "Empty"]
_TYPES: dict[int, _Type] = {429: "Overloaded", 500: "Backend", 503: "Unhealthy", 504: "Backend"}
_EMPTY = {"empty_text", "empty_list"}


class TeiError(AnswerModel):
    """What is wrong, and what to do."""

    error: str = Field(examples=["`inputs[2]` is empty; there is nothing to embed."])
    error_type: _Type


class TeiErrors:
    """Middleware that converts an ErrorAnswer to a TeiError, with the same status."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        begun: Message | None = None
        parts: list[bytes] = []

        async def send_converted(message: Message) -> None:
            nonlocal begun
            if message["type"] == "http.response.start" and message["status"] >= 400:
                begun = message
                return
            if begun is None:
                await send(message)
                return
            parts.append(message.get("body", b""))
            if not message.get("more_body", False):
                body = _to_tei_error(b"".join(parts), begun["status"])
                await send({**begun, "headers": _with_length(begun["headers"], len(body))})
                await send({"type": "http.response.body", "body": body})

        await self._app(scope, receive, send_converted)


def _to_tei_error(body: bytes, status: int) -> bytes:
    if not body:  # the client has disconnected
        return body
    detail = orjson.loads(body)["error"]
    kind: _Type = "Empty" if detail["code"] in _EMPTY else _TYPES.get(status, "Validation")
    return orjson.dumps(TeiError(error=detail["message"], error_type=kind).model_dump())


def _with_length(headers: list[tuple[bytes, bytes]], length: int) -> list[tuple[bytes, bytes]]:
    others = [(name, value) for name, value in headers if name.lower() != b"content-length"]
    return [*others, (b"content-length", str(length).encode())]

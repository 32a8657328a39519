"""A request's body as it arrives, up to a limit."""

from __future__ import annotations

from collections.abc import AsyncIterator

from starlette.requests import Request

from sidecar.errors import InputError
from sidecar.http.headers import declared_bytes


def require_content_type(request: Request, media_type: str, example: str) -> None:
    """Raises InputError (`unsupported_media_type`) unless the body is declared as `media_type`."""
    declared = request.headers.get("content-type", "")
    if declared.partition(";")[0].strip().lower() != media_type:
        found = f"Content-Type {declared[:100]!r}" if declared else "no Content-Type"
        message = f"The body must be {media_type}, the request has {found}. Example: {example}"
        raise InputError("unsupported_media_type", message)


async def body_chunks(request: Request, max_bytes: int) -> AsyncIterator[bytes]:
    """The body as it arrives. Raises InputError (`body_too_large`) once it exceeds `max_bytes`, or declares to."""
    if declared_bytes(request.scope) > max_bytes:
        raise _too_large(max_bytes)
    received = 0
    async for chunk in request.stream():
        received += len(chunk)
        if received > max_bytes:
            raise _too_large(max_bytes)
        yield chunk


def _too_large(max_bytes: int) -> InputError:
    return InputError("body_too_large", f"The body has more than {max_bytes} bytes. The limit is MAX_BODY_BYTES.")

"""Pages of other sites that may use the service from a browser."""

from __future__ import annotations

from collections.abc import Sequence

from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware

_EXPOSED = ("Retry-After", "X-Request-ID")


def cors_middleware(origins: Sequence[str]) -> list[Middleware]:
    """None unless there are origins. Any header may be sent, a key too, but never a cookie."""
    if not origins:
        return []
    return [
        Middleware(
            CORSMiddleware,
            allow_origins=origins,
            allow_methods=("GET", "POST"),
            allow_headers=("*",),
            allow_credentials=False,
            expose_headers=_EXPOSED,
        )
    ]

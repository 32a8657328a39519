"""Whether the request that the current task works for is a large one: its length is its caller's choice."""

from __future__ import annotations

from contextvars import ContextVar

request_is_large: ContextVar[bool] = ContextVar("request_is_large", default=False)

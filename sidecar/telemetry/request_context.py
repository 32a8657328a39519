"""Facts about the request that the current task serves; tasks and threads started for it inherit them."""

from __future__ import annotations

from contextvars import ContextVar

# For logs and error messages; None outside of a request.
current_request_id: ContextVar[str | None] = ContextVar("current_request_id", default=None)

# A large request (thousands of texts) takes as long as its caller made it: the latency objective leaves it out.
request_is_large: ContextVar[bool] = ContextVar("request_is_large", default=False)

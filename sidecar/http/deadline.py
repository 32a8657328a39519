"""Cuts a request off when its time is over."""

from __future__ import annotations

import asyncio

from starlette.requests import Request
from starlette.responses import Response

from sidecar.http.errors import error_response
from sidecar.http.operation import Endpoint


def with_deadline(endpoint: Endpoint, timeout_s: float) -> Endpoint:
    """Answers 504 after `timeout_s`; what the endpoint waited for is cancelled, and its places are free."""

    async def answer_in_time(request: Request) -> Response:
        deadline = asyncio.timeout(timeout_s)
        try:
            async with deadline:
                return await endpoint(request)
        except TimeoutError:
            if not deadline.expired():
                raise
            message = f"No answer within {timeout_s:g} s (REQUEST_TIMEOUT_S). Try again, or send less at once."
            return error_response(504, "timeout", message)

    return answer_in_time

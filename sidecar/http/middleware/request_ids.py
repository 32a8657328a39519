"""Every request has an id: its caller's, if it can be used, else one of ours. Logs and the answer carry it."""

from __future__ import annotations

import random
import re

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from sidecar.http.headers import header_values
from sidecar.telemetry.request_context import current_request_id

_USABLE = re.compile(r"[A-Za-z0-9._:=+/-]{1,128}")


class RequestIds:
    """Takes `X-Request-ID` and gives it back; another one takes its place where it is long or has other characters."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        # Unlike the system's, this one does not give up the interpreter's lock, which the device's thread would take.
        self._random = random.Random()  # noqa: S311 - ids are unique, not secret

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        asked = header_values(scope, b"x-request-id")
        usable = len(asked) == 1 and _USABLE.fullmatch(asked[0])
        request_id = asked[0] if usable else f"{self._random.getrandbits(128):032x}"
        header = (b"x-request-id", request_id.encode())

        async def send_with_id(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message.get("headers", ()), header]
            await send(message)

        token = current_request_id.set(request_id)
        try:
            await self._app(scope, receive, send_with_id)
        finally:
            current_request_id.reset(token)

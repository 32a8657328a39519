"""A line in the log for every request."""

from __future__ import annotations

import logging
import time

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from sidecar.http.middleware.probes import is_probe

logger = logging.getLogger(__name__)

_CUT_OFF = 499  # the client has gone before it was answered
_MAX_PATH_CHARS = 200


class AccessLog:
    """Method, path without its query, status, duration. Nothing of what was sent, and no header."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        status = _CUT_OFF

        async def watched_send(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        started = time.perf_counter()
        try:
            await self._app(scope, receive, watched_send)
        finally:
            _log(scope, status, 1000 * (time.perf_counter() - started))


def loggable_path(scope: Scope) -> str:
    """The path as it was sent, so with %0A for a line feed, and not all of a very long one."""
    path = bytes(scope.get("raw_path") or scope["path"].encode()).decode("ascii", "backslashreplace")
    path = path.partition("?")[0]
    return path if len(path) <= _MAX_PATH_CHARS else f"{path[:_MAX_PATH_CHARS]}…"


def _log(scope: Scope, status: int, duration_ms: float) -> None:
    level = logging.DEBUG if is_probe(scope) and status < 400 else logging.INFO  # one that fails is like all others
    if not logger.isEnabledFor(level):
        return
    method, path = scope["method"], loggable_path(scope)
    fields = {"method": method, "path": path, "status": status, "duration_ms": round(duration_ms, 1)}
    logger.log(level, "%s %s %d %.1f ms", method, path, status, duration_ms, extra={"fields": fields})

"""Answers to malformed requests, of which neither method nor path is known."""

from __future__ import annotations

import httptools
from starlette.types import ASGIApp, Receive, Scope, Send

from sidecar.errors import InputError
from sidecar.http.errors import error_response_to

_REFUSAL = "sidecar.refusal"  # key of a scope: the InputError to answer with
_KEPT_HEADERS = {b"origin", b"x-request-id"}  # they shape the answer
_HINTS = {
    "Invalid method encountered": " The service speaks HTTP/1.1 without TLS: is this HTTPS, or another protocol?",
    "Pause on PRI/Upgrade": " HTTP/2 is not supported: use HTTP/1.1.",
}


class AnswerRefusedHeads:
    """Answers the scopes of `refused_scope`. Innermost: refusals are logged, counted and given an id like requests."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        refusal = scope.get(_REFUSAL)
        if refusal is None:
            await self._app(scope, receive, send)
        else:
            await error_response_to(refusal)(scope, receive, send)


def refused_scope(scope: Scope, headers: list[tuple[bytes, bytes]], error: InputError) -> Scope:
    """A copy of `scope`, that of a malformed request, by which AnswerRefusedHeads answers it with `error`."""
    return {
        **scope,
        "type": "http",
        "http_version": "1.1",
        "method": "-",
        "path": "-",
        "raw_path": b"-",
        "query_string": b"",
        "headers": [header for header in headers if header[0] in _KEPT_HEADERS],
        _REFUSAL: error,
    }


def to_input_error(error: httptools.HttpParserError) -> InputError:
    """The InputError that a callback of ours raised inside the parser, or `malformed_request` for the parser's own."""
    if isinstance(error.__context__, InputError):
        return error.__context__
    reason = "its target is not a path" if error.__context__ else str(error)
    return InputError("malformed_request", f"This is not a valid HTTP/1.1 request: {reason}.{_HINTS.get(reason, '')}")

"""Response headers for browsers: what they may do with an answer, and which sites' pages may call the service."""

from __future__ import annotations

from collections.abc import Sequence
from http import HTTPStatus

from starlette.datastructures import Headers
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from sidecar.http.errors import error_response

# An answer's own value takes precedence: the documentation's page allows its scripts.
_SECURITY_HEADERS = (
    (b"cache-control", b"no-store"),
    (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'"),
    (b"referrer-policy", b"no-referrer"),
    (b"x-content-type-options", b"nosniff"),
)

# Headers of any answer that pages need. Browsers hide all but a few from them unless they are listed.
_EXPOSED_HEADERS = ("Accept-Encoding", "Allow", "Retry-After", "WWW-Authenticate", "X-Request-ID", "traceresponse")


class SecurityHeaders:
    """Forbids sniffing, storing, framing and scripts."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                present = message.get("headers", ())
                names = {name for name, _ in present}
                message["headers"] = [*present, *(default for default in _SECURITY_HEADERS if default[0] not in names)]
            await send(message)

        await self._app(scope, receive, send_with_headers)


class _Cors(CORSMiddleware):
    """Rejects preflights with our error body."""

    def preflight_response(self, request_headers: Headers) -> Response:
        response = super().preflight_response(request_headers)
        if response.status_code < HTTPStatus.BAD_REQUEST:
            return response
        message = f"{bytes(response.body).decode()}: CORS_ALLOW_ORIGINS names who may, with GET and POST."
        refusal = error_response(response.status_code, "preflight_refused", message)
        refusal.headers.update(
            {name: value for name, value in response.headers.items() if not name.startswith("content-")}
        )
        return refusal


def cors_middleware(origins: Sequence[str], headers: Sequence[str]) -> list[Middleware]:
    """The CORS middleware for `origins`, or nothing without any. Requests may have any header, but no cookies.

    `headers` are further response headers that pages may read.
    """
    if not origins:
        return []
    return [
        Middleware(
            _Cors,
            allow_origins=origins,
            allow_methods=("GET", "POST"),
            allow_headers=("*",),
            allow_credentials=False,
            expose_headers=(*_EXPOSED_HEADERS, *headers),
        )
    ]

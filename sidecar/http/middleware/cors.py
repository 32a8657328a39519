"""CORS: which other sites' pages may use the service from a browser."""

from __future__ import annotations

from collections.abc import Sequence
from http import HTTPStatus

from starlette.datastructures import Headers
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.responses import Response

from sidecar.http.errors import error_response

# Headers of any answer that pages need. Browsers hide all but a few from them unless they are listed.
_ON_ANY_ANSWER = ("Accept-Encoding", "Allow", "Retry-After", "WWW-Authenticate", "X-Request-ID", "traceresponse")


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
            expose_headers=(*_ON_ANY_ANSWER, *headers),
        )
    ]

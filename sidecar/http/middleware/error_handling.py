"""Turns every exception into an error response, without leaking internals."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from typing import Any

from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.types import ASGIApp, ExceptionHandler, Message, Receive, Scope, Send

from sidecar.errors import RerankModelFailed, SidecarError
from sidecar.http.errors import error_response, error_response_to
from sidecar.http.middleware.missing_paths import not_found_message
from sidecar.http.middleware.request_observation import CLIENT_CLOSED_REQUEST, loggable_path
from sidecar.readiness import NotReady, Readiness
from sidecar.telemetry.request_context import current_request_id

logger = logging.getLogger(__name__)


async def _answer_sidecar_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, SidecarError)
    response = error_response_to(error)
    logged_already = isinstance(error, NotReady | RerankModelFailed)  # where it arose
    if response.status_code >= 500 and not logged_already:
        logger.warning("%s %s: %s", request.method, loggable_path(request.scope), error)
    return response


async def _answer_http_exception(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    path = request.url.path
    if error.status_code == 405:
        allowed = (error.headers or {}).get("Allow", "")
        response = error_response(405, "method_not_allowed", f"{path} answers {allowed}, not {request.method}.")
    elif error.status_code == 404:
        served = {route.path for route in request.app.routes}
        response = error_response(404, "not_found", not_found_message(request.scope, served))
    else:
        response = error_response(error.status_code, "http_error", error.detail)
    response.headers.update(error.headers or {})
    return response


async def _answer_disconnected(request: Request, _error: Exception) -> Response:
    logger.debug("%s %s: the client has gone", request.method, loggable_path(request.scope))
    return Response(status_code=CLIENT_CLOSED_REQUEST)


EXCEPTION_HANDLERS: Mapping[Any, ExceptionHandler] = {
    SidecarError: _answer_sidecar_error,
    HTTPException: _answer_http_exception,
    ClientDisconnect: _answer_disconnected,
}


class UnexpectedErrors:
    """Logs uncaught exceptions with their traceback and answers with a 500 that names the request's id.

    A request that is cut off because the process stops is answered with 503.
    """

    def __init__(self, app: ASGIApp, readiness: Readiness) -> None:
        self._app = app
        self._readiness = readiness

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started = False

        async def watched_send(message: Message) -> None:
            nonlocal started
            started = True
            await send(message)

        try:
            await self._app(scope, receive, watched_send)
        except asyncio.CancelledError:
            reason = self._readiness.error()
            if started or reason is None:
                raise
            await error_response_to(reason)(scope, receive, send)
        except Exception:
            request_id = current_request_id.get()
            logger.exception("Request %s failed: %s %s", request_id, scope["method"], loggable_path(scope))
            if started:
                raise
            message = f"Something went wrong here. The log has more under request {request_id}."
            await error_response(500, "internal_error", message)(scope, receive, send)

"""Error responses: their JSON shape, which OpenAI's client reads too, and the table from errors to statuses."""

from __future__ import annotations

import math
from http import HTTPStatus
from typing import Literal, TypeAlias

from pydantic import Field

from sidecar.errors import (
    Contention,
    DatabaseError,
    DatabaseUnavailable,
    DecoderUnavailable,
    DeviceError,
    InputError,
    ModelError,
    Overloaded,
    RerankModelFailed,
    SidecarError,
    StatementRejected,
    TooManyListeners,
    WatchChanged,
)
from sidecar.http.access import AccessDenied
from sidecar.http.body_models import AnswerModel
from sidecar.http.headers import ACCEPTED_ENCODINGS
from sidecar.http.json_response import JsonResponse
from sidecar.postgres.search import SearchDenied
from sidecar.readiness import NotReady
from sidecar.redaction import redact

_RETRY_S = 1.0
_MAX_MESSAGE_CHARS = 2000
_MAX_PARAM_CHARS = 200

# Statuses of InputErrors by code; all others are 422.
_STATUS_OF_INPUT_ERROR = {
    "invalid_encoding": 400,
    "invalid_json": 400,
    "invalid_multipart": 400,
    "malformed_request": 400,
    "column_not_exposed": 403,
    "unreadable_table": 403,
    "model_not_found": 404,
    "no_database": 404,
    "unknown_watch": 404,
    "unknown_row": 404,
    "unknown_table": 404,
    "no_picture": 404,
    "column_gone": 409,
    "other_model": 409,
    "rerank_disabled": 404,
    "method_not_allowed": 405,
    "body_too_large": 413,
    "too_many_bytes": 413,
    "unsupported_media_type": 415,
    "unsupported_encoding": 415,
    "unsupported_format": 415,
    "head_too_large": 431,
    "unsupported_transfer_encoding": 501,
    "http_version_not_supported": 505,
}

# Status and code of other errors, by class; the first match counts.
_STATUS_OF_ERROR: tuple[tuple[type[SidecarError], int, str], ...] = (
    (Overloaded, 429, "overloaded"),
    (TooManyListeners, 503, "too_many_listeners"),
    (DeviceError, 503, "device_error"),
    (DecoderUnavailable, 503, "decoder_unavailable"),
    (ModelError, 503, "model_failed"),
    (RerankModelFailed, 503, "rerank_model_failed"),
    (SearchDenied, 503, "search_denied"),
    (WatchChanged, 503, "watch_changed"),
    (StatementRejected, 503, "database_refused"),
    (DatabaseError, 503, "database_unavailable"),
    (SidecarError, 500, "internal_error"),
)


ErrorType: TypeAlias = Literal[
    "invalid_request_error", "authentication_error", "permission_error", "rate_limit_error", "server_error"
]


class ErrorDetail(AnswerModel):
    code: str = Field(description="Stable, for programs.", examples=["empty_text"])
    message: str = Field(
        description="What is wrong, and what to do.", examples=["`texts[2]` is empty; there is nothing to embed."]
    )
    type: ErrorType
    param: str | None = Field(description="The field or file that is wrong.", examples=["texts[2]"])


class ErrorAnswer(AnswerModel):
    error: ErrorDetail


def error_response(
    status: int, code: str, message: str, param: str | None = None, *, retry_after_s: float | None = None
) -> JsonResponse:
    """A response `{"error": {"code", "message", "type", "param"}}`, with secrets redacted and long values cut."""
    headers = {}
    if retry_after_s is not None:
        headers["Retry-After"] = str(max(math.ceil(retry_after_s), 1))
    # They may quote what the client sent, a path or a field's name, which may be of any length.
    message, param = redact(_shorten(message, _MAX_MESSAGE_CHARS)), param and _shorten(param, _MAX_PARAM_CHARS)
    error = ErrorDetail(code=code, message=message, type=_type_of(status), param=param)
    return JsonResponse(ErrorAnswer(error=error), status, headers)


def error_response_to(error: SidecarError) -> JsonResponse:
    """The response to an error that was raised on purpose."""
    if isinstance(error, InputError):
        status = _STATUS_OF_INPUT_ERROR.get(error.code, HTTPStatus.UNPROCESSABLE_ENTITY)
        response = error_response(status, error.code, error.message, error.param)
        if error.code == "unsupported_encoding":
            response.headers["Accept-Encoding"] = ACCEPTED_ENCODINGS
        return response
    if isinstance(error, AccessDenied):
        response = error_response(error.status, error.code, error.message, retry_after_s=error.retry_after_s)
        if error.challenge:
            response.headers["WWW-Authenticate"] = error.challenge
        return response
    if isinstance(error, NotReady):
        return error_response(503, error.code, error.message, retry_after_s=error.retry_after_s)
    status, code = next((status, code) for kind, status, code in _STATUS_OF_ERROR if isinstance(error, kind))
    retry_after_s = (
        error.retry_after_s if isinstance(error, Overloaded | TooManyListeners | RerankModelFailed) else None
    )
    if isinstance(error, DeviceError | DecoderUnavailable | DatabaseUnavailable | Contention):
        retry_after_s = _RETRY_S
    return error_response(status, code, _message_of(error), retry_after_s=retry_after_s)


def _message_of(error: SidecarError) -> str:
    if isinstance(error, DatabaseUnavailable):
        return f"The service does not reach its database. Try again in a moment. ({error})"
    if isinstance(error, StatementRejected):
        hint = f" {error.hint}" if error.hint else ""
        return f"The database refused what the service asked of it: {error.message}.{hint}"
    return str(error)


def _shorten(text: str, chars: int) -> str:
    return text if len(text) <= chars else f"{text[:chars]}…"


def _type_of(status: int) -> ErrorType:
    special: dict[int, ErrorType] = {401: "authentication_error", 403: "permission_error", 429: "rate_limit_error"}
    if status in special:
        return special[status]
    return "server_error" if status >= HTTPStatus.INTERNAL_SERVER_ERROR else "invalid_request_error"

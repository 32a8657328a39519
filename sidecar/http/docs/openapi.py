"""Generates the OpenAPI 3.1 document from the operations and their pydantic models."""

from __future__ import annotations

import re
from collections.abc import Sequence
from http import HTTPStatus
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import JsonSchemaMode, models_json_schema

import sidecar
from sidecar.http.errors import ErrorAnswer
from sidecar.http.limits import RequestLimits, fill_in_limits
from sidecar.http.operation import MediaType, Operation
from sidecar.pictures.formats.signatures import SUPPORTED_FORMATS

_REFERENCE = "#/components/schemas/{model}"
_PATH_PARAMETER = re.compile(r"{(\w+)(?::\w+)?}")
_DESCRIPTION = (
    "Vectors of texts and pictures, rerank scores and search, beside Postgres. Vectors are float32 and have unit "
    "length, so the inner product is the cosine; they can be compared only if their fingerprints are equal. "
    "All errors have the shape `ErrorAnswer`, except under the paths of text-embeddings-inference, which has its own."
)
_BEARER_DESCRIPTION = (
    "One of API_KEYS. Each has scopes: `embed` (vectors and rerank scores of what is sent), `search` (the content of "
    "watched tables), `admin` (status and metrics). A service without keys needs none, but only serves its own machine."
)
_STATUS_DESCRIPTIONS = {
    400: "The body is not valid JSON, or not a valid form.",
    401: "The key is missing, or not valid for this service.",
    403: "The key lacks the scope, or access to what was requested is denied.",
    404: "Not found, or switched off.",
    409: "The present state does not allow the request.",
    413: "The body, or a picture in it, is too large.",
    415: "The body, or a picture in it, has an unsupported type.",
    422: "The body or the query string is invalid; `param` names the field.",
    429: "The queue is full, or the key's rate or quota used up. `Retry-After` says when to try again.",
    500: "An error in the service. The log has details under the request's id.",
    503: "Not ready, or the device or the database is unavailable at the moment.",
    504: "No answer within REQUEST_TIMEOUT_S.",
}
_PICTURES = {MediaType.WEBP, MediaType.JPEG}
_WITH_RETRY_AFTER = {429, 503}
_PICTURE_TYPES = ", ".join(f"image/{name.lower()}" for name in SUPPORTED_FORMATS)
_REQUEST_ID = {"X-Request-ID": {"$ref": "#/components/headers/X-Request-ID"}}


def make_openapi_document(operations: Sequence[Operation], limits: RequestLimits) -> dict[str, Any]:
    """The OpenAPI document as dicts and lists, ready for JSON."""
    schemas = _Schemas(operations, limits)
    paths: dict[str, dict[str, Any]] = {}
    for operation in operations:
        path = _PATH_PARAMETER.sub(r"{\1}", operation.path)
        paths.setdefault(path, {})[operation.method.lower()] = _describe_operation(operation, path, schemas)
    return {
        "openapi": "3.1.0",
        "info": {"title": "sidecar", "version": sidecar.__version__, "description": _DESCRIPTION},
        "paths": paths,
        "components": {
            "schemas": schemas.components,
            "responses": {
                _error_name(shape, status): _error_response(shape, status, schemas)
                for shape in dict.fromkeys(operation.error for operation in operations)
                for status in _STATUS_DESCRIPTIONS
            },
            "headers": {
                "X-Request-ID": _describe_header(
                    "The id sent with the request, or a new one. It is in the log.", {"minLength": 1}
                ),
                "Retry-After": _describe_header("Seconds to wait before trying again.", {"pattern": "^[0-9]+$"}),
            },
            "securitySchemes": {"bearer": {"type": "http", "scheme": "bearer", "description": _BEARER_DESCRIPTION}},
        },
    }


class _Schemas:
    """The JSON schemas of all operations' models, and references to them."""

    def __init__(self, operations: Sequence[Operation], limits: RequestLimits) -> None:
        models: dict[tuple[type[BaseModel], JsonSchemaMode], None] = {}
        for operation in operations:
            models[operation.error, "serialization"] = None
            if operation.request is not None:
                models[operation.request, "validation"] = None
            if operation.response is not None:
                models[operation.response, "serialization"] = None
        self._references, definitions = models_json_schema(list(models), ref_template=_REFERENCE)
        self.components: dict[str, Any] = fill_in_limits(definitions["$defs"], limits)

    def reference(self, model: type[BaseModel], mode: JsonSchemaMode) -> dict[str, Any]:
        return dict(self._references[model, mode])


def _describe_operation(operation: Operation, path: str, schemas: _Schemas) -> dict[str, Any]:
    described: dict[str, Any] = {
        "operationId": "_".join([operation.method.lower(), *re.findall(r"\w+", path)]),
        "summary": operation.summary,
        "tags": [operation.scope.value if operation.scope else "open"],
        "responses": _responses(operation, schemas),
    }
    if parameters := _parameters(operation):
        described["parameters"] = parameters
    if operation.request is not None:
        content: dict[str, Any] = {"schema": schemas.reference(operation.request, "validation")}
        if operation.request_media is MediaType.FORM:
            content["encoding"] = {"file": {"contentType": _PICTURE_TYPES}}
        described["requestBody"] = {"required": True, "content": {operation.request_media.value: content}}
    if operation.scope is not None:
        described["description"] = f"If the service has keys, this needs one with the scope `{operation.scope.value}`."
        described["security"] = [{"bearer": []}]
    return described


def _parameters(operation: Operation) -> list[dict[str, Any]]:
    string = {"type": "string", "minLength": 1}
    in_path = [
        {"name": name, "in": "path", "required": True, "schema": string}
        for name in _PATH_PARAMETER.findall(operation.path)
    ]
    in_query = [
        {
            "name": each.name,
            "in": "query",
            "required": each.required,
            "description": each.description,
            "schema": each.schema(),
        }
        for each in operation.query
    ]
    return [*in_path, *in_query]


def _responses(operation: Operation, schemas: _Schemas) -> dict[str, Any]:
    if operation.response is not None:
        schema = schemas.reference(operation.response, "serialization")
    elif operation.response_media in _PICTURES:
        schema = {}
    else:
        schema = {"type": "object" if operation.response_media is MediaType.JSON else "string"}
    headers = {name: _describe_header(meaning, {}) for name, meaning in operation.headers}
    answered = {
        "description": "Success.",
        "headers": _REQUEST_ID | headers,
        "content": {
            media.value: {"schema": {"type": "string"} if media is MediaType.HTML else schema}
            for media in (operation.response_media, *operation.other_media)
        },
    }
    errors = {
        str(status): {"$ref": f"#/components/responses/{_error_name(operation.error, status)}"}
        for status in sorted(_error_statuses(operation))
    }
    return {"200": answered, **_redirect(operation), **errors}


def _redirect(operation: Operation) -> dict[str, Any]:
    if operation.redirect is None:
        return {}
    headers = _REQUEST_ID | {"Location": _describe_header("The page's address.", {"minLength": 1})}
    return {"307": {"description": operation.redirect, "headers": headers}}


def _error_statuses(operation: Operation) -> set[int]:
    """The error statuses of an operation: its own, and those of its guards and its body."""
    statuses = {500, *operation.errors}
    if operation.scope is not None:
        statuses |= {401, 403, 429}
    if operation.request is not None:
        statuses |= {400, 413, 415, 422, 429}
    if operation.query:
        statuses.add(422)
    if operation.deadline:
        statuses.add(504)
    return statuses


def _error_name(shape: type[BaseModel], status: int) -> str:
    return f"{'' if shape is ErrorAnswer else shape.__name__.removesuffix('Error')}Error{status}"


def _error_response(shape: type[BaseModel], status: int, schemas: _Schemas) -> dict[str, Any]:
    headers: dict[str, Any] = dict(_REQUEST_ID)
    if status in _WITH_RETRY_AFTER:
        headers["Retry-After"] = {"$ref": "#/components/headers/Retry-After"}
    content = {"application/json": {"schema": schemas.reference(shape, "serialization")}}
    return {
        "description": f"{HTTPStatus(status).phrase}. {_STATUS_DESCRIPTIONS[status]}",
        "headers": headers,
        "content": content,
    }


def _describe_header(description: str, bounds: dict[str, Any]) -> dict[str, Any]:
    return {"description": description, "schema": {"type": "string", **bounds}}

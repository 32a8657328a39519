"""The reference of the REST API, from the OpenAPI document of a service with default settings."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Iterator, Sequence
from typing import Any, TypeAlias

import httpx

from docsite.links import slugify
from docsite.markdown import escape, table
from sidecar.app import create_app
from sidecar.config import Settings

Schema: TypeAlias = dict[str, Any]
Schemas: TypeAlias = dict[str, Schema]

_HEAD = """\
# REST reference

Written by `make docs` from the OpenAPI document. The running service has it at `/openapi.json`, at `/docs` a page to
read and to try it. The bounds are those of the default [settings](../settings.md). What the endpoints are for, with
examples: [REST](../rest.md); whose clients they serve: [Clients](../clients.md).

An asterisk (\\*) marks required fields. Where the service has keys, send `Authorization: Bearer KEY`; the table says
which scope the key needs.
"""
_ERRORS_HEAD = """\
## Errors

Errors have the shape [ErrorAnswer](#erroranswer), under the paths of text-embeddings-inference [TeiError](#teierror).
`code` is stable, for programs: [all codes](../rest.md#errors). Every answer has the header `X-Request-ID`; 429 and 503
have `Retry-After`, too, in seconds.
"""
_PARTS_HEAD = """\
## Parts of bodies and answers
"""
_ERROR_SHAPES = ("ErrorAnswer", "ErrorDetail", "TeiError")
_EVERYWHERE = {"X-Request-ID"}
_BOUNDS = {
    "minimum": "≥ {}",
    "exclusiveMinimum": "> {}",
    "maximum": "≤ {}",
    "exclusiveMaximum": "< {}",
    "minLength": "at least {} characters",
    "maxLength": "at most {:,} characters",
    "minItems": "at least {}",
    "maxItems": "at most {:,}",
}


def rest_page() -> str:
    """All of docs/reference/rest.md."""
    document = asyncio.run(_read_document())
    schemas: Schemas = document["components"]["schemas"]
    operations = [
        (f"{method.upper()} {path}", operation)
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
    ]
    contents = table(
        ["Endpoint", "", "Key"],
        [[f"[`{name}`](#{slugify(name)})", escape(each["summary"]), _scope(each)] for name, each in operations],
    )
    endpoints = [_endpoint(name, operation, schemas) for name, operation in operations]
    parts = [_model(name, schemas[name]) for name in sorted(_parts_of(schemas))]
    return "\n".join(
        [_HEAD, contents, *endpoints, _errors(document), _response_headers(operations), _PARTS_HEAD, *parts]
    )


async def _read_document() -> Schema:
    transport = httpx.ASGITransport(create_app(Settings()))
    async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
        document: Schema = (await client.get("/openapi.json")).json()
    return document


def _scope(operation: Schema) -> str:
    return f"`{operation['tags'][0]}`" if operation.get("security") else "none"


def _endpoint(name: str, operation: Schema, schemas: Schemas) -> str:
    key = f"a key with the scope {_scope(operation)}" if operation.get("security") else "no key"
    answered = operation["responses"]["200"]
    errors = ", ".join(status for status in operation["responses"] if status >= "400")
    parts = [
        f"## `{name}`\n",
        f"{escape(operation['summary'])}. Needs {key}.\n",
        *_path_parameters(operation),
        *_contents("Body", operation.get("requestBody", {}), schemas),
        *_contents("Answer", answered, schemas),
        *_names_of_headers(answered),
        *_redirect(operation),
        f"[Errors](#errors): {errors}\n",
    ]
    return "\n".join(parts)


def _path_parameters(operation: Schema) -> Iterator[str]:
    for parameter in operation.get("parameters", []):
        yield f"In the path: `{parameter['name']}`, {_type(parameter['schema'])}\n"


def _contents(title: str, holder: Schema, schemas: Schemas) -> Iterator[str]:
    for media, content in holder.get("content", {}).items():
        schema = content["schema"]
        if "$ref" in schema:
            yield f"**{title}**, `{media}`\n"
            yield _model_body(schemas[_name_of(schema)])
        else:
            yield f"**{title}**, `{media}`: {_type(schema)}\n"


def _names_of_headers(answered: Schema) -> Iterator[str]:
    names = [f"`{name}`" for name in answered["headers"] if name not in _EVERYWHERE]
    if names:
        yield f"[Headers](#headers): {', '.join(names)}\n"


def _redirect(operation: Schema) -> Iterator[str]:
    if redirect := operation["responses"].get("307"):
        yield f"Status 307: {escape(redirect['description'])}\n"


def _response_headers(operations: Sequence[tuple[str, Schema]]) -> str:
    described = {
        name: header["description"]
        for _, operation in operations
        for name, header in operation["responses"]["200"]["headers"].items()
        if name not in _EVERYWHERE
    }
    return "## Headers\n\n" + table(["Header of answers", ""], [[f"`{k}`", escape(v)] for k, v in described.items()])


def _errors(document: Schema) -> str:
    """What each error status means. The shapes of other APIs have the same statuses."""
    described = {
        name.removeprefix("Error"): response["description"]
        for name, response in document["components"]["responses"].items()
        if name.startswith("Error")
    }
    rows = [[status, escape(text.partition(". ")[2])] for status, text in described.items()]
    schemas: Schemas = document["components"]["schemas"]
    shapes = [_model(name, schemas[name]) for name in _ERROR_SHAPES]
    return "\n".join([_ERRORS_HEAD, table(["Status", ""], rows), *shapes])


def _parts_of(schemas: Schemas) -> set[str]:
    """Models that others are made of. The rest are bodies, answers and errors, which stand with their endpoints."""
    return set(re.findall(r'"#/components/schemas/(\w+)"', json.dumps(schemas))) - set(_ERROR_SHAPES)


def _model(name: str, schema: Schema) -> str:
    return f"### {name}\n\n{_model_body(schema)}"


def _model_body(schema: Schema) -> str:
    """Description and fields of a model."""
    described = [escape(schema["description"]) + "\n"] if "description" in schema else []
    required = set(schema.get("required", []))
    rows = [
        [f"`{field}`" + ("\\*" if field in required else ""), _type(of_field), _meaning(of_field)]
        for field, of_field in schema.get("properties", {}).items()
    ]
    fields = table(["Field", "Type", ""], rows) if rows else f"Type: {_type(schema)}\n"
    return "\n".join([*described, fields])


def _name_of(schema: Schema) -> str:
    return str(schema["$ref"]).rpartition("/")[2]


def _type(schema: Schema) -> str:
    """What a value may be, in words, with a link to its model."""
    if "$ref" in schema:
        name = _name_of(schema)
        return f"[{name}](#{name.lower()})"
    if "const" in schema:
        return f"`{json.dumps(schema['const'])}`"
    if "enum" in schema:
        return " or ".join(f"`{json.dumps(value)}`" for value in schema["enum"])
    members = schema.get("anyOf") or schema.get("oneOf")
    if members and all("type" in each or "$ref" in each or "anyOf" in each or "enum" in each for each in members):
        return " or ".join(dict.fromkeys(_type(each) for each in members))
    return _plain_type(schema)


def _plain_type(schema: Schema) -> str:
    name = schema.get("type", "anything")
    if name == "array":
        return f"list of {_in_brackets(_type(schema.get('items', {})))}"
    if name == "object" and isinstance(schema.get("additionalProperties"), dict):
        return f"object of {_in_brackets(_type(schema['additionalProperties']))}"
    return "file" if "contentMediaType" in schema else str(name)


def _in_brackets(kinds: str) -> str:
    return f"({kinds})" if " or " in kinds else kinds


def _meaning(schema: Schema) -> str:
    """Description, bounds and default of a field."""
    parts = [escape(text) for text in [_described(schema)] if text]
    bounds = [_BOUNDS[keyword].format(value) for keyword, value in _bounds(schema)]
    if bounds:
        parts.append(f"{', '.join(bounds)[0].upper()}{', '.join(bounds)[1:]}.")
    if schema.get("default") is not None:
        parts.append(f"Default: `{json.dumps(schema['default'])}`.")
    return " ".join(parts)


def _described(schema: Schema) -> str:
    """The description of a field, or of the one kind of value that it may have beside null."""
    if "description" in schema:
        return str(schema["description"])
    inner = [_described(each) for each in [*schema.get("anyOf", []), schema.get("items", {})] if each]
    return next((text for text in inner if text), "")


def _bounds(schema: Schema) -> Iterator[tuple[str, Any]]:
    """Bounds of a field, and of the kinds of values that it may have."""
    yield from ((keyword, schema[keyword]) for keyword in _BOUNDS if keyword in schema)
    for member in schema.get("anyOf", []):
        yield from _bounds(member)

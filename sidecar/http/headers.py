"""Request headers, read from the ASGI scope: one pass over them, and no object per lookup."""

from __future__ import annotations

import math

from starlette.types import Scope

ACCEPTED_ENCODINGS = "gzip, deflate"
"""Content-Encodings of request bodies; the value of Accept-Encoding in answers."""


def header_values(scope: Scope, name: bytes) -> list[str]:
    """All values of the header `name`, which is in lower case."""
    return [value.decode("latin-1") for key, value in scope["headers"] if key == name]


def declared_bytes(scope: Scope) -> int:
    """The number in Content-Length; 0 if it is missing or malformed."""
    for value in header_values(scope, b"content-length"):
        return int(value[:20]) if value.isdecimal() else 0  # longer than what any server reads
    return 0


def prefers_html(scope: Scope) -> bool:
    """Whether Accept names text/html, as a browser's does, and ranks JSON no higher. `*/*` alone does not name it."""
    html, json = 0.0, 0.0
    for item in ",".join(header_values(scope, b"accept")).split(","):
        media, *parameters = (part.strip().lower() for part in item.split(";"))
        if media == "text/html":
            html = max(html, _weight(parameters))
        elif media == "application/json":
            json = max(json, _weight(parameters))
    return 0 < html >= json


def _weight(parameters: list[str]) -> float:
    """The value of `q`; 1 if it is missing, 0 if it is malformed."""
    for parameter in parameters:
        name, _, value = parameter.partition("=")
        if name.strip() == "q":
            try:
                weight = float(value)
            except ValueError:
                return 0.0
            return weight if math.isfinite(weight) else 0.0
    return 1.0

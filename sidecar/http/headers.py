"""Request headers, read from the ASGI scope: one pass over them, and no object per lookup."""

from __future__ import annotations

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

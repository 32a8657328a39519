"""Headers as ASGI gives them: looking one up costs a pass over them, and no object."""

from __future__ import annotations

from starlette.types import Scope


def header_values(scope: Scope, name: bytes) -> list[str]:
    """All values of the header `name`, which is in lower case."""
    return [value.decode("latin-1") for key, value in scope["headers"] if key == name]


def declared_bytes(scope: Scope) -> int:
    """What Content-Length says; 0 where it says nothing."""
    for value in header_values(scope, b"content-length"):
        return int(value[:20]) if value.isdecimal() else 0  # longer than what any server reads
    return 0

"""Files of named SQL statements in a package: `-- name: …` stands before each of them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache
from importlib.resources import files

_NAME = re.compile(r"^-- name: (\w+)$", re.MULTILINE)


@cache
def read_statements(package: str, file_name: str) -> Mapping[str, str]:
    """Name → statement, as written, in the order of the file."""
    text = files(package).joinpath(file_name).read_text(encoding="utf-8")
    _, *parts = _NAME.split(text)
    return {name: body.strip() for name, body in zip(parts[::2], parts[1::2], strict=True)}

"""Named SQL statements, read from the .sql files of a package.

A line `-- name: …` begins a statement; the comment below it says which index and which locks the statement takes.
Comments of whole lines are left out of what is sent: a value that a client writes in place of $1 could end one.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache
from importlib.resources import files

_NAME = re.compile(r"^-- name: (\w+)$", re.MULTILINE)
_COMMENT = re.compile(r"^\s*--.*\n?", re.MULTILINE)
_RUNNING_SIDECAR = "sidecar.postgres"


@cache
def read_statements(package: str, file_name: str) -> Mapping[str, str]:
    """The statements of one file by name, without comments of whole lines, in the order of the file."""
    text = files(package).joinpath(file_name).read_text(encoding="utf-8")
    _, *parts = _NAME.split(text)
    return {name: _COMMENT.sub("", body).strip() for name, body in zip(parts[::2], parts[1::2], strict=True)}


@cache
def statements() -> Mapping[str, str]:
    """All statements of the running sidecar by name: those of every .sql file in sidecar/postgres."""
    found: dict[str, str] = {}
    for path in sorted(files(_RUNNING_SIDECAR).iterdir(), key=lambda path: path.name):
        if path.name.endswith(".sql"):
            more = read_statements(_RUNNING_SIDECAR, path.name)
            assert found.keys().isdisjoint(more), f"{path.name} repeats {found.keys() & more.keys()}"
            found |= more
    return found


def statement(name: str) -> str:
    """A statement of the running sidecar that needs no identifiers of a watch; rendering.render fills in the others."""
    return statements()[name]

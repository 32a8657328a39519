"""A table that an API key is bound to, and names of tables as SQL reads them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from string import ascii_lowercase, ascii_uppercase

_IDENTIFIER = r'(?:"(?:[^"\0]|"")+"|[^\W\d][\w$]*)'
_NAME = re.compile(rf"\s*({_IDENTIFIER})\s*(?:\.\s*({_IDENTIFIER})\s*)?")
_FOLD = str.maketrans(ascii_uppercase, ascii_lowercase)  # what Postgres does in a database in UTF-8


@dataclass(frozen=True, slots=True)
class BoundTable:
    """A watched table, or one target of it. `filter` is ANDed to every search of it."""

    schema: str
    table: str
    target: str | None = None
    filter: Mapping[str, object] | None = None

    def is_meant_by(self, name: tuple[str, ...]) -> bool:
        """Whether a request for the table `name`, with or without a schema, may mean this one."""
        return name in {(self.table,), (self.schema, self.table)}

    def includes(self, name: tuple[str, ...], target: str) -> bool:
        """Whether this is the watch with that schema-qualified name and that target."""
        return name == (self.schema, self.table) and self.target in {None, target}

    def __str__(self) -> str:
        name = f"{self.schema}.{self.table}"
        return name if self.target is None else f"{name}, target {self.target}"


def parse_table_name(text: str) -> tuple[str, ...] | None:
    """The parts of `table` or `schema.table`, quoted or not, as SQL reads it; None if that is no such name."""
    found = _NAME.fullmatch(text)
    return None if found is None else tuple(_read(part) for part in found.groups() if part is not None)


def _read(identifier: str) -> str:
    if identifier.startswith('"'):
        return identifier[1:-1].replace('""', '"')
    return identifier.translate(_FOLD)

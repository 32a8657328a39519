"""A watch as a migration or a model declares it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, TypedDict

from alembic.util import CommandError
from sqlalchemy import Table

INFO_KEY = "sidecar"
_OPTIONAL = ("kind", "companion", "dimensions", "model", "index", "storage")


class WatchOptions(TypedDict, total=False):
    """Options of a watch, with the meaning they have in SQL: see docs/sql.md."""

    target: str | None
    kind: str | None
    companion: str | None
    dimensions: int
    model: str | None
    index: str
    schema: str | None
    expose: str | Sequence[str]
    storage: str | None


@dataclass(frozen=True, slots=True)
class Watch:
    """`relation`, `schema`, `source` and `target` are names as Alembic takes them, without quotes.

    `companion` is text as SQL takes it: 'covers', 'vectors.covers', '"Covers"'. `kind` None: from the source's type.
    `storage` None: that of an existing column, else 'vector'.
    """

    relation: str
    source: tuple[str, ...]
    target: str
    kind: str | None = None
    companion: str | None = None
    dimensions: int = 1152
    model: str | None = None
    index: str = "halfvec"
    schema: str | None = None
    expose: tuple[str, ...] = ()
    storage: str | None = None

    @classmethod
    def of(cls, relation: str, source: str | Sequence[str], options: WatchOptions) -> Watch:
        """A watch from keyword options. Raises CommandError for an unknown option, or without a source."""
        columns = (source,) if isinstance(source, str) else tuple(source)
        if not columns:
            raise CommandError(f"the watch on {relation!r} has no source: name at least one column")
        known = {field.name for field in fields(cls)} - {"relation", "source"}
        if unknown := sorted(options.keys() - known):
            raise CommandError(f"the watch on {relation!r} has unknown options {unknown}; known are {sorted(known)}")
        given: dict[str, Any] = {name: value for name, value in options.items() if (name, value) != ("target", None)}
        if "expose" in given:
            given["expose"] = (given["expose"],) if isinstance(given["expose"], str) else tuple(given["expose"])
        return replace(cls(relation, columns, f"{columns[0]}_embedding"), **given)

    @property
    def call(self) -> dict[str, Any]:
        """The arguments of sidecar.watch after the relation, without those that have their defaults."""
        optional = {name: getattr(self, name) for name in _OPTIONAL}
        defaults = {field.name: field.default for field in fields(self)}
        return {
            "source": list(self.source),
            "target": self.target,
            **{name: value for name, value in optional.items() if value != defaults[name]},
            **({"expose": list(self.expose)} if self.expose else {}),
        }


def declared_watches(table: Table) -> list[Watch] | None:
    """The watches of `Table(info={"sidecar": [{"source": …, …}]})`; None if the table declares none.

    Raises CommandError for anything but a list of mappings with a source.
    """
    declared = table.info.get(INFO_KEY)
    if declared is None:
        return None
    if not isinstance(declared, (list, tuple)) or not all(isinstance(d, dict) and "source" in d for d in declared):
        raise CommandError(
            f"info[{INFO_KEY!r}] of table {table.fullname!r} is {declared!r}: "
            "it must be a list of watches such as {'source': 'photo', 'target': 'photo_embedding'}"
        )
    return [_declared(table, watch) for watch in declared]


def _declared(table: Table, watch: dict[str, Any]) -> Watch:
    options = {name: value for name, value in watch.items() if name != "source"}
    return Watch.of(table.name, watch["source"], {**options, "schema": table.schema})  # type: ignore[typeddict-item]

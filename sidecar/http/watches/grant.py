"""What a key permits of searches: the tables that it is bound to, and the filter that is forced on each."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace

from sidecar.api_keys.bound_table import BoundTable, parse_table_name
from sidecar.api_keys.key import ApiKey
from sidecar.http.access import AccessDenied
from sidecar.postgres.search import ForcedFilterRejected, SearchedWatch


class ForbiddenTable(AccessDenied):
    """A table that the key does not open. The answer is the same whether the table exists, is watched, or neither."""

    def __init__(self) -> None:
        super().__init__(403, "forbidden_table", "The key opens no table of this name, or no such target of it.")


class FilterNotApplicable(AccessDenied):
    """A key's filter cannot be applied to a table. Only the log says why: the filter is not the caller's to know."""

    def __init__(self, key: ApiKey, watch: SearchedWatch, why: str) -> None:
        message = "The key's own filter cannot be applied to this table. The service's log says why."
        super().__init__(403, "filter_not_applicable", message)
        self.complaint = (
            f"{name_of_key(key)} cannot search {watch.table_name}.{watch.target}: "
            f"its filter in API_KEYS_FILE cannot be applied: {why}"
        )


class ForbiddenRows(AccessDenied):
    """What concerns all rows of a watch, with a key whose filter opens some of them only."""

    def __init__(self) -> None:
        super().__init__(403, "forbidden_rows", "The key's filter opens some rows only, and this is about all of them.")


@dataclass(frozen=True, slots=True)
class Grant:
    """The searches that `key` permits; None, for a service without keys, permits all."""

    key: ApiKey | None

    def check_name(self, table: str) -> None:
        """Raises ForbiddenTable for the name of no table of the key. Asks no database: the time tells nothing."""
        bound = self._bound
        if bound is None:
            return
        name = parse_table_name(table)
        if name is None or not any(each.is_meant_by(name) for each in bound):
            raise ForbiddenTable

    def restrict(self, watches: Iterable[SearchedWatch]) -> list[SearchedWatch]:
        """Those of the watches that the key permits, with the filter that it forces on each.

        Raises ForbiddenTable if the key is bound to tables, and permits none of the watches.
        """
        permitted = self.permitted(watches)
        if self._bound is not None and not permitted:
            raise ForbiddenTable
        return permitted

    def permitted(self, watches: Iterable[SearchedWatch]) -> list[SearchedWatch]:
        """Those of the watches that the key permits, with the filter that it forces on each."""
        key, bound = self.key, self._bound
        if key is None or (bound is None and key.filter is None):
            return list(watches)
        if bound is None:
            return [replace(watch, forced=key.filter) for watch in watches]
        return [
            replace(watch, forced=_both(key.filter, table.filter))
            for watch in watches
            for table in bound
            if is_watch_of(table, watch)
        ]

    def check_whole(self, watches: Iterable[SearchedWatch]) -> None:
        """Raises ForbiddenRows if a filter is forced on any of the watches."""
        if any(watch.forced is not None for watch in watches):
            raise ForbiddenRows

    def check_everything(self) -> None:
        """Raises AccessDenied for a key that opens only some tables or some rows: for what is about all of them."""
        if self.key is not None and (self.key.tables is not None or self.key.filter is not None):
            message = "The key opens some tables or some rows, and this looks at all of them."
            raise AccessDenied(403, "forbidden_table", message)

    def check_filter(self, watch: SearchedWatch) -> None:
        """Raises FilterNotApplicable if the filter that is forced on the watch names columns that it cannot compare."""
        if self.key is None or watch.forced is None:
            return
        for name in _filtered_columns(watch.forced):
            if name not in (*watch.key_columns, *watch.exposed):
                why = f"column {name!r} is neither a key nor exposed: sidecar.watch(…, expose => …, replace => true)."
                raise FilterNotApplicable(self.key, watch, why)
            if name in watch.incomparable:
                why = f"column {name!r} has the type {watch.incomparable[name]}, which a filter cannot compare."
                raise FilterNotApplicable(self.key, watch, why)

    @contextmanager
    def explaining(self, watch: SearchedWatch) -> Iterator[None]:
        """Translates what Postgres says of a forced filter, which is for the log and not for the caller."""
        try:
            yield
        except ForcedFilterRejected as fault:
            if self.key is None:
                raise
            raise FilterNotApplicable(self.key, watch, fault.message) from fault

    @property
    def _bound(self) -> tuple[BoundTable, ...] | None:
        return None if self.key is None else self.key.tables


def is_watch_of(table: BoundTable, watch: SearchedWatch) -> bool:
    """Whether a key that is bound to the table may search the watch. No watch is of two tables of a key."""
    name = parse_table_name(watch.table_name)
    return name is not None and table.includes(name, watch.target)


def name_of_key(key: ApiKey) -> str:
    """For the log; never the key."""
    return f"The key '{key.name}'" if key.name else "A key without a name"


def _filtered_columns(filter_: Mapping[str, object]) -> Iterator[str]:
    """The columns that a filter names, inside $and, $or and $not too."""
    for name, value in filter_.items():
        if not name.startswith("$"):
            yield name
        for part in value if isinstance(value, list) else [value]:
            if name.startswith("$") and isinstance(part, Mapping):
                yield from _filtered_columns(part)


def _both(first: Mapping[str, object] | None, second: Mapping[str, object] | None) -> Mapping[str, object] | None:
    if first is None or second is None:
        return first if second is None else second
    return {"$and": [first, second]}

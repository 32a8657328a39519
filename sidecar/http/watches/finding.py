"""Finds the watch that a request names, among those that its key permits."""

from __future__ import annotations

from sidecar.errors import InputError
from sidecar.http.watches.grant import Grant
from sidecar.postgres.database import Database
from sidecar.postgres.search import SearchedWatch, find_watches, list_watched
from sidecar.similarity import did_you_mean, most_similar


async def find_watch(database: Database, table: str, target: str | None, grant: Grant) -> SearchedWatch:
    """The one watch that matches, with the filter that the key forces on it.

    Raises InputError: `unknown_watch` if there is none, even if the table exists, or `ambiguous_watch`; AccessDenied if
    the key does not permit to search it, or its filter cannot be applied.
    """
    watch = await _find_permitted(database, table, target, grant)
    grant.check_filter(watch)
    return watch


async def _find_permitted(database: Database, table: str, target: str | None, grant: Grant) -> SearchedWatch:
    grant.check_name(table)
    found = grant.restrict([] if "\0" in table else await find_watches(database, table))
    if not found:
        raise await _unknown_table(database, table)
    if len({watch.relation for watch in found}) > 1:
        names = ", ".join(sorted({watch.table_name for watch in found}))
        raise InputError("ambiguous_watch", f"`table` may be {names}: name its schema.", "table")
    targets = ", ".join(watch.target for watch in found)
    if target is not None:
        found = [watch for watch in found if watch.target == target]
        if not found:
            message = f"{table[:200]!r} has no watch with the target {target[:200]!r}. Its targets: {targets}."
            similar = did_you_mean(target[:200], targets.split(", "), "{!r}")
            raise InputError("unknown_watch", message + similar, "target")
    if len(found) > 1:
        raise InputError("ambiguous_watch", f"`target` may be {targets}: name one.", "target")
    return found[0]


async def _unknown_table(database: Database, table: str) -> InputError:
    """Names the watched table that is meant, if the words resemble one or are a watch, table.target."""
    message = f"No table {table[:200]!r} is watched."
    watched = await list_watched(database)
    for name, target in watched:
        if table in {f"{name}.{target}", f"{name.partition('.')[2]}.{target}"}:
            named = table.removesuffix(f".{target}")
            message += f" It is the name of a watch: give `table` {named!r}, `target` {target!r}."
            return InputError("unknown_watch", message, "table")
    names = {name.partition(".")[2]: name for name, _ in watched}
    wanted = table[:200].rpartition(".")[2].strip('"')
    similar = most_similar(wanted, names)
    if similar is not None:
        message += f" Did you mean {names[similar]!r}?"
    return InputError("unknown_watch", message, "table")

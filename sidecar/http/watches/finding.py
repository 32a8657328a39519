"""Finds the watches that a request names, among those that its key permits."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from sidecar.errors import InputError
from sidecar.http.watches.grant import Grant
from sidecar.postgres.database import Database
from sidecar.postgres.search import SearchedWatch, find_watches, list_watched
from sidecar.postgres.target_search import as_one
from sidecar.similarity import did_you_mean, most_similar


async def find_named_watches(
    database: Database, table: str, targets: Mapping[str, str], grant: Grant
) -> list[SearchedWatch]:
    """The watches of these targets of one table. Each has the filters that the key forces on any of them.

    So a row has to pass all of these, whichever of the targets it is found in. `targets` are named by their places in
    the request; none: the only watch of the table. Raises InputError: `unknown_watch` if there is none, even if the
    table exists, or `ambiguous_watch`; AccessDenied if the key does not permit to search one of them, or its filters
    cannot be applied to all of them.
    """
    permitted = await _find_permitted(database, table, grant)
    found = [_watch_of(permitted, table, name, param) for param, name in targets.items()] or [
        _only(permitted, "name one, or several as `targets`")
    ]
    forced = as_one(found).forced
    found = [replace(watch, forced=forced) for watch in found]
    for watch in found:
        grant.check_filter(watch)
    return found


async def find_watch(database: Database, table: str, target: str | None, grant: Grant) -> SearchedWatch:
    """The one watch of that target, or the only one of the table. As `find_named_watches` in all else."""
    permitted = await _find_permitted(database, table, grant)
    watch = _only(permitted, "name one") if target is None else _watch_of(permitted, table, target, "target")
    grant.check_filter(watch)
    return watch


async def find_meant(database: Database, table: str | None, target: str | None, grant: Grant) -> list[SearchedWatch]:
    """One watch, all watches of a table, or all that the key permits: for operators, who act on whole watches.

    Raises InputError: `unknown_watch`, `ambiguous_watch`, or `missing_field` for a target without its table;
    AccessDenied if the key does not permit them, or only some of their rows.
    """
    if table is not None:
        found = await _find_permitted(database, table, grant)
        found = found if target is None else [_watch_of(found, table, target, "target")]
    elif target is not None:
        raise InputError("missing_field", "`target` is of a table: give `table`, too.", "table")
    else:
        found = grant.permitted(await find_watches(database))
    grant.check_whole(found)
    return found


async def _find_permitted(database: Database, table: str, grant: Grant) -> list[SearchedWatch]:
    """The watches of the table that the key permits to search."""
    grant.check_name(table)
    found = grant.restrict([] if "\0" in table else await find_watches(database, table))
    if not found:
        raise await _unknown_table(database, table)
    if len({watch.relation for watch in found}) > 1:
        names = ", ".join(sorted({watch.table_name for watch in found}))
        raise InputError("ambiguous_watch", f"`table` may be {names}: name its schema.", "table")
    return found


def _watch_of(permitted: Sequence[SearchedWatch], table: str, target: str, param: str) -> SearchedWatch:
    for watch in permitted:
        if watch.target == target:
            return watch
    targets = [watch.target for watch in permitted]
    message = f"{table[:200]!r} has no watch with the target {target[:200]!r}. Its targets: {', '.join(targets)}."
    raise InputError("unknown_watch", message + did_you_mean(target[:200], targets, "{!r}"), param)


def _only(permitted: Sequence[SearchedWatch], advice: str) -> SearchedWatch:
    if len(permitted) > 1:
        targets = ", ".join(watch.target for watch in permitted)
        raise InputError("ambiguous_watch", f"`target` may be {targets}: {advice}.", "target")
    return permitted[0]


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

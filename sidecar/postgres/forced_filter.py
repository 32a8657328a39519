"""The filter that an API key forces on a search: ANDed to the caller's, and told from it in errors."""

from __future__ import annotations

from collections.abc import Mapping

from sidecar.errors import DatabaseError

_FORCED, _CALLERS = "filter.$and[0]", "filter.$and[1]"


class ForcedFilterRejected(DatabaseError):
    """Postgres cannot apply a forced filter: a column, an operator or a value of it does not suit the table."""


def both_filters(forced: Mapping[str, object] | None, callers: Mapping[str, object]) -> Mapping[str, object]:
    """A filter for rows that pass both."""
    return callers if forced is None else {"$and": [forced, callers]}


def check_whose(path: str, message: str) -> None:
    """Raises ForcedFilterRejected if a path in `both_filters` is one of the forced filter."""
    if path.startswith(_FORCED):
        raise ForcedFilterRejected(message.replace(_FORCED, "filter"))


def callers_words(text: str) -> str:
    """A path in `both_filters`, or a message with it, as the caller knows it."""
    return text.replace(_CALLERS, "filter")

"""Suggests existing names that are similar to a misspelt one. Schema `sidecar` has its own: sql/code/names.sql."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches
from heapq import nlargest

_COMPARED = 100  # names; comparing 20,000 long ones would take seconds


def most_similar(wanted: str, names: Iterable[str]) -> str | None:
    """The name most like `wanted`, in any case, or one that begins with it, such as photo_embedding for photo."""
    by_lower = {name.lower(): name for name in names}
    close = get_close_matches(wanted.lower(), _likeliest(wanted.lower(), by_lower), n=1)
    begun = sorted((name for name in by_lower if wanted and name.startswith(f"{wanted.lower()}_")), key=len)
    found = close or begun
    return by_lower[found[0]] if found else None


def _likeliest(wanted: str, names: Iterable[str]) -> list[str]:
    """The names that share most pairs of letters with `wanted`."""
    pairs = _letter_pairs(wanted)

    def shared(name: str) -> float:
        theirs = _letter_pairs(name)
        return len(pairs & theirs) / (len(pairs) + len(theirs))

    return nlargest(_COMPARED, names, key=shared)


def _letter_pairs(name: str) -> set[str]:
    """The pairs of letters in a name, with its ends."""
    padded = f" {name} "
    return {padded[i : i + 2] for i in range(len(padded) - 1)}


def did_you_mean(wanted: str, names: Iterable[str], form: str = "{}") -> str:
    """` Did you mean …?` with a space before it, to end a message with; empty if no name is similar."""
    name = most_similar(wanted, names)
    return "" if name is None else f" Did you mean {form.format(name)}?"

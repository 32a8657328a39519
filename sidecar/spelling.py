"""Finds names that are probably misspelt forms of known ones.

Stricter than similarity.py, which answers a question: a false alarm here would come at every start.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping

_SHORTEST = 7  # of a known name; between shorter ones a letter is all the difference there is
_LONG = 15  # from which length on two letters may be wrong
_OUR_PREFIX = "SIDECAR_"


def find_misspelt(names: Iterable[str], known: Collection[str]) -> Mapping[str, str]:
    """Names that are not in `known`, but nearly: each with the known name that was probably meant.

    A letter may be wrong, missing, added or swapped with the next; in a long name, two. Also found are names in lower
    case, and names with a prefix SIDECAR_ that the known one lacks. Not found are those of which the known one is among
    `names` too, which then belong to another program.
    """
    present = frozenset(names)
    candidates = {name: _meant(name, known) for name in sorted(present) if name not in known}
    return {name: meant for name, meant in candidates.items() if meant is not None and meant not in present}


def _meant(name: str, known: Collection[str]) -> str | None:
    upper = name.upper()
    for exact in (upper, upper.removeprefix(_OUR_PREFIX)):
        if exact in known and len(exact) >= _SHORTEST:
            return exact
    return next((each for each in known if _is_near(upper, each)), None)


def _is_near(name: str, known: str) -> bool:
    if len(known) < _SHORTEST:
        return False
    most = 2 if len(known) >= _LONG else 1
    if abs(len(name) - len(known)) > most:
        return False
    letters, expected = Counter(name), Counter(known)
    if max((letters - expected).total(), (expected - letters).total()) > most:  # cheap, and true of nearly all names
        return False
    return _distance(name, known) <= most


def _distance(one: str, other: str) -> int:
    """Insertions, deletions, replacements and swaps of neighbours that make one of the other."""
    before: list[int] = []
    row = list(range(len(other) + 1))
    for i, left in enumerate(one, 1):
        before, last = row, before
        row = [i]
        for j, right in enumerate(other, 1):
            cost = min(before[j] + 1, row[j - 1] + 1, before[j - 1] + (left != right))
            if i > 1 and j > 1 and left == other[j - 2] and one[i - 2] == right:
                cost = min(cost, last[j - 2] + 1)
            row.append(cost)
    return row[-1]

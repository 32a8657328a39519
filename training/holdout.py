"""The held-out data, never used in training: whole emoji, and keywords as queries."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from training.corpus import Emoji

EMOJI_SHARE = 0.08
KEYWORD_SHARE = 0.10
_SEED = 4
_FIRST_REGIONAL_INDICATOR, _LAST_REGIONAL_INDICATOR = "\U0001f1e6", "\U0001f1ff"


@dataclass(frozen=True, slots=True)
class Holdout:
    """`emoji` are positions in the corpus. `keywords` are canonical; no training caption consists of one of them."""

    emoji: frozenset[int]
    keywords: frozenset[str]


def draw_holdout(corpus: Sequence[Emoji]) -> Holdout:
    """Holds out 8 % of each kind of emoji and 10 % of the keywords, chosen by hash, so reproducibly.

    A keyword that is also an emoji's name is trained as that name, so it is not held out.
    """
    kinds: defaultdict[str, list[str]] = defaultdict(list)
    for emoji in corpus:
        kinds[_kind(emoji)].append(emoji.characters)
    held_out = {characters for members in kinds.values() for characters in _draw(members, EMOJI_SHARE)}
    positions = frozenset(index for index, emoji in enumerate(corpus) if emoji.characters in held_out)
    names = {emoji.canonical_name for emoji in corpus}
    trained_keywords = {
        keyword for index, emoji in enumerate(corpus) if index not in positions for keyword in emoji.keywords
    }
    return Holdout(positions, frozenset(_draw(trained_keywords - names, KEYWORD_SHARE)))


def _draw(candidates: Iterable[str], share: float) -> list[str]:
    ordered = sorted(candidates, key=lambda text: hashlib.sha256(f"{_SEED} {text}".encode()).digest())
    return ordered[: round(share * len(ordered))]


def _kind(emoji: Emoji) -> str:
    if _FIRST_REGIONAL_INDICATOR <= emoji.characters[0] <= _LAST_REGIONAL_INDICATOR:
        return "flag"
    return "single" if len(emoji.characters) == 1 else "sequence"

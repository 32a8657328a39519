"""Phrases about emoji, and how true each is of each emoji."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from training.corpus import Emoji, canonicalise
from training.holdout import Holdout

NEGATIVE, IGNORED, PARTLY, TRUE = 0, 1, 2, 3
"""How true a phrase is of an emoji. PARTLY: `cat` is the name of one emoji and a keyword of others, which are to rank
below it. IGNORED: the phrase is not listed for the emoji, but all its words occur in the emoji's name and keywords."""

_FLAG_PREFIX = "flag: "
_TOO_COMMON = frozenset(
    {
        "a",
        "an",
        "and",
        "at",
        "for",
        "from",
        "in",
        "into",
        "no",
        "not",
        "of",
        "off",
        "on",
        "or",
        "over",
        "s",
        "the",
        "to",
        "up",
        "with",
        "without",
    }
)


@dataclass(frozen=True, slots=True)
class Phrases:
    """`texts` are canonical. `truth` is (texts, emoji + 1) uint8; the last column, of no emoji, is NEGATIVE.

    Text 0 is empty and TRUE of everything. `names`, `keywords` and `words` give, for each emoji, positions in `texts`.
    """

    texts: tuple[str, ...]
    truth: NDArray[np.uint8]
    names: tuple[tuple[int, ...], ...]
    keywords: tuple[tuple[int, ...], ...]
    words: tuple[tuple[int, ...], ...]


def collect_phrases(corpus: Sequence[Emoji], holdout: Holdout) -> Phrases:
    """Names, keywords and single words of names, without the held-out keywords."""
    names = [name_variants(emoji) for emoji in corpus]
    keywords = [[keyword for keyword in emoji.keywords if keyword not in holdout.keywords] for emoji in corpus]
    words = [
        [word for word in emoji.canonical_name.split() if word not in _TOO_COMMON | holdout.keywords]
        for emoji in corpus
    ]
    texts = ("", *sorted({text for group in (names, keywords, words) for texts in group for text in texts}))
    position = {text: index for index, text in enumerate(texts)}

    def positions(group: Sequence[Iterable[str]]) -> tuple[tuple[int, ...], ...]:
        return tuple(tuple(position[text] for text in texts) for texts in group)

    listed = (positions(names), positions(keywords), positions(words))
    return Phrases(texts, _rate(position, corpus, listed), *listed)


def name_variants(emoji: Emoji) -> list[str]:
    """The canonical name first; for a flag also its other common names."""
    variants = [emoji.canonical_name]
    if emoji.name.startswith(_FLAG_PREFIX):
        country = str(canonicalise(emoji.name.removeprefix(_FLAG_PREFIX)))
        variants += [f"flag of {country}", f"{country} flag", country]
    return variants


def _rate(
    position: Mapping[str, int], corpus: Sequence[Emoji], listed: Sequence[Sequence[Sequence[int]]]
) -> NDArray[np.uint8]:
    """The truth matrix of `Phrases`."""
    names, keywords, words = listed
    truth = np.zeros((len(position), len(corpus) + 1), dtype=np.uint8)
    _ignore_possibly_true(truth, position, corpus)
    is_name = np.zeros(len(position), dtype=np.bool_)
    is_name[[index for own in names for index in own]] = True
    for column in range(len(corpus)):
        own_words, own_keywords, own_names = (list(group[column]) for group in (words, keywords, names))
        truth[own_words, column] = PARTLY
        truth[own_keywords, column] = np.where(is_name[own_keywords], PARTLY, TRUE)
        truth[own_names, column] = TRUE
    truth[0] = TRUE
    return truth


def _ignore_possibly_true(truth: NDArray[np.uint8], position: Mapping[str, int], corpus: Sequence[Emoji]) -> None:
    """Marks phrases as IGNORED for emoji whose name and keywords contain all their words."""
    having = defaultdict(set)
    for column, emoji in enumerate(corpus):
        for word in emoji.words:
            having[word].add(column)
    for text, row in position.items():
        if text:
            truth[row, sorted(set.intersection(*(having[word] for word in text.split())))] = IGNORED

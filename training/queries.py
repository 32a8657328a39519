"""Queries with their right answers, and measures of how well a ranking answers them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from training.captions import TEMPLATES
from training.corpus import Emoji
from training.holdout import Holdout
from training.phrases import collect_phrases


@dataclass(frozen=True, slots=True)
class Query:
    """`answers` are the right emoji."""

    text: str
    answers: frozenset[int]


def name_queries(corpus: Sequence[Emoji], holdout: Holdout) -> dict[str, list[Query]]:
    """The name of each emoji as CLDR writes it, for trained and held-out emoji. Only its own picture is right."""
    groups: dict[str, list[Query]] = {"trained emoji": [], "held-out emoji": []}
    for index, emoji in enumerate(corpus):
        group = "held-out emoji" if index in holdout.emoji else "trained emoji"
        groups[group].append(Query(emoji.name, frozenset({index})))
    return groups


def keyword_queries(corpus: Sequence[Emoji], holdout: Holdout) -> dict[str, list[Query]]:
    """Each keyword of trained emoji once. All emoji with that keyword are right, including held-out ones."""
    carriers: defaultdict[str, set[int]] = defaultdict(set)
    for index, emoji in enumerate(corpus):
        for keyword in emoji.keywords:
            carriers[keyword].add(index)
    known = {word for text in (*collect_phrases(corpus, holdout).texts, *TEMPLATES) for word in text.split()}
    groups: dict[str, list[Query]] = {"trained": [], "held out, of known words": [], "held out, with a new word": []}
    for keyword, indices in sorted(carriers.items()):
        if indices <= holdout.emoji:
            continue
        group = "trained"
        if keyword in holdout.keywords:
            group = "held out, of known words" if known.issuperset(keyword.split()) else "held out, with a new word"
        groups[group].append(Query(keyword, frozenset(indices)))
    return groups


def recall(queries: Sequence[Query], ranking: NDArray[np.int64], first: int) -> float:
    """Share of the queries with at least one right answer among the `first`. `ranking` is (queries, emoji)."""
    return float(
        np.mean(
            [not query.answers.isdisjoint(row[:first].tolist()) for query, row in zip(queries, ranking, strict=True)]
        )
    )


def share_found(queries: Sequence[Query], ranking: NDArray[np.int64], first: int) -> float:
    """Share of the right answers found among the `first`, relative to the most possible; mean over the queries."""
    found = [
        len(query.answers.intersection(row[:first].tolist())) / min(first, len(query.answers))
        for query, row in zip(queries, ranking, strict=True)
    ]
    return float(np.mean(found))

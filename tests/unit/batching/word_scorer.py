"""A scorer without torch: a document's score is the number of its words that are in the query."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from sidecar.batching.encoder import PreparedPair
from sidecar.errors import TextRejected

MAX_WORDS = 8


class WordScorer:
    """A PairScorer that reads eight words of query and document together.

    `scored` counts pairs; `answer`, if given, replaces every score.
    """

    model_id = "words"

    def __init__(self, answer: float | None = None) -> None:
        self.scored = 0
        self._answer = answer

    def prepare_pairs(
        self, query: str, documents: Sequence[str], max_document_tokens: int | None = None
    ) -> list[PreparedPair]:
        max_words = MAX_WORDS - len(query.split())
        if max_words < 1:
            raise TextRejected("query_too_long", "no room", "query")
        max_words = min(max_words, max_document_tokens or max_words)
        return [self._join(query, document, max_words) for document in documents]

    def score_pairs(self, pairs: Sequence[PreparedPair]) -> NDArray[np.float32]:
        self.scored += len(pairs)
        return np.array([self._score(pair) for pair in pairs], np.float32)

    def _score(self, pair: PreparedPair) -> float:
        query, document = (pair.token_ids[pair.segment_ids == segment] for segment in (0, 1))
        return float(np.isin(document, query).sum()) if self._answer is None else self._answer

    def _join(self, query: str, document: str, max_words: int) -> PreparedPair:
        words, of_document = query.split(), document.split()
        ids = [_id(word) for word in (*words, *of_document[:max_words])]
        segments = [0] * len(words) + [1] * len(of_document[:max_words])
        return PreparedPair(np.array(ids, np.int64), np.array(segments, np.int64), len(of_document) > max_words)


def _id(word: str) -> int:
    return int.from_bytes(hashlib.blake2b(word.encode(), digest_size=7).digest())

"""Rows of exactly as many ids as a model reads, and whether there would have been more."""

from __future__ import annotations

import copy
import threading
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

_PROBE = "one two three four " * 200  # more tokens than any such model reads
_LONG_TEXT_CHARS = 20_000  # tokenised in about 20 ms
_MAX_CACHED_WORDS = 50_000  # by CLIP's tokenizer, which forgets none


class TokenRows(NamedTuple):
    """`rows` is (n, context_length) int64; `truncated` (n,): which texts have more tokens than fit."""

    rows: NDArray[np.int64]
    truncated: NDArray[np.bool_]


class PaddedTokenizer:
    """One of open_clip's tokenizers. Any thread may call it; short texts do not wait for long ones."""

    def __init__(self, tokenizer: Any, context_length: int) -> None:
        # Truncation and padding are state of a tokenizer, and its Rust part refuses two borrowers at once.
        self._short = _LockedTokenizer(tokenizer)
        self._long = _LockedTokenizer(copy.deepcopy(tokenizer))
        self._context_length = context_length
        vocabulary = getattr(tokenizer, "tokenizer", None)
        self._padding_id = int(getattr(vocabulary, "pad_token_id", 0) or 0)
        unknown_id = getattr(vocabulary, "unk_token_id", None)
        self.unknown_id = self._padding_id if unknown_id is None else int(unknown_id)
        self._probe_truncation()

    def read(self, texts: Sequence[str]) -> TokenRows:
        """Of cleaned texts."""
        if not self._truncates_before_end:
            rows = self._tokenize(texts, self._context_length)
            return TokenRows(rows, self._find_truncated(texts, rows))
        longer = self._tokenize(texts, self._context_length + 1)
        truncated = longer[:, self._end_position] != self._padding_id
        rows = longer[:, :-1].copy()
        rows[truncated, -1] = longer[truncated, -1]
        return TokenRows(rows, truncated)

    def has_more(self, text: str, spare: int) -> bool:
        """Whether it has at least that number of tokens beyond those that are read."""
        row = self._tokenize([text], self._context_length + spare)[0]
        return bool(row[self._end_position] != self._padding_id)

    def count(self, rows: NDArray[np.int64]) -> list[int]:
        """How many ids of each row stand before its padding; the padding's id may stand for a token of the text too."""
        used = rows != self._padding_id
        counts: list[int] = np.where(used.any(axis=1), rows.shape[1] - used[:, ::-1].argmax(axis=1), 0).tolist()
        return counts

    def _probe_truncation(self) -> None:
        """Whether a text that is too long loses its last tokens and keeps the one that ends it: then one look, with
        room for one more, tells its ids and that they are not all.
        """
        rows = self._tokenize([_PROBE], self._context_length)
        longer = self._tokenize([_PROBE], self._context_length + 1)
        self._end_position = -1 if longer[0, -1] != self._padding_id else -2  # the end may be marked with padding
        expected = np.delete(longer, -2, axis=1)
        self._truncates_before_end = bool(
            (rows == expected).all() and longer[0, self._end_position] != self._padding_id
        )

    def _find_truncated(self, texts: Sequence[str], rows: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Those that use one more place when given one more."""
        longer = self._tokenize(texts, self._context_length + 1)
        truncated: NDArray[np.bool_] = self._count_used(longer) > self._count_used(rows)
        return truncated

    def _count_used(self, rows: NDArray[np.int64]) -> NDArray[np.int64]:
        places: NDArray[np.int64] = (rows != self._padding_id).sum(axis=1)
        return places

    def _tokenize(self, texts: Sequence[str], context_length: int) -> NDArray[np.int64]:
        locked = self._short if sum(map(len, texts)) <= _LONG_TEXT_CHARS else self._long
        return locked.tokenize(texts, context_length)


class _LockedTokenizer:
    """A tokenizer that one thread at a time uses."""

    def __init__(self, tokenizer: Any) -> None:
        self._tokenizer = tokenizer
        self._lock = threading.Lock()
        words: dict[str, str] = getattr(tokenizer, "cache", {})
        self._words, self._initial_words = words, dict(words)

    def tokenize(self, texts: Sequence[str], context_length: int) -> NDArray[np.int64]:
        with self._lock:
            if len(self._words) > _MAX_CACHED_WORDS:
                self._words.clear()
                self._words.update(self._initial_words)
            ids: NDArray[np.int64] = self._tokenizer(list(texts), context_length=context_length).numpy()
        return ids

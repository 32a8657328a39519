"""Tokenises cleaned texts to rows of exactly the context length, and reports which were truncated."""

from __future__ import annotations

import copy
import threading
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

_PROBE = "one two three four " * 200  # longer than any context
_LONG_TEXT_CHARS = 20_000  # tokenised in about 20 ms
_MAX_CACHED_WORDS = 50_000  # by CLIP's tokenizer, which never evicts any


class TokenRows(NamedTuple):
    """`rows` is (n, context_length) int64; `truncated` is (n,) bool: texts with more tokens than the context."""

    rows: NDArray[np.int64]
    truncated: NDArray[np.bool_]


class PaddedTokenizer:
    """One of open_clip's tokenizers, made thread-safe. Short texts do not wait for long ones."""

    def __init__(self, tokenizer: Any, context_length: int) -> None:
        # Truncation and padding are mutable state of a tokenizer, and its Rust part rejects concurrent borrows.
        self._short = _LockedTokenizer(tokenizer)
        self._long = _LockedTokenizer(copy.deepcopy(tokenizer))
        self._context_length = context_length
        vocabulary = getattr(tokenizer, "tokenizer", None)
        self._padding_id = int(getattr(vocabulary, "pad_token_id", 0) or 0)
        unknown_id = getattr(vocabulary, "unk_token_id", None)
        self.unknown_id = self._padding_id if unknown_id is None else int(unknown_id)
        self._probe_truncation()

    def encode(self, texts: Sequence[str]) -> TokenRows:
        """Token ids of cleaned texts."""
        if not self._truncates_before_end:
            rows = self._tokenize(texts, self._context_length)
            return TokenRows(rows, self._find_truncated(texts, rows))
        longer = self._tokenize(texts, self._context_length + 1)
        truncated = longer[:, self._end_position] != self._padding_id
        rows = longer[:, :-1].copy()
        rows[truncated, -1] = longer[truncated, -1]
        return TokenRows(rows, truncated)

    def has_more(self, text: str, spare: int) -> bool:
        """True if the text has at least `spare` tokens beyond the context."""
        row = self._tokenize([text], self._context_length + spare)[0]
        return bool(row[self._end_position] != self._padding_id)

    def count(self, rows: NDArray[np.int64]) -> list[int]:
        """Number of ids of each row before its trailing padding; the padding's id may also occur within the text."""
        used = rows != self._padding_id
        counts: list[int] = np.where(used.any(axis=1), rows.shape[1] - used[:, ::-1].argmax(axis=1), 0).tolist()
        return counts

    def _probe_truncation(self) -> None:
        """Finds out whether truncation drops the last tokens of a text but keeps its end token.

        If so, one pass with a context longer by one gives both the ids and whether the text was truncated.
        """
        rows = self._tokenize([_PROBE], self._context_length)
        longer = self._tokenize([_PROBE], self._context_length + 1)
        self._end_position = -1 if longer[0, -1] != self._padding_id else -2  # the end token may be the padding token
        expected = np.delete(longer, -2, axis=1)
        self._truncates_before_end = bool(
            (rows == expected).all() and longer[0, self._end_position] != self._padding_id
        )

    def _find_truncated(self, texts: Sequence[str], rows: NDArray[np.int64]) -> NDArray[np.bool_]:
        """True for texts that use one more position in a context longer by one."""
        longer = self._tokenize(texts, self._context_length + 1)
        truncated: NDArray[np.bool_] = self._count_used(longer) > self._count_used(rows)
        return truncated

    def _count_used(self, rows: NDArray[np.int64]) -> NDArray[np.int64]:
        used: NDArray[np.int64] = (rows != self._padding_id).sum(axis=1)
        return used

    def _tokenize(self, texts: Sequence[str], context_length: int) -> NDArray[np.int64]:
        locked = self._short if sum(map(len, texts)) <= _LONG_TEXT_CHARS else self._long
        return locked.tokenize(texts, context_length)


class _LockedTokenizer:
    """A tokenizer used by one thread at a time, with a bounded cache of words."""

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

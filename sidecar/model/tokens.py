"""Texts → token ids, in the one way that the model was trained with."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from open_clip.tokenizer import HFTokenizer, SimpleTokenizer

from sidecar.batching.encoder import PreparedText
from sidecar.errors import ModelError
from sidecar.model.checkpoint import Checkpoint
from sidecar.model.probes import FINGERPRINT_TEXTS
from sidecar.model.tokenizer_digest import digest_tokenizer

_CLIP_CONTEXT_LENGTH = 77


class TextTokenizer:
    """open_clip's own tokenizer, which canonicalises, truncates and pads to exactly the context length.

    Padding is part of the input: SigLIP pools the last position without a mask. Any thread may call it.
    """

    def __init__(self, tokenizer: Any, context_length: int, vocabulary_size: int) -> None:
        self.context_length = context_length
        self._tokenizer = tokenizer
        self._vocabulary_size = vocabulary_size
        # Truncation and padding are state of the shared tokenizer, and its Rust part refuses two borrowers at once.
        self._lock = threading.Lock()
        vocabulary = getattr(tokenizer, "tokenizer", None)
        self._padding_id = int(getattr(vocabulary, "pad_token_id", 0) or 0)
        unknown_id = getattr(vocabulary, "unk_token_id", None)
        self._unknown_id = self._padding_id if unknown_id is None else int(unknown_id)
        self._blank_ids = self._tokenize([""], context_length)[0]

    def prepare(self, texts: Sequence[str]) -> list[PreparedText]:
        """One per text, in order, `token_ids` each (context_length,) int64."""
        if not texts:
            return []
        rows = self._tokenize(texts, self.context_length)
        truncated = self._find_truncated(texts, rows)
        blank = (rows == self._blank_ids).all(axis=1)
        tokens = self._lengths(rows)
        rows = np.where(rows < self._vocabulary_size, rows, self._unknown_id)
        return [
            PreparedText(ids, truncated=bool(cut), blank=bool(empty), tokens=count)
            for ids, cut, empty, count in zip(rows, truncated, blank, tokens, strict=True)
        ]

    def check_vocabulary(self, probe_texts: Sequence[str]) -> None:
        """Raises ModelError if the tokenizer gives ids that the model has no embedding for."""
        highest = int(self._tokenize(probe_texts, self.context_length).max())
        if highest >= self._vocabulary_size:
            raise ModelError(
                f"the tokenizer is not this model's: it gives token {highest}, the model has {self._vocabulary_size}"
            )

    def digest(self) -> str:
        """Names what it makes of any text; part of the fingerprint."""
        with self._lock:
            return digest_tokenizer(self._tokenizer)

    def _find_truncated(self, texts: Sequence[str], rows: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Which texts have more tokens than fit: those that use one more place when given one."""
        truncated = np.zeros(len(texts), dtype=np.bool_)
        full = np.flatnonzero(rows[:, -2] != self._padding_id)
        if full.size:
            longer = self._tokenize([texts[index] for index in full.tolist()], self.context_length + 1)
            truncated[full] = self._count_tokens(longer) > self._count_tokens(rows[full])
        return truncated

    def _lengths(self, rows: NDArray[np.int64]) -> list[int]:
        """How many ids of each row stand before its padding; the padding's id may stand for a token of the text too."""
        used = rows != self._padding_id
        lengths: list[int] = np.where(used.any(axis=1), rows.shape[1] - used[:, ::-1].argmax(axis=1), 0).tolist()
        return lengths

    def _count_tokens(self, rows: NDArray[np.int64]) -> NDArray[np.int64]:
        counts: NDArray[np.int64] = (rows != self._padding_id).sum(axis=1)
        return counts

    def _tokenize(self, texts: Sequence[str], context_length: int) -> NDArray[np.int64]:
        with self._lock:
            ids: NDArray[np.int64] = self._tokenizer(list(texts), context_length=context_length).numpy()
        return ids


def load_tokenizer(checkpoint: Checkpoint) -> TextTokenizer:
    """The tokenizer that the model's configuration names. Raises ModelError."""
    text_cfg = checkpoint.model_cfg["text_cfg"]
    context_length = text_cfg.get("context_length", _CLIP_CONTEXT_LENGTH)
    options = {"context_length": context_length, **text_cfg.get("tokenizer_kwargs", {})}
    try:
        if checkpoint.tokenizer is None:
            tokenizer = SimpleTokenizer(**options)
        else:
            mode = text_cfg.get("tokenizer_mode")
            tokenizer = HFTokenizer(str(checkpoint.tokenizer), tokenizer_mode=mode, **options)
    # The tokenizer libraries raise plain Exception for a damaged file.
    except Exception as error:
        raise ModelError(f"the tokenizer in {checkpoint.tokenizer or 'open_clip'} cannot be loaded: {error}") from error
    prepared = TextTokenizer(tokenizer, context_length, checkpoint.vocabulary_size)
    prepared.check_vocabulary(FINGERPRINT_TEXTS)
    return prepared

"""Tokenises texts as the model's own tokenizer does, reading no more of a long text than necessary."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from open_clip.tokenizer import HFTokenizer, SimpleTokenizer

from sidecar.batching.encoder import PreparedText
from sidecar.errors import ModelError
from sidecar.model.checkpoints.checkpoint import Checkpoint
from sidecar.model.probes import FINGERPRINT_TEXTS
from sidecar.model.text.cleaning import INITIAL_CHARS, CleanedPrefix, CleanedText, find_normalisation
from sidecar.model.text.digest import digest_tokenizer
from sidecar.model.text.padded_tokenizer import PaddedTokenizer, TokenRows
from sidecar.model.text.segmentation import read_segmentation

_SPARE_TOKENS = 64  # beyond the context: the last tokens of a prefix may differ in the whole text
_MAX_CHARS_COMPARED = 50_000
# Limit of cleaned characters. Only a single word, or text unknown to the tokenizer, can have so many characters without
# filling the context with certain tokens.
_MAX_CHARS = 1_000_000


class TextTokenizer:
    """open_clip's tokenizer of a model, which cleans, truncates and pads to exactly the context length. Thread-safe.

    Padding is part of the input: SigLIP pools the last position without a mask. Of a long text only a prefix is cleaned
    and tokenised, grown until its ids are certainly those of the whole text.
    """

    def __init__(self, tokenizer: Any, context_length: int, vocabulary_size: int) -> None:
        self.context_length = context_length
        self._tokenizer = tokenizer
        masks_at_random = getattr(tokenizer, "reduction_fn", None) is not None
        self._normalise = None if masks_at_random else find_normalisation(tokenizer.clean_fn)
        if self._normalise is not None:
            tokenizer = copy.copy(tokenizer)
            tokenizer.clean_fn = _identity
        self._padded = PaddedTokenizer(tokenizer, context_length)
        self._vocabulary_size = vocabulary_size
        self._segmentation = read_segmentation(getattr(tokenizer, "tokenizer", None))
        self._spare_tokens = max(_SPARE_TOKENS, self._segmentation.max_word_chars)
        self._blank_ids = self._padded.encode([""]).rows[0]

    def prepare(self, texts: Sequence[str]) -> list[PreparedText]:
        """One per text, in order, with `token_ids` (context_length,) int64.

        Raises DeviceError in a thread of PreparationThreads whose caller was cancelled.
        """
        if not texts:
            return []
        if self._normalise is None:
            return self._to_prepared_texts(self._padded.encode([str(text) for text in texts]))
        growing_texts = [_GrowingText(CleanedText(text, self._normalise)) for text in texts]
        self._tokenize_until_certain(growing_texts)
        return self._to_prepared_texts(
            TokenRows(
                np.stack([growing.ids for growing in growing_texts]),
                np.array([growing.is_truncated for growing in growing_texts]),
            ),
            [growing.is_short for growing in growing_texts],
        )

    def check_vocabulary(self, probe_texts: Sequence[str]) -> None:
        """Raises ModelError if the tokenizer gives ids for which the model has no embedding."""
        highest = int(self._padded.encode(probe_texts).rows.max())
        if highest >= self._vocabulary_size:
            raise ModelError(
                f"the tokenizer is not this model's: it gives token {highest}, the model has {self._vocabulary_size}"
            )

    def digest(self) -> str:
        """Digest of the tokenizer's behaviour; part of the fingerprint."""
        return digest_tokenizer(self._tokenizer)

    def _tokenize_until_certain(self, growing_texts: Sequence[_GrowingText]) -> None:
        """Grows each text until it is complete, its ids are certain, or no more of it is available."""
        while growing_texts:
            for growing in growing_texts:
                growing.grow()
            found = self._padded.encode([growing.cleaned.text for growing in growing_texts])
            for growing, ids, truncated in zip(growing_texts, found.rows, found.truncated, strict=True):
                growing.ids, growing.is_truncated = ids, bool(truncated)
                growing.is_done = growing.cleaned.is_complete or (bool(truncated) and self._is_certain(growing))
                if len(growing.cleaned.text) > _MAX_CHARS and not growing.is_done:
                    growing.is_done = growing.is_truncated = True
            growing_texts = [growing for growing in growing_texts if not growing.is_done and not growing.is_short]

    def _is_certain(self, growing: _GrowingText) -> bool:
        """True if the ids are the same whatever text follows, because shorter prefixes have the same ids too.

        Among the last positions of the prefix, as many as the longest piece has characters, there is one at which the
        whole text is split, and both are tokenised alike up to it. The exception is a last word that becomes too long
        to be split at all, against which spare tokens are required.
        """
        ends = self._segmentation.possible_ends(growing.cleaned.text, growing.cleaned.ends_in_word)
        if not ends:
            return True
        if len(growing.cleaned.text) > _MAX_CHARS_COMPARED or not self._padded.has_more(
            growing.cleaned.text, self._spare_tokens
        ):
            return False
        found = self._padded.encode([growing.cleaned.text[:end] for end in ends])
        return bool((found.rows == growing.ids).all())

    def _to_prepared_texts(self, found: TokenRows, is_short: Sequence[bool] | None = None) -> list[PreparedText]:
        rows = found.rows
        blank = (rows == self._blank_ids).all(axis=1)
        unreadable = self._segmentation.find_unreadable(rows)
        tokens = self._padded.count(rows)
        within = np.where(rows < self._vocabulary_size, rows, self._padded.unknown_id)
        short = [False] * len(rows) if is_short is None else is_short
        return [
            PreparedText(*row)
            for row in zip(
                within, found.truncated.tolist(), blank.tolist(), tokens, unreadable.tolist(), short, strict=True
            )
        ]


class _GrowingText:
    """A growing prefix of one text with its token `ids`. `is_done`: they are the ids of the whole text."""

    def __init__(self, text: CleanedText) -> None:
        self._text = text
        self._chars = INITIAL_CHARS // 2
        self.cleaned = CleanedPrefix("", ends_in_word=False, is_complete=False, is_short=False)
        self.ids: NDArray[np.int64] = np.zeros(0, np.int64)
        self.is_truncated = False
        self.is_done = False

    @property
    def is_short(self) -> bool:
        """The available text is too short to determine the ids of the whole."""
        return self.cleaned.is_short and not self.is_done

    def grow(self) -> None:
        """Doubles the prefix."""
        self._chars *= 2
        self.cleaned = self._text.prefix(self._chars)


def _identity(text: str) -> str:
    return text


def load_tokenizer(checkpoint: Checkpoint) -> TextTokenizer:
    """The tokenizer that the model's configuration names. Raises ModelError."""
    text_cfg = checkpoint.model_cfg["text_cfg"]
    context_length = checkpoint.context_length
    options = {"context_length": context_length, **(text_cfg.get("tokenizer_kwargs") or {})}
    if mask := options.get("reduction_mask"):
        raise ModelError(
            f"tokenizer_kwargs.reduction_mask is {mask!r}: leaving out words at random is for training, the same text "
            "would have another vector each time; remove it from open_clip_config.json"
        )
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

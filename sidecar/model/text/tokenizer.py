"""Texts → token ids, in the one way that the model was trained with."""

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

_CLIP_CONTEXT_LENGTH = 77

_SPARE_TOKENS = 64  # beyond what the model reads: the last ones of a beginning may be others in the whole text
_MAX_CHARS_COMPARED = 50_000
# No more of a text is looked at, cleaned. Only one word, or what the tokenizer does not know, has this many characters
# without as many tokens, for certain, as the model reads.
_MAX_CHARS = 1_000_000


class TextTokenizer:
    """open_clip's own tokenizer, which canonicalises, truncates and pads to exactly the context length.

    Padding is part of the input: SigLIP pools the last position without a mask. Any thread may call it. A text is read
    from its beginning, no further than it takes to know the ids that the whole would have.
    """

    def __init__(self, tokenizer: Any, context_length: int, vocabulary_size: int) -> None:
        self.context_length = context_length
        self._tokenizer = tokenizer
        masks_at_random = getattr(tokenizer, "reduction_fn", None) is not None
        self._normalise = None if masks_at_random else find_normalisation(tokenizer.clean_fn)
        if self._normalise is not None:
            tokenizer = copy.copy(tokenizer)
            tokenizer.clean_fn = _identity
        self._ids = PaddedTokenizer(tokenizer, context_length)
        self._vocabulary_size = vocabulary_size
        self._segmentation = read_segmentation(getattr(tokenizer, "tokenizer", None))
        self._spare_tokens = max(_SPARE_TOKENS, self._segmentation.max_word_chars)
        self._blank_ids = self._ids.read([""]).rows[0]

    def prepare(self, texts: Sequence[str]) -> list[PreparedText]:
        """One per text, in order, `token_ids` each (context_length,) int64.

        Raises DeviceError in a thread of PreparationThreads whose caller has gone.
        """
        if not texts:
            return []
        if self._normalise is None:
            return self._to_prepared_texts(self._ids.read([str(text) for text in texts]))
        readings = [_GrowingText(CleanedText(text, self._normalise)) for text in texts]
        self._tokenize_until_certain(readings)
        return self._to_prepared_texts(
            TokenRows(
                np.stack([reading.ids for reading in readings]),
                np.array([reading.is_truncated for reading in readings]),
            ),
            [reading.is_short for reading in readings],
        )

    def check_vocabulary(self, probe_texts: Sequence[str]) -> None:
        """Raises ModelError if the tokenizer gives ids that the model has no embedding for."""
        highest = int(self._ids.read(probe_texts).rows.max())
        if highest >= self._vocabulary_size:
            raise ModelError(
                f"the tokenizer is not this model's: it gives token {highest}, the model has {self._vocabulary_size}"
            )

    def digest(self) -> str:
        """Names what it makes of any text; part of the fingerprint."""
        return digest_tokenizer(self._tokenizer)

    def _tokenize_until_certain(self, readings: Sequence[_GrowingText]) -> None:
        """Until each has ended, or its ids are certain, or it is too short to tell."""
        while readings:
            for reading in readings:
                reading.grow()
            found = self._ids.read([reading.cleaned.text for reading in readings])
            for reading, ids, truncated in zip(readings, found.rows, found.truncated, strict=True):
                reading.ids, reading.is_truncated = ids, bool(truncated)
                reading.is_done = reading.cleaned.is_all or (bool(truncated) and self._is_certain(reading))
                if len(reading.cleaned.text) > _MAX_CHARS and not reading.is_done:
                    reading.is_done = reading.is_truncated = True
            readings = [reading for reading in readings if not reading.is_done and not reading.is_short]

    def _is_certain(self, reading: _GrowingText) -> bool:
        """Whether the tokens that the model reads are the same whatever follows: alike for ends close together.

        Whatever the whole text is split into, it is split at one of as many places as its longest piece has characters,
        and up to there alike; but for a last word that its rest may make too long to be split at all.
        """
        ends = self._segmentation.ends(reading.cleaned.text, reading.cleaned.ends_in_word)
        if not ends:
            return True
        if len(reading.cleaned.text) > _MAX_CHARS_COMPARED or not self._ids.has_more(
            reading.cleaned.text, self._spare_tokens
        ):
            return False
        found = self._ids.read([reading.cleaned.text[:end] for end in ends])
        return bool((found.rows == reading.ids).all())

    def _to_prepared_texts(self, found: TokenRows, is_short: Sequence[bool] | None = None) -> list[PreparedText]:
        rows = found.rows
        blank = (rows == self._blank_ids).all(axis=1)
        unreadable = self._segmentation.find_unreadable(rows)
        tokens = self._ids.count(rows)
        within = np.where(rows < self._vocabulary_size, rows, self._ids.unknown_id)
        short = [False] * len(rows) if is_short is None else is_short
        return [
            PreparedText(*row)
            for row in zip(
                within, found.truncated.tolist(), blank.tolist(), tokens, unreadable.tolist(), short, strict=True
            )
        ]


class _GrowingText:
    """A text on its way from its first characters to as many as are needed. `ids` are those of what has been read;
    `is_done`: and of the whole.
    """

    def __init__(self, text: CleanedText) -> None:
        self._text = text
        self._chars = INITIAL_CHARS // 2
        self.cleaned = CleanedPrefix("", ends_in_word=False, is_all=False, is_short=False)
        self.ids: NDArray[np.int64] = np.zeros(0, np.int64)
        self.is_truncated = False
        self.is_done = False

    @property
    def is_short(self) -> bool:
        return self.cleaned.is_short and not self.is_done

    def grow(self) -> None:
        """To twice the characters."""
        self._chars *= 2
        self.cleaned = self._text.beginning(self._chars)


def _identity(text: str) -> str:
    return text


def load_tokenizer(checkpoint: Checkpoint) -> TextTokenizer:
    """The tokenizer that the model's configuration names. Raises ModelError."""
    text_cfg = checkpoint.model_cfg["text_cfg"]
    context_length = text_cfg.get("context_length", _CLIP_CONTEXT_LENGTH)
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

"""The oracle for prefixes of texts: open_clip's own tokenizer on the whole text."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sidecar.batching.encoder import PreparedText, TextPrefix
from sidecar.model.text.tokenizer import TextTokenizer
from tests.model.text.strange_texts import StrangeTexts


class WholeTexts:
    """Compares our ids, from a prefix, with those of open_clip's tokenizer for the whole text."""

    def __init__(self, tokenizer: Any, context_length: int) -> None:
        self._tokenizer = tokenizer
        self._context_length = context_length
        self.ours = TextTokenizer(tokenizer, context_length, 10**9)

    def expected(self, text: str) -> tuple[NDArray[np.int64], bool]:
        """The ids, and whether the text is truncated."""
        ids = self._tokenizer([text], context_length=self._context_length).numpy()[0]
        longer = self._tokenizer([text], context_length=self._context_length + 1).numpy()[0]
        longest = self._tokenizer([text], context_length=self._context_length + 2).numpy()[0]
        fits = np.array_equal(longer[:-1], ids) and longer[-1] == longest[-1]
        return ids, not fits

    def check(self, text: str) -> None:
        """Raises AssertionError."""
        [prepared] = self.ours.prepare([text])
        self._check_agreement(text, prepared)

    def check_prefix(self, text: str, length: int) -> bool:
        """True if that many characters determine the ids."""
        [prepared] = self.ours.prepare([TextPrefix(text[:length])])
        if not prepared.is_short:
            self._check_agreement(text, prepared)
        return not prepared.is_short

    def check_many(self, rng: random.Random, count: int) -> None:
        """Checks strange texts, whole and as beginnings."""
        texts = StrangeTexts(rng)
        for _ in range(count):
            text = texts.text()
            self.check(text)
            self.check_prefix(text + texts.text(), rng.randint(len(text) // 2, len(text)))

    def _check_agreement(self, text: str, prepared: PreparedText) -> None:
        ids, truncated = self.expected(text)
        same = np.array_equal(prepared.token_ids, ids) and prepared.truncated == truncated
        assert same, f"{prepared.truncated} {truncated}\n{prepared.token_ids}\n{ids}\n{text[:3000]!a}"

"""Properties of a tokenizer: how far tokens depend on the text that follows, and which ids mean unknown text."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer

_WORD_SPLITTERS = {"WhitespaceSplit", "Whitespace", "BertPreTokenizer"}
_SPACE_MARKERS = " \u2581\u0120"  # the spellings of a blank in vocabularies
_MAX_SPLIT_POINTS = 48
_MAX_WORD_CHARS_IN_PYTHON = 100  # of WordPiece in transformers' tokenizers in Python, which do not expose it


@dataclass(frozen=True, slots=True)
class Segmentation:
    """How a tokenizer splits texts.

    `splits_at_blanks`: each word is tokenised separately. `max_piece_chars`: length of the longest piece in the
    vocabulary. `max_word_chars`: longer words become one unknown token; 0 if there is no limit.

    `unknown_id`: the token for text that is not in the vocabulary; None if there is none. `ignored_ids`: tokens without
    content, which are special or a blank alone.
    """

    splits_at_blanks: bool
    max_piece_chars: int
    max_word_chars: int
    unknown_id: int | None
    ignored_ids: NDArray[np.int64]

    def possible_ends(self, cleaned: str, in_word: bool) -> list[int]:
        """Lengths of the prefix `cleaned` whose tokens have to be compared; none if its tokens are final.

        `in_word`: the prefix ends within a word.
        """
        if self.splits_at_blanks and not in_word:
            return []
        return list(range(len(cleaned), max(len(cleaned) - self.max_piece_chars, 0), -1))

    def find_unreadable(self, rows: NDArray[np.int64]) -> NDArray[np.bool_]:
        """True for rows in which at least half of the tokens with content are unknown; `rows` is (n, length)."""
        if self.unknown_id is None:
            return np.zeros(len(rows), dtype=np.bool_)
        unknown = (rows == self.unknown_id).sum(axis=1)
        known = (~np.isin(rows, self.ignored_ids)).sum(axis=1) - unknown
        found: NDArray[np.bool_] = (unknown > 0) & (unknown >= known)
        return found


def read_segmentation(vocabulary: Any) -> Segmentation:
    """`vocabulary` is a tokenizer of transformers; None for CLIP's own, which splits words into known bytes."""
    backend = getattr(vocabulary, "backend_tokenizer", None)
    if backend is None:
        longest = 0 if vocabulary is None else _MAX_WORD_CHARS_IN_PYTHON
        return Segmentation(vocabulary is None, _MAX_SPLIT_POINTS, longest, None, np.zeros(0, np.int64))
    state = json.loads(backend.to_str())
    pieces = _read_pieces(state["model"]["vocab"])
    unknown_id = vocabulary.unk_token_id
    special = {int(id_) for id_ in vocabulary.all_special_ids} - {unknown_id}
    blank = {id_ for piece, id_ in pieces.items() if not piece.strip(_SPACE_MARKERS)}
    # If the padding token is also the unknown token, unknown text cannot be counted.
    is_distinct = unknown_id is not None and unknown_id != vocabulary.pad_token_id
    return Segmentation(
        splits_at_blanks=_splits_at_blanks(state.get("pre_tokenizer")),
        max_piece_chars=min(max(map(len, pieces), default=1), _MAX_SPLIT_POINTS),
        max_word_chars=max_word_chars(backend),
        unknown_id=int(unknown_id) if is_distinct else None,
        ignored_ids=np.array(sorted(special | blank), np.int64),
    )


def max_word_chars(tokenizer: Tokenizer) -> int:
    """Length of the longest word that is split into pieces: WordPiece maps longer ones to unknown. 0 if unlimited."""
    return int(getattr(tokenizer.model, "max_input_chars_per_word", 0))


def _read_pieces(vocabulary: Mapping[str, int] | Iterable[tuple[str, float]]) -> Mapping[str, int]:
    if isinstance(vocabulary, Mapping):
        return vocabulary
    return {piece: id_ for id_, (piece, _score) in enumerate(vocabulary)}


def _splits_at_blanks(pre_tokenizer: Mapping[str, Any] | None) -> bool:
    if pre_tokenizer is None:
        return False
    kind = pre_tokenizer["type"]
    if kind == "Sequence":
        return any(_splits_at_blanks(one) for one in pre_tokenizer["pretokenizers"])
    if kind == "Metaspace":
        return bool(pre_tokenizer.get("split", True))
    if kind == "ByteLevel":
        return bool(pre_tokenizer.get("use_regex", True))
    return kind in _WORD_SPLITTERS

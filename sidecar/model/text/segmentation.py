"""How a tokenizer splits a text: how far its tokens depend on what follows, and which are for what it does not know."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer

_WORD_SPLITTERS = {"WhitespaceSplit", "Whitespace", "BertPreTokenizer"}
_SPACE_MARKERS = " \u2581\u0120"  # what stands for a blank in vocabularies
_MAX_SPLIT_POINTS = 48
_MAX_WORD_CHARS_IN_PYTHON = 100  # of WordPiece in transformers' own tokenizers, which do not say it


@dataclass(frozen=True, slots=True)
class Segmentation:
    """`splits_at_blanks`: each word is tokenised by itself. `max_piece_chars` of the vocabulary, in characters.
    `max_word_chars` that is split into pieces, in characters; 0: any is.

    `unknown_id` stands for whatever is not in the vocabulary, None: everything is. `ignored_ids` say nothing of a text:
    they are special, or a blank alone.
    """

    splits_at_blanks: bool
    max_piece_chars: int
    max_word_chars: int
    unknown_id: int | None
    ignored_ids: NDArray[np.int64]

    def ends(self, cleaned: str, in_word: bool) -> list[int]:
        """Where else than at its end the beginning `cleaned` might have been cut; none: it makes no difference."""
        if self.splits_at_blanks and not in_word:
            return []
        return list(range(len(cleaned), max(len(cleaned) - self.max_piece_chars, 0), -1))

    def find_unreadable(self, rows: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Of which rows at least half of the tokens that say something are unknown; `rows` is (n, length)."""
        if self.unknown_id is None:
            return np.zeros(len(rows), dtype=np.bool_)
        unknown = (rows == self.unknown_id).sum(axis=1)
        known = (~np.isin(rows, self.ignored_ids)).sum(axis=1) - unknown
        found: NDArray[np.bool_] = (unknown > 0) & (unknown >= known)
        return found


def read_segmentation(vocabulary: Any) -> Segmentation:
    """Of a tokenizer of the library transformers; None: of CLIP's, which splits words into known bytes."""
    backend = getattr(vocabulary, "backend_tokenizer", None)
    if backend is None:
        longest = 0 if vocabulary is None else _MAX_WORD_CHARS_IN_PYTHON
        return Segmentation(vocabulary is None, _MAX_SPLIT_POINTS, longest, None, np.zeros(0, np.int64))
    state = json.loads(backend.to_str())
    pieces = _read_pieces(state["model"]["vocab"])
    unknown_id = vocabulary.unk_token_id
    special = {int(id_) for id_ in vocabulary.all_special_ids} - {unknown_id}
    blank = {id_ for piece, id_ in pieces.items() if not piece.strip(_SPACE_MARKERS)}
    # The padding may be the token that stands for the unknown: then nothing can be told.
    tells = unknown_id is not None and unknown_id != vocabulary.pad_token_id
    return Segmentation(
        splits_at_blanks=_splits_at_blanks(state.get("pre_tokenizer")),
        max_piece_chars=min(max(map(len, pieces), default=1), _MAX_SPLIT_POINTS),
        max_word_chars=max_word_chars(backend),
        unknown_id=int(unknown_id) if tells else None,
        ignored_ids=np.array(sorted(special | blank), np.int64),
    )


def max_word_chars(tokenizer: Tokenizer) -> int:
    """In characters, that is split into pieces; WordPiece takes a longer one for unknown as a whole. 0: any is."""
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

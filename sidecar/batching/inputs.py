"""Inputs of one caller for the device: texts, the views of one picture, or pairs to be scored."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Hashable, Sequence
from enum import Enum
from typing import ClassVar, TypeAlias, cast

import numpy as np
from numpy.typing import NDArray

from sidecar.batching.encoder import Encoder, PairScorer, PreparedPair, PreparedText, scorer_beside

_TOKENS_PER_VIEW = 64  # what SigLIP reads of a text
_MAX_LENGTH_ERROR = 1e-3


class Kind(Enum):
    """Content of a micro-batch; kinds are never mixed."""

    TEXT = "text"
    PICTURE = "picture"
    PAIR = "pair"


class Inputs(ABC):
    """A sequence of items of one kind, each a single input of the model: a text, a view or a pair."""

    kind: ClassVar[Kind]

    @abstractmethod
    def __len__(self) -> int: ...

    @abstractmethod
    def key(self, index: int) -> Hashable:
        """Identity of an item: items of a group with equal keys are the same input, and have the same result."""

    def weight(self, index: int) -> int:  # noqa: ARG002 - only pairs differ
        """Share of a micro-batch's budget that an item takes, in views."""
        return 1

    @property
    def group(self) -> Hashable:
        """Only inputs of the same group may share a micro-batch."""
        return self.kind

    @abstractmethod
    def encode(self, encoder: Encoder, items: Sequence[Item]) -> NDArray[np.float32]:
        """One row per item; all are of this group. Blocks. Raises DeviceError, DeviceOutOfMemory."""

    def row_shape(self, encoder: Encoder) -> tuple[int, ...]:
        """The shape of one item's result."""
        return (encoder.dimensions,)

    def invalid_rows(self, rows: NDArray[np.float32]) -> NDArray[np.bool_]:
        """(n,): True for rows that are no result, such as a vector that is not finite or has no direction."""
        with np.errstate(over="ignore", invalid="ignore"):
            is_unit: NDArray[np.bool_] = np.abs(np.linalg.norm(rows, axis=1) - 1.0) < _MAX_LENGTH_ERROR
        return ~is_unit  # comparisons with NaN are False


Item: TypeAlias = tuple[Inputs, int]


class TextInputs(Inputs):
    """Tokenised texts. Equal token ids are one item."""

    kind = Kind.TEXT

    def __init__(self, texts: Sequence[PreparedText]) -> None:
        self.texts = texts

    def __len__(self) -> int:
        return len(self.texts)

    def key(self, index: int) -> Hashable:
        return self.texts[index].token_ids.tobytes()

    def encode(self, encoder: Encoder, items: Sequence[Item]) -> NDArray[np.float32]:
        return encoder.encode_texts([cast("TextInputs", inputs).texts[index] for inputs, index in items])


class ViewInputs(Inputs):
    """The views of one picture: `views` is (n, view_size, view_size, 3) uint8.

    A view's key is `digest`, that of the picture's bytes, with the view's index: hashing the pixels would take 0.3 ms
    a view. Without a digest the views equal those of no other picture.
    """

    kind = Kind.PICTURE

    def __init__(self, views: NDArray[np.uint8], digest: bytes | None = None) -> None:
        self.views = views
        self._picture: Hashable = digest or id(self)

    def __len__(self) -> int:
        return len(self.views)

    def key(self, index: int) -> Hashable:
        return self._picture, index

    def encode(self, encoder: Encoder, items: Sequence[Item]) -> NDArray[np.float32]:
        (first, start), (last, stop) = items[0], items[-1]
        if first is last:  # consecutive views of one picture: a slice saves the copy
            return encoder.encode_views(cast("ViewInputs", first).views[start : stop + 1])
        return encoder.encode_views(np.stack([cast("ViewInputs", inputs).views[index] for inputs, index in items]))


class PairInputs(Inputs):
    """Pairs for one scorer. They have from a few tokens to hundreds, and are weighted accordingly."""

    kind = Kind.PAIR

    def __init__(self, pairs: Sequence[PreparedPair], scorer: PairScorer) -> None:
        self.pairs = pairs
        self._scorer = scorer

    def __len__(self) -> int:
        return len(self.pairs)

    def key(self, index: int) -> Hashable:
        pair = self.pairs[index]
        return pair.token_ids.tobytes(), pair.segment_ids.tobytes()

    def weight(self, index: int) -> int:
        return math.ceil(len(self.pairs[index].token_ids) / _TOKENS_PER_VIEW)

    @property
    def group(self) -> Hashable:
        return self.kind, id(self._scorer)

    def encode(self, encoder: Encoder, items: Sequence[Item]) -> NDArray[np.float32]:
        scorer = scorer_beside(encoder, self._scorer)
        return scorer.score_pairs([cast("PairInputs", inputs).pairs[index] for inputs, index in items])

    def row_shape(self, _encoder: Encoder) -> tuple[int, ...]:
        return ()

    def invalid_rows(self, rows: NDArray[np.float32]) -> NDArray[np.bool_]:
        """Scores that are not finite."""
        return ~np.isfinite(rows)

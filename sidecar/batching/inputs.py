"""What a caller wants of the device: texts, the views of one picture, or pairs to be scored."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Hashable, Sequence
from enum import Enum
from typing import ClassVar, TypeAlias, cast

import numpy as np
from numpy.typing import NDArray

from sidecar.batching.encoder import Encoder, PairScorer, PreparedPair, PreparedText

_TOKENS_OF_A_VIEW = 64  # what SigLIP reads of a text
_MAX_LENGTH_ERROR = 1e-3


class Kind(Enum):
    """What a micro-batch is made of; the device never gets two of them at once."""

    TEXT = "text"
    PICTURE = "picture"
    PAIR = "pair"


class Work(ABC):
    """Units of one kind, in order; each is one view of device work."""

    kind: ClassVar[Kind]

    @abstractmethod
    def __len__(self) -> int: ...

    @abstractmethod
    def key(self, index: int) -> Hashable:
        """Units of a group whose keys are equal are the same input, and have the same result."""

    def weight(self, index: int) -> int:  # noqa: ARG002 - only pairs differ
        """How many views' room a unit takes in a micro-batch."""
        return 1

    @property
    def group(self) -> Hashable:
        """Only work of the same group may share a micro-batch."""
        return self.kind

    @abstractmethod
    def encode(self, encoder: Encoder, units: Sequence[Unit]) -> NDArray[np.float32]:
        """One row for each unit, all of this group. Blocks. Raises DeviceError, DeviceOutOfMemory."""

    def row_shape(self, encoder: Encoder) -> tuple[int, ...]:
        """The shape of one unit's result."""
        return (encoder.dimensions,)

    def without_result(self, rows: NDArray[np.float32]) -> NDArray[np.bool_]:
        """Which of the rows are no result, (n,): a vector that is not finite or has no direction."""
        with np.errstate(over="ignore", invalid="ignore"):
            is_unit: NDArray[np.bool_] = np.abs(np.linalg.norm(rows, axis=1) - 1.0) < _MAX_LENGTH_ERROR
        return ~is_unit  # NaN is less than nothing


Unit: TypeAlias = tuple[Work, int]


class TextWork(Work):
    kind = Kind.TEXT

    def __init__(self, texts: Sequence[PreparedText]) -> None:
        self.texts = texts

    def __len__(self) -> int:
        return len(self.texts)

    def key(self, index: int) -> Hashable:
        return self.texts[index].token_ids.tobytes()

    def encode(self, encoder: Encoder, units: Sequence[Unit]) -> NDArray[np.float32]:
        return encoder.encode_texts([cast("TextWork", work).texts[index] for work, index in units])


class ViewWork(Work):
    """`views` is (n, view_size, view_size, 3) uint8. `digest` is that of the picture's bytes, if anybody knows it.

    A view is known by its picture's digest and its place in it: hashing its pixels would take 0.3 ms a view.
    """

    kind = Kind.PICTURE

    def __init__(self, views: NDArray[np.uint8], digest: bytes | None = None) -> None:
        self.views = views
        self._picture: Hashable = digest or id(self)

    def __len__(self) -> int:
        return len(self.views)

    def key(self, index: int) -> Hashable:
        return self._picture, index

    def encode(self, encoder: Encoder, units: Sequence[Unit]) -> NDArray[np.float32]:
        (first, start), (last, stop) = units[0], units[-1]
        if first is last:  # one picture's, one after another: nothing has to be copied
            return encoder.encode_views(cast("ViewWork", first).views[start : stop + 1])
        return encoder.encode_views(np.stack([cast("ViewWork", work).views[index] for work, index in units]))


class PairWork(Work):
    """Pairs have from a few tokens to hundreds, and take the device's time accordingly."""

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
        return math.ceil(len(self.pairs[index].token_ids) / _TOKENS_OF_A_VIEW)

    @property
    def group(self) -> Hashable:
        return self.kind, id(self._scorer)

    def encode(self, _encoder: Encoder, units: Sequence[Unit]) -> NDArray[np.float32]:
        return self._scorer.score_pairs([cast("PairWork", work).pairs[index] for work, index in units])

    def row_shape(self, _encoder: Encoder) -> tuple[int, ...]:
        return ()

    def without_result(self, rows: NDArray[np.float32]) -> NDArray[np.bool_]:
        """Scores that are not finite."""
        return ~np.isfinite(rows)

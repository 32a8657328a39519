"""The seam between the batcher and a model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from sidecar.pictures.views.settings import SQUASHED, Framing


class Beginning(str):
    """The beginning of a text that is longer: all of it that was read. Nothing is known of the rest."""

    __slots__ = ()


@dataclass(frozen=True, slots=True)
class PreparedText:
    """A text ready for the device: `token_ids` is (context_length,) int64, padded to exactly that length.

    `truncated`: the text had more tokens than the model reads. `blank`: canonicalisation left nothing of it.
    `tokens`: how many of `token_ids` are not padding. `unreadable`: at least half of what the model reads of it are
    words or characters that its tokenizer does not know, and takes for one and the same. `is_short`, of a Beginning:
    more of the text has to be read, and all else means nothing.
    """

    token_ids: NDArray[np.int64]
    truncated: bool
    blank: bool
    tokens: int = 0
    unreadable: bool = False
    is_short: bool = False


@dataclass(frozen=True, slots=True)
class PairScale:
    """sigmoid(scale · cosine + bias) is the probability that a text and a picture belong together, as trained.

    Zhai et al., Sigmoid Loss for Language Image Pre-Training, 2023. `scale` is the exponential of the stored number.
    """

    scale: float
    bias: float


class Encoder(Protocol):
    """A model. `encode_*` are called by one thread only; `prepare_texts` may be called by any thread."""

    @property
    def model_id(self) -> str: ...

    @property
    def fingerprint(self) -> str:
        """Names the vector space: weights, preprocessing and view settings. Two vectors compare only if it is equal."""
        ...

    @property
    def dimensions(self) -> int: ...

    @property
    def view_size(self) -> int:
        """Side in pixels of the square views that `encode_views` takes."""
        ...

    @property
    def pair_scale(self) -> PairScale | None:
        """None for a model that was not trained with a sigmoid."""
        ...

    def prepare_texts(self, texts: Sequence[str]) -> list[PreparedText]:
        """One per text, in order. Of a Beginning what the whole text would give, or that it is too short to tell."""
        ...

    def encode_texts(self, texts: Sequence[PreparedText]) -> NDArray[np.float32]:
        """(n, dimensions) float32, unit length. One that is not, because its numbers overflow, costs no other text its
        vector: the batcher keeps it from its caller.

        Raises DeviceError, DeviceOutOfMemory, DeviceLost.
        """
        ...

    def encode_views(self, views: NDArray[np.uint8]) -> NDArray[np.float32]:
        """`views` is (n, view_size, view_size, 3) uint8 RGB; returns (n, dimensions) float32, as of `encode_texts`.

        Raises DeviceError, DeviceOutOfMemory, DeviceLost.
        """
        ...


@runtime_checkable
class _HasFraming(Protocol):
    @property
    def framing(self) -> Framing: ...


def framing_of(encoder: Encoder) -> Framing:
    """How the encoder's model sees whole pictures: squashed, where it does not say."""
    return encoder.framing if isinstance(encoder, _HasFraming) else SQUASHED


def pair_logits(scale: PairScale, cosines: NDArray[np.float32]) -> NDArray[np.float32]:
    """scale · cosine + bias, of any shape, float32; `sigmoid` of it is the probability that the two belong together."""
    return np.asarray(scale.scale * cosines.astype(np.float64) + scale.bias, np.float32)


def sigmoid(logits: NDArray[np.float32]) -> NDArray[np.float64]:
    """From 0 to 1, of any shape, float64: float32 has no number between 0.99999994 and 1, where good scores lie."""
    small = np.exp(-np.abs(logits.astype(np.float64)))  # never overflows
    return np.asarray(np.where(logits >= 0, 1.0, small) / (1.0 + small), np.float64)


@dataclass(frozen=True, slots=True)
class PreparedPair:
    """A query and a document as one sequence of tokens: both are (n,) int64, n at most RERANK_MAX_TOKENS.

    `truncated`: the end of the document has no part in it.
    """

    token_ids: NDArray[np.int64]
    segment_ids: NDArray[np.int64]
    truncated: bool


class PairScorer(Protocol):
    """A cross-encoder. `score_pairs` is called by the device thread only; `prepare_pairs` by any thread."""

    @property
    def model_id(self) -> str: ...

    def prepare_pairs(
        self, query: str, documents: Sequence[str], max_document_tokens: int | None = None
    ) -> list[PreparedPair]:
        """One per document, in order; at most `max_document_tokens` of each are read. Only documents are cut.

        Raises TextRejected (`query_too_long`) where the query leaves no room for them.
        """
        ...

    def score_pairs(self, pairs: Sequence[PreparedPair]) -> NDArray[np.float32]:
        """(n,) float32, as the model gives them: higher is better, any range.

        Raises DeviceError, DeviceOutOfMemory, DeviceLost.
        """
        ...

"""Interfaces of the models: `Encoder` for texts and pictures, `PairScorer` for reranking."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from sidecar.pictures.views.settings import SQUASHED, Framing


class TextPrefix(str):
    """The first part of a longer text, whose rest has not been read."""

    __slots__ = ()


@dataclass(frozen=True, slots=True)
class PreparedText:
    """A tokenised text: `token_ids` is (context_length,) int64, padded to exactly that length.

    `truncated`: the text had more tokens than the model reads. `blank`: canonicalisation left nothing of it.
    `tokens`: how many of `token_ids` are not padding. `unreadable`: at least half of what the model reads are words or
    characters unknown to its tokenizer, which maps them all to the same token. `is_short`, only of a TextPrefix: too
    little of the text was read, and the other fields mean nothing.
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


def pair_logits(scale: PairScale, cosines: NDArray[np.float32]) -> NDArray[np.float32]:
    """scale · cosine + bias, float32, in the shape of `cosines`; its `sigmoid` is the probability of a match."""
    return np.asarray(scale.scale * cosines.astype(np.float64) + scale.bias, np.float32)


def sigmoid(logits: NDArray[np.float32]) -> NDArray[np.float64]:
    """From 0 to 1, in the shape of `logits`.

    float64: float32 has no number between 0.99999994 and 1, where good scores lie.
    """
    small = np.exp(-np.abs(logits.astype(np.float64)))  # never overflows
    return np.asarray(np.where(logits >= 0, 1.0, small) / (1.0 + small), np.float64)


class Encoder(Protocol):
    """An embedding model on a device. `encode_*` are called by one thread only; `prepare_texts` by any thread."""

    @property
    def model_id(self) -> str: ...

    @property
    def fingerprint(self) -> str:
        """Identifies the vector space: weights, preprocessing and view settings.

        Two vectors are comparable only if their fingerprints are equal.
        """
        ...

    @property
    def dimensions(self) -> int: ...

    @property
    def view_size(self) -> int:
        """Side in pixels of the square views that `encode_views` takes."""
        ...

    @property
    def pair_scale(self) -> PairScale | None:
        """None for a model that was not trained with a sigmoid loss."""
        ...

    def prepare_texts(self, texts: Sequence[str]) -> list[PreparedText]:
        """Tokenise; one result per text, in order.

        A TextPrefix gives the same as the whole text would, or is marked `is_short`.
        """
        ...

    def encode_texts(self, texts: Sequence[PreparedText]) -> NDArray[np.float32]:
        """(n, dimensions) float32, unit length.

        A row whose numbers overflow may be anything, but must not affect other rows; the batcher replaces it by NaN.

        Raises DeviceError, DeviceOutOfMemory, DeviceLost.
        """
        ...

    def encode_views(self, views: NDArray[np.uint8]) -> NDArray[np.float32]:
        """`views` is (n, view_size, view_size, 3) uint8 RGB; returns (n, dimensions) float32, as `encode_texts` does.

        Raises DeviceError, DeviceOutOfMemory, DeviceLost.
        """
        ...


@runtime_checkable
class _HasFraming(Protocol):
    """An encoder that says how it fits pictures into square views."""

    @property
    def framing(self) -> Framing: ...


def framing_of(encoder: Encoder) -> Framing:
    """How pictures are fitted into square views for this encoder; squashed if the encoder declares nothing."""
    return encoder.framing if isinstance(encoder, _HasFraming) else SQUASHED


@dataclass(frozen=True, slots=True)
class PreparedPair:
    """A query and a document as one sequence of tokens: both arrays are (n,) int64, n at most RERANK_MAX_TOKENS.

    `truncated`: the end of the document was cut off.
    """

    token_ids: NDArray[np.int64]
    segment_ids: NDArray[np.int64]
    truncated: bool


class PairScorer(Protocol):
    """A cross-encoder. `score_pairs` is called by its device's thread only; `prepare_pairs` by any thread."""

    @property
    def model_id(self) -> str: ...

    def prepare_pairs(
        self, query: str, documents: Sequence[str], max_document_tokens: int | None = None
    ) -> list[PreparedPair]:
        """One per document, in order; at most `max_document_tokens` of each are read. Only documents are cut.

        Raises TextRejected (`query_too_long`) if the query leaves no room for a document.
        """
        ...

    def score_pairs(self, pairs: Sequence[PreparedPair]) -> NDArray[np.float32]:
        """(n,) float32 raw scores of the model: higher is better, any range.

        Raises DeviceError, DeviceOutOfMemory, DeviceLost.
        """
        ...


class ScorerCopies:
    """Copies of one cross-encoder, each on the device of an encoder. Satisfies PairScorer."""

    def __init__(self, copies: Sequence[tuple[Encoder, PairScorer]]) -> None:
        """At least one. Pairs for a device that has none are scored by the first."""
        self._first = copies[0][1]
        self._copies = {id(encoder): scorer for encoder, scorer in copies}

    @property
    def model_id(self) -> str:
        return self._first.model_id

    def prepare_pairs(
        self, query: str, documents: Sequence[str], max_document_tokens: int | None = None
    ) -> list[PreparedPair]:
        return self._first.prepare_pairs(query, documents, max_document_tokens)

    def score_pairs(self, pairs: Sequence[PreparedPair]) -> NDArray[np.float32]:
        return self._first.score_pairs(pairs)

    def beside(self, encoder: Encoder) -> PairScorer:
        """The copy on the encoder's device."""
        return self._copies.get(id(encoder), self._first)


def scorer_beside(encoder: Encoder, scorer: PairScorer) -> PairScorer:
    """What scores pairs on the encoder's device: a copy, if there are several."""
    return scorer.beside(encoder) if isinstance(scorer, ScorerCopies) else scorer

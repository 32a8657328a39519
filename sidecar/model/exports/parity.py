"""Compares an exported model with PyTorch's on the same texts and views: the gate that every export has to pass.

Thresholds: fp32 differs by rounding only; bf16 and int8 keep 8 bits. The overlap is what a search would notice.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sidecar.batching.encoder import Encoder, PreparedText
from sidecar.errors import ModelError
from sidecar.model.exports.encoder import ExportedEncoder
from sidecar.model.precision import Precision

GATE_COSINE: Mapping[Precision, float] = {"fp32": 0.9999, "fp16": 0.999, "bf16": 0.999, "int8": 0.999}
GATE_OVERLAP = 0.95
MAX_LENGTH_ERROR = 1e-5
BATCH_SIZES = (1, 2, 3, 8)
_HITS = 10


@dataclass(frozen=True, slots=True)
class Samples:
    """What is encoded with both: tokenised texts, and views (n, view_size, view_size, 3) uint8; at least 10 of each."""

    texts: Sequence[PreparedText]
    views: NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class Vectors:
    """(n, dimensions) float32 each, and the seconds that one view took."""

    texts: NDArray[np.float32]
    views: NDArray[np.float32]
    view_s: float


@dataclass(frozen=True, slots=True)
class Parity:
    """How far an export, run by a backend, is from PyTorch in fp32.

    `text_cosine`, `view_cosine`: the least over all batch sizes. `overlap`: the mean part of the ten pictures nearest
    to a text that are the same. `length_error`: the largest distance of a length from 1. `speed_up`: PyTorch's time
    for a view divided by the export's, one after the other on this machine.
    """

    backend: str
    precision: Precision
    text_cosine: float
    view_cosine: float
    overlap: float
    length_error: float
    speed_up: float

    def check(self) -> None:
        """Raises ModelError that names every figure out of bounds."""
        least = GATE_COSINE[self.precision]
        faults = [
            f"{what} agree to a cosine of {cosine:.6f}, at least {least} is expected"
            for what, cosine in (("texts", self.text_cosine), ("pictures", self.view_cosine))
            if not cosine >= least  # also for NaN
        ]
        if not self.overlap >= GATE_OVERLAP:
            faults.append(
                f"the ten nearest pictures overlap by {self.overlap:.3f}, at least {GATE_OVERLAP} is expected"
            )
        if not self.length_error <= MAX_LENGTH_ERROR:
            faults.append(f"lengths are off 1 by {self.length_error:.2g}, at most {MAX_LENGTH_ERROR:g} is expected")
        if faults:
            raise ModelError(f"{self.backend} in {self.precision} differs from the model: {'; '.join(faults)}")


def encode_samples(encoder: Encoder, samples: Samples, batch_size: int) -> Vectors:
    """The vectors of all samples, in batches."""
    texts = _in_batches(lambda part: encoder.encode_texts(samples.texts[part]), len(samples.texts), batch_size)
    encoder.encode_views(samples.views[:1])  # the first call allocates
    started = time.perf_counter()
    views = _in_batches(lambda part: encoder.encode_views(samples.views[part]), len(samples.views), batch_size)
    return Vectors(texts, views, (time.perf_counter() - started) / len(samples.views))


def measure_parity(reference: Vectors, backend: str, encoder: ExportedEncoder, samples: Samples) -> Parity:
    """Encodes the samples with the exported model, the first of them in every batch size too."""
    text_cosines, view_cosines = [], []
    for size in BATCH_SIZES:
        texts, views = encoder.encode_texts(samples.texts[:size]), encoder.encode_views(samples.views[:size])
        text_cosines.append(_least_cosine(texts, reference.texts[:size]))
        view_cosines.append(_least_cosine(views, reference.views[:size]))
    exported = encode_samples(encoder, samples, BATCH_SIZES[-1])
    lengths = np.linalg.norm(np.concatenate([exported.texts, exported.views]).astype(np.float64), axis=1)
    return Parity(
        backend,
        encoder.precision,
        min(*text_cosines, _least_cosine(exported.texts, reference.texts)),
        min(*view_cosines, _least_cosine(exported.views, reference.views)),
        _overlap(reference, exported),
        float(np.abs(lengths - 1.0).max()),
        reference.view_s / exported.view_s,
    )


def _in_batches(encode: Callable[[slice], NDArray[np.float32]], count: int, batch_size: int) -> NDArray[np.float32]:
    return np.concatenate([encode(slice(start, start + batch_size)) for start in range(0, count, batch_size)])


def _least_cosine(got: NDArray[np.float32], expected: NDArray[np.float32]) -> float:
    return float(np.sum(got.astype(np.float64) * expected, axis=1).min())


def _overlap(reference: Vectors, exported: Vectors) -> float:
    pairs = zip(_nearest(reference), _nearest(exported), strict=True)
    return float(np.mean([len(set(expected) & set(got)) / len(expected) for expected, got in pairs]))


def _nearest(vectors: Vectors) -> list[list[int]]:
    """For each text the pictures nearest to it."""
    similarity = vectors.texts @ vectors.views.T
    return [list(row) for row in np.argsort(-similarity, axis=1)[:, :_HITS].tolist()]

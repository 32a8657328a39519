"""The self-test of a model, run once before the first request. Imports no torch."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from sidecar.batching.encoder import Encoder
from sidecar.errors import DeviceError, DeviceLost, DeviceOutOfMemory, ModelError
from sidecar.model.golden import read_golden
from sidecar.model.precision import MIN_COSINE, Precision
from sidecar.model.probes import SELF_TEST_TEXTS, draw_probe_views

_MAX_LENGTH_ERROR = 1e-4
# Random weights may give similar vectors; a model that ignores its input gives equal ones.
_MAX_COSINE_OF_DIFFERENT_INPUTS = 0.99999

_MISMATCH_ERRORS = (ValueError, TypeError, LookupError, AttributeError, AssertionError)
"""Errors of a model whose configuration is inconsistent, for instance in sizes or shapes."""


@runtime_checkable
class _HasPrecision(Protocol):
    """An encoder that says in which number format it computes."""

    @property
    def precision(self) -> Precision: ...


def run_self_test(encoder: Encoder, golden: Path | None) -> None:
    """Encodes fixed inputs alone and in a batch, and compares the vectors, also with the golden vectors if given.

    Takes as long as a few views. Raises ModelError that says what is wrong; and DeviceLost or DeviceOutOfMemory, which
    may not occur in another process.
    """
    min_cosine = MIN_COSINE[encoder.precision if isinstance(encoder, _HasPrecision) else "fp32"]
    try:
        _check_texts(encoder, min_cosine)
        _check_views(encoder, min_cosine)
        if golden is not None:
            _check_golden(encoder, golden, min_cosine)
    except DeviceError as error:
        message = f"self-test of {encoder.model_id}: the device failed: {error}"
        is_transient = isinstance(error, DeviceLost | DeviceOutOfMemory)
        raise (type(error) if is_transient else ModelError)(message) from error
    except _MISMATCH_ERRORS as error:
        raise ModelError(f"self-test of {encoder.model_id}: the model cannot encode: {error!r}") from error


def _check_texts(encoder: Encoder, min_cosine: float) -> None:
    prepared = encoder.prepare_texts(SELF_TEST_TEXTS)
    lengths = {text.token_ids.shape for text in prepared}
    if len(lengths) != 1:
        raise ModelError(f"self-test of {encoder.model_id}: texts are not padded to one length, but to {lengths}")
    batch = encoder.encode_texts(prepared)
    _check_vectors(encoder, "texts", batch, len(prepared))
    _check_agreement(encoder, "a text alone and in a batch", encoder.encode_texts(prepared[:1]), batch[:1], min_cosine)


def _check_views(encoder: Encoder, min_cosine: float) -> None:
    views = draw_probe_views(encoder.view_size)
    batch = encoder.encode_views(views)
    _check_vectors(encoder, "pictures", batch, len(views))
    _check_agreement(encoder, "a picture alone and in a batch", encoder.encode_views(views[:1]), batch[:1], min_cosine)


def _check_golden(encoder: Encoder, path: Path, min_cosine: float) -> None:
    golden = read_golden(path)
    texts = encoder.encode_texts(encoder.prepare_texts(golden.texts))
    _check_agreement(encoder, f"texts and the golden vectors in {path}", texts, golden.text_vectors, min_cosine)
    # With a different VISION_SIZE pictures have different vectors; the texts still show whether the weights are intact.
    if golden.view_size == encoder.view_size:
        views = encoder.encode_views(draw_probe_views(golden.view_size))
        _check_agreement(encoder, f"pictures and the golden vectors in {path}", views, golden.view_vectors, min_cosine)


def _check_vectors(encoder: Encoder, what: str, vectors: NDArray[np.float32], count: int) -> None:
    """Checks shape, finiteness and unit length, and that the first two vectors differ."""
    if vectors.shape != (count, encoder.dimensions):
        raise ModelError(
            f"self-test of {encoder.model_id}: {what} give shape {vectors.shape}, not {encoder.dimensions}"
        )
    if not np.isfinite(vectors).all():
        raise ModelError(f"self-test of {encoder.model_id}: vectors of {what} are not finite; try MODEL_PRECISION=fp32")
    length_error = float(np.abs(np.linalg.norm(vectors, axis=1) - 1.0).max())
    if not length_error <= _MAX_LENGTH_ERROR:  # also for NaN
        raise ModelError(f"self-test of {encoder.model_id}: vectors of {what} are off unit length by {length_error}")
    if float(vectors[0] @ vectors[1]) > _MAX_COSINE_OF_DIFFERENT_INPUTS:
        raise ModelError(f"self-test of {encoder.model_id}: different {what} give the same vector")


def _check_agreement(
    encoder: Encoder, what: str, got: NDArray[np.float32], expected: NDArray[np.float32], min_cosine: float
) -> None:
    """Raises ModelError unless every pair of vectors has a cosine of at least `min_cosine`."""
    if got.shape != expected.shape:
        raise ModelError(f"self-test of {encoder.model_id}: {what} differ in shape: {got.shape}, {expected.shape}")
    cosine = float(np.sum(got * expected, axis=1).min())
    if not cosine >= min_cosine:
        raise ModelError(
            f"self-test of {encoder.model_id}: {what} agree only to a cosine of {cosine:.5f}, "
            f"at least {min_cosine} is expected: are weights, tokenizer and preprocessing those of one model?"
        )

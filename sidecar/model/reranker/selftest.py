"""The self-test of a cross-encoder, run once after it is loaded. Imports no torch."""

from __future__ import annotations

from typing import Protocol

import numpy as np

from sidecar.batching.encoder import PairScorer
from sidecar.errors import DeviceError, DeviceLost, ModelError, TextRejected
from sidecar.model.precision import Precision

_QUERY = "how many people live in the city"
_DOCUMENTS = (
    "It has 3.5 million inhabitants.",
    "The city is known for its museums, its parks and the river.",  # similar enough in length to be padded together
    "word " * 40_000,  # longer than any model reads
)

# Greatest difference between two scores of one pair: absolute for scores from -1 to 1, relative for larger ones.
_TOLERANCE: dict[Precision, float] = {"fp32": 2e-3, "fp16": 2e-2, "bf16": 1.5e-1}


class PreciseScorer(PairScorer, Protocol):
    """A scorer with a known number format."""

    @property
    def precision(self) -> Precision: ...


def run_pair_self_test(scorer: PreciseScorer) -> None:
    """Scores pairs alone and together, the longest of them as long as the model's limit.

    Takes as long as a few pairs. Raises ModelError that says what is wrong, and DeviceLost.
    """
    try:
        pairs = scorer.prepare_pairs(_QUERY, _DOCUMENTS)
        together = scorer.score_pairs(pairs)
        alone = np.concatenate([scorer.score_pairs([pair]) for pair in pairs])
    except DeviceLost:
        raise
    except (DeviceError, TextRejected) as error:
        raise ModelError(f"self-test of {scorer.model_id}: {error}") from error
    if not np.isfinite(together).all():
        raise ModelError(f"self-test of {scorer.model_id}: scores are not finite; try MODEL_PRECISION=fp32")
    difference = float((np.abs(alone - together) / np.maximum(np.abs(together), 1)).max())
    if not difference <= _TOLERANCE[scorer.precision]:
        raise ModelError(f"self-test of {scorer.model_id}: a pair alone and among others differs by {difference:.3g}")
    if float(np.ptp(together)) == 0:
        raise ModelError(f"self-test of {scorer.model_id}: different documents have the same score")

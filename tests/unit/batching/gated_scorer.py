"""A cross-encoder on the device of a gated encoder."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from sidecar.batching.encoder import PreparedPair
from tests.unit.batching.gated_encoder import GatedEncoder
from tests.unit.batching.jobs import labelled_pair


def score_of(label: int) -> float:
    """The score of the pair with this label."""
    return label / 8 - 3


class GatedScorer:
    """A PairScorer whose micro-batches are recorded and released by the encoder, as "pairs"."""

    model_id = "gated scorer"

    def __init__(self, device: GatedEncoder) -> None:
        self._device = device

    def prepare_pairs(
        self, query: str, documents: Sequence[str], max_document_tokens: int | None = None
    ) -> list[PreparedPair]:
        del query, max_document_tokens
        return [labelled_pair(int(document)) for document in documents]

    def score_pairs(self, pairs: Sequence[PreparedPair]) -> NDArray[np.float32]:
        labels = [int(pair.token_ids[0]) for pair in pairs]
        self._device.run_micro_batch("pairs", labels)
        return np.array([score_of(label) for label in labels], np.float32)

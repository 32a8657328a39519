"""The models behind the endpoints."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

from sidecar.batching.embedder import Embedder
from sidecar.batching.encoder import PairScale
from sidecar.batching.job import Lane
from sidecar.batching.lane_queue import LaneDepth
from sidecar.batching.reranker import Reranker
from sidecar.errors import InputError


@dataclass(frozen=True, slots=True)
class ModelInfo:
    """A model, as named in answers. `fingerprint` identifies its vector space."""

    id: str
    fingerprint: str
    dim: int


@dataclass(frozen=True, slots=True)
class Models:
    """The open models: one embeds, and unless RERANK=off one reranks.

    `pair_scale` turns the cosine of a text and a picture into the probability that they belong together. With
    `uses_tta`, a picture's vector is the mean of several views, for which that scale was not trained. `lane_depth`
    reads how full a lane is.
    """

    embedder: Embedder
    embedding_model: ModelInfo
    lane_depth: Callable[[Lane], LaneDepth]
    pair_scale: PairScale | None = None
    uses_tta: bool = False
    reranker: Reranker | None = None

    def require_reranker(self) -> Reranker:
        """Raises InputError (`rerank_disabled`, a 404) if RERANK=off."""
        if self.reranker is None:
            message = (
                "Reranking is switched off here (RERANK=off). Set RERANK=first_use or RERANK=start, and "
                "RERANK_MODEL_ID to the cross-encoder to use."
            )
            raise InputError("rerank_disabled", message)
        return self.reranker


GetModels: TypeAlias = Callable[[], Models]
"""Returns the open models, also while the process stops: requests are in flight. Raises NotReady while queries cannot
be embedded."""

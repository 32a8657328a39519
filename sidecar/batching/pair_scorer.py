"""The seam between the batcher and a cross-encoder."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray


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

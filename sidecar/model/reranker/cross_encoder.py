"""Scores pairs of query and document with a cross-encoder on its device."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from sidecar.batching.encoder import PreparedPair
from sidecar.errors import DeviceError
from sidecar.model.device import ComputeDevice
from sidecar.model.device_faults import DEVICE_FAULTS, translate_fault
from sidecar.model.precision import Precision
from sidecar.model.reranker.pair_tokenizer import PairTokenizer

logger = logging.getLogger(__name__)


class CrossEncoderScorer:
    """Satisfies `sidecar.batching.encoder.PairScorer`. One thread at a time may call `score_pairs`.

    `model` is a sentence-transformers CrossEncoder with one label. `reads_segments`: it takes segment ids, besides the
    separators between query and document.
    """

    def __init__(
        self, model: Any, tokenizer: PairTokenizer, model_id: str, compute: ComputeDevice, *, reads_segments: bool
    ) -> None:
        self._model = model
        self._tokenizer = tokenizer
        self._model_id = model_id
        self._compute = compute
        self._reads_segments = reads_segments
        self._padding_id = int(model.tokenizer.pad_token_id or 0)

    @property
    def model_id(self) -> str:
        return self._model_id

    @property
    def precision(self) -> Precision:
        return self._compute.precision

    @property
    def device_name(self) -> str:
        return self._compute.name

    def prepare_pairs(
        self, query: str, documents: Sequence[str], max_document_tokens: int | None = None
    ) -> list[PreparedPair]:
        """One per document, in order. Thread-safe. Raises TextRejected (`query_too_long`)."""
        return self._tokenizer.prepare(query, documents, max_document_tokens)

    def score_pairs(self, pairs: Sequence[PreparedPair]) -> NDArray[np.float32]:
        """(n,) float32 logits in the order of `pairs`. Raises DeviceError, DeviceOutOfMemory."""
        scores = np.empty(len(pairs), np.float32)
        for group in group_by_length([len(pair.token_ids) for pair in pairs]):
            scores[group] = self._score([pairs[index] for index in group])
        return scores

    def _score(self, pairs: Sequence[PreparedPair]) -> NDArray[np.float32]:
        features = {
            "input_ids": _pad([pair.token_ids for pair in pairs], self._padding_id),
            "attention_mask": _pad([np.ones_like(pair.token_ids) for pair in pairs], 0),
        }
        if self._reads_segments:
            features["token_type_ids"] = _pad([pair.segment_ids for pair in pairs], 0)
        try:
            with torch.inference_mode():
                on_device = {name: torch.from_numpy(rows).to(self._compute.device) for name, rows in features.items()}
                logits = self._model(on_device)["scores"]
                scores: NDArray[np.float32] = logits.to(torch.float32).reshape(len(pairs)).cpu().numpy()
        except DEVICE_FAULTS as error:
            raise translate_fault(error) from error
        except Exception as error:
            # A broken reranking model must not affect other models: the device continues with their work.
            logger.exception("The reranking model failed.")
            raise DeviceError("The reranking model failed; the log has more.") from error
        return scores


def group_by_length(lengths: Sequence[int]) -> list[list[int]]:
    """Groups of indexes to pad together, in each of which the longest is at most twice as long as the shortest.

    So less than half of a padded group is padding, and lengths from 16 to 512 tokens form at most five groups.
    """
    groups: list[list[int]] = []
    shortest = 0
    for index in sorted(range(len(lengths)), key=lengths.__getitem__):
        if not groups or lengths[index] > 2 * shortest:
            groups.append([])
            shortest = lengths[index]
        groups[-1].append(index)
    return groups


def _pad(rows: Sequence[NDArray[np.int64]], value: int) -> NDArray[np.int64]:
    padded = np.full((len(rows), max(map(len, rows))), value, np.int64)
    for row, target in zip(rows, padded, strict=True):
        target[: len(row)] = row
    return padded

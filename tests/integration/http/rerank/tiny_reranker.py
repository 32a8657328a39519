"""A tiny cross-encoder for the service, and its expected scores."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from sentence_transformers import CrossEncoder

from tests.tiny_models.cross_encoder import make_tiny_cross_encoder

QUERY = "where is the red bicycle"
DOCUMENTS = [
    "a small dog",
    "a red bicycle",
    "the old lighthouse at dusk, a large city behind it",
    "x",
    "a blue mug",
    "a red bicycle",
]


class TinyReranker:
    """Settings of a service with a tiny cross-encoder, and that model's scores."""

    def __init__(self, folder: Path) -> None:
        self.model_id = f"local-dir:{make_tiny_cross_encoder(folder)}"
        self.settings: Mapping[str, Any] = {
            "rerank_model_id": self.model_id,
            "require_cuda": False,
            "model_precision": "fp32",
        }
        self._model = CrossEncoder(str(folder), device="cpu", local_files_only=True)

    def predict(self, query: str, documents: Sequence[str]) -> NDArray[np.float32]:
        """The raw scores, as sentence-transformers computes them."""
        pairs = [(query, document) for document in documents]
        options = {"activation_fn": torch.nn.Identity(), "show_progress_bar": False}
        return np.asarray(self._model.predict(pairs, **options), np.float32)


def sigmoid(raw: NDArray[np.float32]) -> NDArray[np.float64]:
    return np.asarray(1 / (1 + np.exp(-raw.astype(np.float64))))


def best_first(scores: Sequence[float] | NDArray[Any]) -> list[int]:
    return sorted(range(len(scores)), key=lambda index: -scores[index])

"""Encodes token ids and pixels to unit vectors with the graphs of an export."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from sidecar.batching.encoder import PreparedText
from sidecar.model.identity import IdentifiedEncoder, ModelIdentity
from sidecar.model.precision import Precision
from sidecar.model.text.tokenizer import TextTokenizer

_MIN_NORM = 1e-12  # as torch.nn.functional.normalize has it: a row of zeros stays one


class Graph(Protocol):
    """A tower that a runtime has loaded. Raises DeviceError, DeviceOutOfMemory, DeviceLost."""

    def run(self, batch: NDArray[Any]) -> NDArray[np.float32]:
        """(n, …) of what the graph reads → (n, dimensions) float32, not normalised."""
        ...


@dataclass(frozen=True, slots=True)
class LoadedGraphs:
    """Both towers on their device. `device_name` is for display; `precision` is the number format computed in."""

    image: Graph
    text: Graph
    device_name: str
    precision: Precision


class ExportedEncoder(IdentifiedEncoder):
    """Satisfies `sidecar.batching.encoder.Encoder`. One thread at a time may call `encode_*`."""

    def __init__(self, graphs: LoadedGraphs, tokenizer: TextTokenizer, identity: ModelIdentity) -> None:
        super().__init__(identity)
        self._graphs = graphs
        self._tokenizer = tokenizer

    @property
    def precision(self) -> Precision:
        return self._graphs.precision

    @property
    def device_name(self) -> str:
        return self._graphs.device_name

    @property
    def device_id(self) -> str:
        """`cuda:0` or `cpu`: the runtimes know no other name."""
        return self._graphs.device_name

    def device_memory(self) -> Mapping[str, int]:
        """Empty: the runtimes do not report it."""
        return {}

    def prepare_texts(self, texts: Sequence[str]) -> list[PreparedText]:
        """One per text, in order. Thread-safe."""
        return self._tokenizer.prepare(texts)

    def encode_texts(self, texts: Sequence[PreparedText]) -> NDArray[np.float32]:
        """(n, dimensions) float32, of unit length unless not finite or zero.

        Raises DeviceError, DeviceOutOfMemory, DeviceLost.
        """
        if not texts:
            return self._no_vectors()
        token_ids = np.stack([text.token_ids for text in texts]).astype(np.int32)
        return _normalise(self._graphs.text.run(token_ids))

    def encode_views(self, views: NDArray[np.uint8]) -> NDArray[np.float32]:
        """`views` is (n, view_size, view_size, 3) uint8 RGB; returns (n, dimensions) float32, as `encode_texts` does.

        Raises DeviceError, DeviceOutOfMemory, DeviceLost.
        """
        if not len(views):
            return self._no_vectors()
        return _normalise(self._graphs.image.run(np.ascontiguousarray(views)))

    def _no_vectors(self) -> NDArray[np.float32]:
        return np.empty((0, self.dimensions), dtype=np.float32)


def _normalise(features: NDArray[np.float32]) -> NDArray[np.float32]:
    """Rows of unit length, outside the graph: in bf16 the lengths would be off by 0.5 %."""
    features = features.astype(np.float32, copy=False)
    norms = np.linalg.norm(features, axis=1, keepdims=True)
    return np.asarray(features / np.maximum(norms, _MIN_NORM), np.float32)

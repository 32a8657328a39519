"""A device that takes a fixed time per micro-batch, and a record of its use that other processes can read."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self
from zlib import crc32

import numpy as np
from numpy.typing import NDArray

from sidecar.batching.encoder import Encoder, PreparedText
from tests.encoders import HashEncoder

VIEW_SIZE = 64
_INSTANT_VECTORS = 4096
_SAMPLED = 16  # every 16th pixel per axis of a view is hashed; hashing all would keep a core busy


@dataclass(frozen=True, slots=True)
class DeviceTime:
    """Totals of a device. `text_s` and `picture_s` are the seconds it was busy with each."""

    micro_batches: float
    text_s: float
    picture_s: float
    texts: float
    views: float

    def since(self, earlier: Self) -> Self:
        return type(self)(
            self.micro_batches - earlier.micro_batches,
            self.text_s - earlier.text_s,
            self.picture_s - earlier.picture_s,
            self.texts - earlier.texts,
            self.views - earlier.views,
        )


class DeviceRecord:
    """Counters in a memory-mapped file, written by the device thread only and read by any process."""

    def __init__(self, path: Path) -> None:
        if not path.exists():
            path.write_bytes(bytes(5 * 8))
        self._counters = np.memmap(path, np.float64, "r+")

    def add(self, texts: int, views: int, duration_s: float) -> None:
        self._counters += (1, duration_s * (texts > 0), duration_s * (views > 0), texts, views)

    def read(self) -> DeviceTime:
        return DeviceTime(*map(float, self._counters))


class BatchTimedEncoder(HashEncoder):
    """Takes `batch_ms` per micro-batch and `view_ms` per text or view in it, while the CPU is idle, as a GPU would.

    Without `view_ms` it is a GPU that one request cannot fill.
    """

    def __init__(self, batch_ms: float, view_ms: float = 0.0) -> None:
        super().__init__("batch-timed", view_size=VIEW_SIZE)
        self.batch_ms = batch_ms
        self.view_ms = view_ms

    def encode_views(self, views: NDArray[np.uint8]) -> NDArray[np.float32]:
        return self._encode(view[::_SAMPLED, ::_SAMPLED].tobytes() for view in views)

    def _encode(self, contents: Iterable[bytes]) -> NDArray[np.float32]:
        began = time.perf_counter()
        vectors = super()._encode(contents)
        self.calls.clear()
        ends = began + (self.batch_ms + len(vectors) * self.view_ms) / 1000
        time.sleep(max(ends - time.perf_counter(), 0))
        return vectors


class InstantEncoder(HashEncoder):
    """Takes no time worth mentioning, so the database is the limit: each text has one of 4,096 random vectors."""

    def __init__(self, dimensions: int) -> None:
        super().__init__("instant", dimensions=dimensions)
        vectors = np.random.default_rng(0).standard_normal((_INSTANT_VECTORS, dimensions)).astype(np.float32)
        self._vectors: NDArray[np.float32] = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)

    def prepare_texts(self, texts: Sequence[str]) -> list[PreparedText]:
        numbers = (np.array([crc32(text.encode()) % _INSTANT_VECTORS], np.int64) for text in texts)
        return [PreparedText(number, truncated=False, blank=False, tokens=1) for number in numbers]

    def encode_texts(self, texts: Sequence[PreparedText]) -> NDArray[np.float32]:
        vectors: NDArray[np.float32] = self._vectors[[int(text.token_ids[0]) for text in texts]]
        return vectors


class RecordedEncoder:
    """An encoder that records how long it was busy."""

    def __init__(self, encoder: Encoder, record: DeviceRecord) -> None:
        self.model_id = encoder.model_id
        self.fingerprint = encoder.fingerprint
        self.dimensions = encoder.dimensions
        self.view_size = encoder.view_size
        self.pair_scale = encoder.pair_scale
        self._encoder = encoder
        self._record = record

    def prepare_texts(self, texts: Sequence[str]) -> list[PreparedText]:
        return self._encoder.prepare_texts(texts)

    def encode_texts(self, texts: Sequence[PreparedText]) -> NDArray[np.float32]:
        began = time.perf_counter()
        vectors = self._encoder.encode_texts(texts)
        self._record.add(len(texts), 0, time.perf_counter() - began)
        return vectors

    def encode_views(self, views: NDArray[np.uint8]) -> NDArray[np.float32]:
        began = time.perf_counter()
        vectors = self._encoder.encode_views(views)
        self._record.add(0, len(views), time.perf_counter() - began)
        return vectors

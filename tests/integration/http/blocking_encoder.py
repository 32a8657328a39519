"""An encoder that a test can block or make fail once the application is ready."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from sidecar.batching.encoder import PreparedText
from tests.encoders import HashEncoder


class BlockingEncoder(HashEncoder):
    """A HashEncoder whose calls block from `hold` until `release`; `fault` creates the error that they raise."""

    def __init__(self) -> None:
        super().__init__()
        self.entered = threading.Event()
        self.fault: Callable[[], Exception] | None = None
        self.prepare_fault: Exception | None = None
        self._free = threading.Event()
        self._free.set()

    def hold(self) -> None:
        self.entered.clear()
        self._free.clear()

    def release(self) -> None:
        self._free.set()

    def prepare_texts(self, texts: Sequence[str]) -> list[PreparedText]:
        if self.prepare_fault is not None:
            raise self.prepare_fault
        return super().prepare_texts(texts)

    def _encode(self, contents: Iterable[bytes]) -> NDArray[np.float32]:
        self.entered.set()
        assert self._free.wait(30), "the test never released the device"
        if self.fault is not None:
            raise self.fault()
        return super()._encode(contents)

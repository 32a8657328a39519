"""Devices of the replicas. Ray loads these functions by name, in processes of its own."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from sidecar.batching.encoder import PreparedText
from sidecar.config import Settings
from sidecar.errors import DeviceLost, ModelError
from tests.encoders import TimedEncoder
from tests.integration.ingest.composition import DIMENSIONS

FATAL_TEXT = "pull the plug"
TEXT_MS = 10.0


class FragileEncoder(TimedEncoder):
    """A device of 100 texts a second, which is lost when it is given FATAL_TEXT."""

    def __init__(self) -> None:
        super().__init__(TEXT_MS, dimensions=DIMENSIONS)
        self._fatal = self.prepare_texts([FATAL_TEXT])[0].token_ids.tobytes()

    def encode_texts(self, texts: Sequence[PreparedText]) -> NDArray[np.float32]:
        if any(text.token_ids.tobytes() == self._fatal for text in texts):
            raise DeviceLost("the plug was pulled")
        return super().encode_texts(texts)


def load_timed(_settings: Settings) -> TimedEncoder:
    return FragileEncoder()


def fail_to_load(_settings: Settings) -> TimedEncoder:
    raise ModelError("there is no model of that name")

"""`sidecar serve` with an encoder that reports its calls to the parent process. Its argument is JSON:

    settings    of the process
    model_id    of the HashEncoder
    view_ms     time that the device takes for a text
    dimensions  of its vectors, by default 16
    hold        a text that the device never finishes; {"event": "holding"} reports that it has started

Every line on stdout is JSON: {"event": "encoding", "texts": […]} for each call.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sidecar.batching.encoder import PreparedText
from sidecar.config import Settings
from sidecar.server import serve
from tests.encoders import TimedEncoder
from tests.integration.ingest.composition import DIMENSIONS


def say(**message: Any) -> None:
    sys.stdout.write(json.dumps(message) + "\n")
    sys.stdout.flush()


class TellingEncoder(TimedEncoder):
    """Reports what it encodes, and blocks forever on the text `hold`."""

    def __init__(self, model_id: str, view_ms: float, hold: str | None, dimensions: int) -> None:
        super().__init__(view_ms, model_id, dimensions=dimensions)
        self._texts: dict[bytes, str] = {}
        self._hold = hold

    def prepare_texts(self, texts: Sequence[str]) -> list[PreparedText]:
        prepared = super().prepare_texts(texts)
        for text, each in zip(texts, prepared, strict=True):
            self._texts[each.token_ids.tobytes()] = text
        return prepared

    def _encode(self, contents: Iterable[bytes]) -> NDArray[np.float32]:
        contents = list(contents)
        texts = [self._texts.get(content, "") for content in contents]
        if self._hold in texts:
            say(event="holding")
            time.sleep(3600)
        say(event="encoding", texts=texts)
        return super()._encode(contents)


def main() -> None:
    wanted = json.loads(sys.argv[1])
    encoder = TellingEncoder(
        wanted["model_id"], wanted["view_ms"], wanted["hold"], wanted.get("dimensions", DIMENSIONS)
    )
    sys.exit(serve(Settings(**wanted["settings"]), load_encoder=lambda _settings: encoder))


if __name__ == "__main__":
    main()

"""Loads the models named on the command line, one after the other, and prints a line of JSON for each.

Run in a separate process, because the library reads the hub's address and cache from the environment on import.
"""

from __future__ import annotations

import json
import os
import sys
import time

from sidecar.config import load_settings
from sidecar.errors import ModelError
from sidecar.model.loading import load_encoder


def load(model_id: str) -> dict[str, object]:
    started = time.monotonic()
    try:
        encoder = load_encoder(load_settings({**os.environ, "VISION_MODEL_ID": model_id}))
        outcome = {"fingerprint": encoder.fingerprint}
    except ModelError as error:
        outcome = {"error": str(error)}
    return {"model_id": model_id, "seconds": time.monotonic() - started, **outcome}


if __name__ == "__main__":
    for argument in sys.argv[1:]:
        sys.stdout.write(json.dumps(load(argument)) + "\n")

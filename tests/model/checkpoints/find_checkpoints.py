"""Finds the models named on the command line, without loading them, and prints a line of JSON for each.

Run in a separate process, because the library reads the hub's address and cache from the environment on import.
"""

from __future__ import annotations

import json
import sys

from sidecar.errors import ModelError
from sidecar.model.checkpoints.checkpoint import find_checkpoint


def find(model_id: str) -> dict[str, object]:
    try:
        checkpoint = find_checkpoint(model_id, None)
    except ModelError as error:
        return {"model_id": model_id, "error": str(error)}
    return {
        "model_id": model_id,
        "source": checkpoint.source,
        "weights": checkpoint.weights.read_text(),
        "image_size": checkpoint.model_cfg["vision_cfg"]["image_size"],
        "vocabulary_size": checkpoint.vocabulary_size,
        "has_tokenizer": checkpoint.tokenizer is not None,
    }


if __name__ == "__main__":
    for argument in sys.argv[1:]:
        sys.stdout.write(json.dumps(find(argument)) + "\n")

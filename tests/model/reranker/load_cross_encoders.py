"""Loads the cross-encoders named on the command line, one after the other, and prints a line of JSON for each.

Run in a separate process, because the library reads the hub's address and cache from the environment on import.
"""

from __future__ import annotations

import json
import os
import sys

from sidecar.config import load_settings
from sidecar.errors import ModelError
from sidecar.model.reranker.loading import load_cross_encoder


def load(model_id: str) -> dict[str, object]:
    try:
        scorer = load_cross_encoder(load_settings({**os.environ, "RERANK_MODEL_ID": model_id}))
        scores = scorer.score_pairs(scorer.prepare_pairs("a red bicycle", ["a dog", "a bicycle"]))
    except ModelError as error:
        return {"model_id": model_id, "error": str(error)}
    return {"model_id": model_id, "scores": scores.tolist()}


if __name__ == "__main__":
    for argument in sys.argv[1:]:
        sys.stdout.write(json.dumps(load(argument)) + "\n")

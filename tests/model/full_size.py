"""The architecture of the default model, with random weights."""

from __future__ import annotations

from pathlib import Path

import open_clip

from tests.tiny_models.open_clip_model import write_random_model

FULL_SIZE_NAME = "ViT-SO400M-14-SigLIP-384"


def make_full_size_model(directory: Path) -> None:
    """Writes a `local-dir:` model of 878 million random weights: 3.5 GB, in half a minute, with 8 GB of memory."""
    directory.mkdir(parents=True, exist_ok=True)
    model_cfg = {**open_clip.get_model_config(FULL_SIZE_NAME), "custom_text": True}
    write_random_model(directory, model_cfg, seed=0)

"""The architecture of the towers, as an open_clip configuration."""

from __future__ import annotations

import copy
import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import open_clip

from sidecar.model.checkpoints.checkpoint import CONFIG_NAME

EMBED_DIM = 1152
"""The same as the product's default model, so that the demo's table has the same column type."""
_HEAD_WIDTH = 64
_PREPROCESS_CFG = {"mean": [0.5] * 3, "std": [0.5] * 3, "interpolation": "bicubic", "resize_mode": "squash"}


@dataclass(frozen=True, slots=True)
class Shape:
    """Lengths in pixels, tokens and channels. Widths are multiples of 64."""

    image_size: int = 112
    patch_size: int = 16
    vision_width: int = 192
    vision_layers: int = 7
    context_length: int = 32
    vocabulary_size: int = 3000
    text_width: int = 192
    text_layers: int = 3


def make_model_cfg(shape: Shape) -> dict[str, Any]:
    """The configuration of an exported model: a ViT, and a bidirectional text transformer pooled at its last, padded
    position, as SigLIP's is. During training the text projection also has a bias.
    """
    return {
        "embed_dim": EMBED_DIM,
        "init_logit_bias": -10,
        "custom_text": True,
        "vision_cfg": {
            "image_size": shape.image_size,
            "patch_size": shape.patch_size,
            "width": shape.vision_width,
            "layers": shape.vision_layers,
            "head_width": _HEAD_WIDTH,
            "pool_type": "avg",
        },
        "text_cfg": {
            "context_length": shape.context_length,
            "vocab_size": shape.vocabulary_size,
            "hf_tokenizer_name": "demo",
            "tokenizer_kwargs": {"clean": "canonicalize"},
            "width": shape.text_width,
            "heads": shape.text_width // _HEAD_WIDTH,
            "layers": shape.text_layers,
            "no_causal_mask": True,
            "pool_type": "last",
        },
    }


def build_towers(shape: Shape) -> Any:
    """An open_clip model for training, initialised from torch's global generator."""
    architecture = copy.deepcopy(make_model_cfg(shape))
    del architecture["custom_text"]
    architecture["text_cfg"]["proj_bias"] = True
    # SigLIP's initial scale is 10.
    return open_clip.CustomTextCLIP(**architecture, init_logit_scale=math.log(10))


def write_config(directory: Path, shape: Shape) -> None:
    """Writes open_clip_config.json."""
    config = {"model_cfg": make_model_cfg(shape), "preprocess_cfg": _PREPROCESS_CFG}
    (directory / CONFIG_NAME).write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")

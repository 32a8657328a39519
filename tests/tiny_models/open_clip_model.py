"""A tiny model for tests, written in a moment: 1.2 million random weights in SigLIP's architecture."""

from __future__ import annotations

import copy
import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import open_clip
import torch
from numpy.typing import NDArray
from safetensors.torch import save_file

from sidecar.config import Settings
from sidecar.model.checkpoints.checkpoint import CONFIG_NAME
from sidecar.model.checkpoints.local_directory import LOCAL_PREFIX
from sidecar.model.device import ComputeDevice
from sidecar.model.golden import GOLDEN_NAME, write_golden
from sidecar.model.loading import load_encoder_on
from tests.tiny_models.tokenizer import write_tiny_tokenizer

_VOCABULARY_SIZE = 1000
_MODEL_CFG: dict[str, Any] = {
    "embed_dim": 1152,
    "init_logit_bias": -10,
    "custom_text": True,
    "vision_cfg": {
        "timm_model_name": "test_vit3",
        "image_size": 160,
        "timm_pool": "map",
        "timm_proj": "linear",
    },
    "text_cfg": {
        "context_length": 64,
        "vocab_size": _VOCABULARY_SIZE,
        "hf_tokenizer_name": "tiny",
        "tokenizer_kwargs": {"clean": "canonicalize"},
        "width": 64,
        "heads": 2,
        "layers": 2,
        "no_causal_mask": True,
        "proj_bias": True,
        "pool_type": "last",
    },
}
_PREPROCESS_CFG = {"mean": [0.5] * 3, "std": [0.5] * 3, "interpolation": "bicubic", "resize_mode": "squash"}

# Large enough that other texts, pixels and padding give clearly different vectors, unlike a model initialised for
# training; small enough that bf16 stays close (cosine to fp32 above 0.999).
_ATTENTION_GAIN = 1.5
_POSITION_STD = 0.3


def make_tiny_model(directory: Path, seed: int = 0) -> None:
    """Writes an open_clip `local-dir:` model of 5 MB with its tokenizer, and its golden vectors last.

    It gives meaningless (n, 1152) vectors, always the same for a seed. Views are 160 pixels square.
    """
    directory.mkdir(parents=True, exist_ok=True)
    write_random_model(directory, _MODEL_CFG, seed)
    cpu = ComputeDevice(torch.device("cpu"), "fp32")
    encoder = load_encoder_on(cpu, Settings(vision_model_id=f"{LOCAL_PREFIX}{directory}"))
    write_golden(encoder, directory / GOLDEN_NAME)


def write_random_model(directory: Path, model_cfg: Mapping[str, Any], seed: int) -> None:
    """Writes configuration, tokenizer and random weights of a SigLIP architecture with at least 1000 tokens."""
    config = {"model_cfg": model_cfg, "preprocess_cfg": _PREPROCESS_CFG}
    (directory / CONFIG_NAME).write_text(json.dumps(config, indent=2), encoding="utf-8")
    write_tiny_tokenizer(directory, _VOCABULARY_SIZE, model_cfg["text_cfg"]["context_length"])
    save_file(_draw_weights(model_cfg, seed), directory / "open_clip_model.safetensors")


def _draw_weights(model_cfg: Mapping[str, Any], seed: int) -> dict[str, torch.Tensor]:
    # numpy's generator gives the same numbers on every machine, unlike torch's initialisation.
    generator = np.random.default_rng(seed)
    architecture = {key: value for key, value in copy.deepcopy(dict(model_cfg)).items() if key != "custom_text"}
    state: dict[str, torch.Tensor] = open_clip.CustomTextCLIP(**architecture).state_dict()
    return {name: draw_weight(name, tensor, generator) for name, tensor in sorted(state.items())}


def draw_weight(name: str, tensor: torch.Tensor, generator: np.random.Generator) -> torch.Tensor:
    shape = tuple(tensor.shape)
    if not shape:  # scale and bias of the logits, which do not affect vectors
        return tensor
    if len(shape) == 1:  # biases, norms and layer scales
        return torch.zeros(shape) if name.endswith("bias") else torch.ones(shape)
    noise: NDArray[np.float32] = generator.standard_normal(shape, dtype=np.float32)
    return torch.from_numpy(noise * np.float32(_standard_deviation(name, shape)))


def _standard_deviation(name: str, shape: tuple[int, ...]) -> float:
    if "pos_embed" in name or "positional_embedding" in name:
        return _POSITION_STD
    if any(part in name for part in ("token_embedding", "latent", "reg_token")):
        return 1.0
    gain = _ATTENTION_GAIN if any(part in name for part in ("qkv", "in_proj", "attn_pool.q")) else 1.0
    return gain / math.sqrt(math.prod(shape[1:]))

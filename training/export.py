"""Exports a finished run as a model folder that the product loads."""

from __future__ import annotations

import shutil
from pathlib import Path

import torch
from safetensors.torch import save_file

from sidecar.config import Settings
from sidecar.model.checkpoints.local_directory import LOCAL_PREFIX
from sidecar.model.device import ComputeDevice
from sidecar.model.golden import GOLDEN_NAME, write_golden
from sidecar.model.loading import load_encoder_on
from training.architecture import Shape, write_config

WEIGHTS_NAME = "open_clip_model.safetensors"
_TOKENIZER_NAMES = ("tokenizer.json", "tokenizer_config.json")


def export_model(towers: torch.nn.Module, shape: Shape, tokenizer: Path, target: Path) -> None:
    """Writes weights in fp16, configuration, the tokenizer from folder `tokenizer`, and golden vectors."""
    target.mkdir(parents=True, exist_ok=True)
    write_config(target, shape)
    for name in _TOKENIZER_NAMES:
        shutil.copyfile(tokenizer / name, target / name)
    state = fold_projection_bias({name: value.detach().cpu() for name, value in towers.state_dict().items()})
    save_file({name: value.to(torch.float16).contiguous() for name, value in state.items()}, target / WEIGHTS_NAME)
    cpu = ComputeDevice(torch.device("cpu"), "fp32")
    encoder = load_encoder_on(cpu, Settings(vision_model_id=f"{LOCAL_PREFIX}{target}"))
    write_golden(encoder, target / GOLDEN_NAME)


def fold_projection_bias(state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Weights of the same function without a bias in the text projection, which open_clip cannot load in bf16.

    A normalised vector sums to zero, so one channel is determined by the others: it is freed to carry the bias.
    """
    weight, bias = state["text.text_projection.weight"].T, state["text.text_projection.bias"]
    gain, offset = state["text.ln_final.weight"], state["text.ln_final.bias"]
    scaled = gain[:, None] * weight  # (width, embed_dim): what each normalised channel contributes
    free = int(scaled.norm(dim=1).argmin())
    projection = scaled - scaled[free]
    projection[free] = offset @ weight + bias
    chosen = torch.zeros_like(gain).index_fill(0, torch.tensor([free]), 1.0)
    kept = {name: value for name, value in state.items() if not name.startswith("text.text_projection")}
    return {
        **kept,
        "text.ln_final.weight": 1.0 - chosen,
        "text.ln_final.bias": chosen,
        "text.text_projection": projection,
    }

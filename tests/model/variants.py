"""Modified copies of a model, and functions to load them."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file

from sidecar.config import Settings, load_settings
from sidecar.model.checkpoints.checkpoint import CONFIG_NAME
from sidecar.model.device import ComputeDevice
from sidecar.model.loading import load_encoder_on
from sidecar.model.open_clip_encoder import OpenClipEncoder
from sidecar.model.precision import Precision

WEIGHTS_NAME = "open_clip_model.safetensors"


def settings_for(directory: Path, **variables: str) -> Settings:
    """Settings with `directory` as the model and no GPU required."""
    return load_settings({"VISION_MODEL_ID": f"local-dir:{directory}", "REQUIRE_CUDA": "0", **variables})


def load_on_cpu(directory: Path, precision: Precision = "fp32", /, **variables: str) -> OpenClipEncoder:
    """Loads on the CPU even if there is a GPU, whose fp32 would be TF32."""
    return load_encoder_on(ComputeDevice(torch.device("cpu"), precision), settings_for(directory, **variables))


def copy_model(source: Path, target: Path) -> Path:
    shutil.copytree(source, target, dirs_exist_ok=True)
    return target


def edit_json(path: Path, edit: Callable[[dict[str, Any]], object]) -> None:
    content = json.loads(path.read_text())
    edit(content)
    path.write_text(json.dumps(content))


def edit_config(directory: Path, edit: Callable[[dict[str, Any]], object]) -> None:
    edit_json(directory / CONFIG_NAME, edit)


def edit_weights(directory: Path, name: str, edit: Callable[[torch.Tensor], torch.Tensor]) -> None:
    """Replaces one tensor of the weights file by `edit(tensor)`."""
    state = load_file(directory / WEIGHTS_NAME)
    state[name] = edit(state[name])
    save_file(state, directory / WEIGHTS_NAME)

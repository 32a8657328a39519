"""What a model expects of its pixels."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sidecar.errors import ModelError

_SIGLIP_CHANNEL = 0.5


@dataclass(frozen=True, slots=True)
class Preprocessing:
    """A pixel becomes `(value / 255 - mean) / std`, per channel RGB."""

    mean: tuple[float, float, float]
    std: tuple[float, float, float]


def read_preprocessing(model_cfg: Mapping[str, Any], preprocess_cfg: Mapping[str, Any]) -> Preprocessing:
    """Takes mean and std as the model states them. Raises ModelError where it wants pixels that we do not make."""
    # Our whole-picture view is squashed; a model trained on centre crops would get other vectors than open_clip's.
    _require(preprocess_cfg, "resize_mode", "squash")
    _require(preprocess_cfg, "interpolation", "bicubic")
    mean, std = _channels(preprocess_cfg, "mean"), _channels(preprocess_cfg, "std")
    if 0.0 in std:
        raise ModelError("preprocess_cfg.std holds a zero")
    trunk = str(model_cfg["vision_cfg"].get("timm_model_name", ""))
    if "siglip" in trunk and set(mean + std) != {_SIGLIP_CHANNEL}:
        raise ModelError(
            f"preprocess_cfg has mean {mean} and std {std}, but {trunk} was trained with {_SIGLIP_CHANNEL} throughout: "
            f"correct open_clip_config.json"
        )
    return Preprocessing(mean, std)


def _require(preprocess_cfg: Mapping[str, Any], key: str, value: str) -> None:
    if preprocess_cfg.get(key) != value:
        raise ModelError(f"preprocess_cfg.{key} is {preprocess_cfg.get(key)!r}: only {value!r} is supported")


def _channels(preprocess_cfg: Mapping[str, Any], key: str) -> tuple[float, float, float]:
    try:
        red, green, blue = (float(part) for part in preprocess_cfg[key])
    except (KeyError, TypeError, ValueError) as error:
        raise ModelError(f"preprocess_cfg.{key} is {preprocess_cfg.get(key)!r}: three numbers are expected") from error
    if not all(math.isfinite(part) for part in (red, green, blue)):
        raise ModelError(f"preprocess_cfg.{key} is {preprocess_cfg[key]!r}: three finite numbers are expected")
    return red, green, blue

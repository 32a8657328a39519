"""A model's preprocessing of pixels, from `preprocess_cfg` and open_clip's defaults."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from open_clip.transform import PreprocessCfg, merge_preprocess_dict

from sidecar.errors import ModelError
from sidecar.pictures.views.settings import SQUASHED, Framing

_SIGLIP_CHANNEL = 0.5
_RESIZE_MODES = ("squash", "shortest", "longest")
# At inference open_clip treats `random` as bicubic.
_INTERPOLATIONS = {"bicubic": "bicubic", "bilinear": "bilinear", "random": "bicubic"}


@dataclass(frozen=True, slots=True)
class Preprocessing:
    """How pixels become the model's input: `(value / 255 - mean) / std`, per channel RGB.

    `framing` is how a whole picture is fitted into the input.
    """

    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    framing: Framing = SQUASHED


def read_preprocessing(model_cfg: Mapping[str, Any], preprocess_cfg: Mapping[str, Any]) -> Preprocessing:
    """Interprets the configuration as open_clip's own transform does. Raises ModelError for unsupported values."""
    merged = merge_preprocess_dict(PreprocessCfg(), dict(preprocess_cfg))
    _choose(merged, "mode", ("RGB",))
    mean, std = _channels(merged, "mean"), _channels(merged, "std")
    if 0.0 in std:
        raise ModelError("preprocess_cfg.std holds a zero")
    trunk = str(model_cfg["vision_cfg"].get("timm_model_name", ""))
    if "siglip" in trunk and set(mean + std) != {_SIGLIP_CHANNEL}:
        raise ModelError(
            f"preprocess_cfg has mean {mean} and std {std}, but {trunk} was trained with {_SIGLIP_CHANNEL} throughout: "
            f"correct open_clip_config.json"
        )
    return Preprocessing(mean, std, _read_framing(merged))


def _read_framing(merged: Mapping[str, Any]) -> Framing:
    resize_mode = _choose(merged, "resize_mode", _RESIZE_MODES)
    interpolation = _INTERPOLATIONS[_choose(merged, "interpolation", tuple(_INTERPOLATIONS))]
    fill_color = merged["fill_color"]
    if not isinstance(fill_color, int) or not 0 <= fill_color <= 255:
        raise ModelError(f"preprocess_cfg.fill_color is {fill_color!r}: a whole number from 0 to 255 is expected")
    return Framing(resize_mode, interpolation, fill_color)  # type: ignore[arg-type]  # both were looked up above


def _choose(merged: Mapping[str, Any], key: str, allowed: tuple[str, ...]) -> str:
    """The value of `key`. Raises ModelError unless it is one of `allowed`."""
    value = merged[key]
    if value not in allowed:
        raise ModelError(f"preprocess_cfg.{key} is {value!r}: one of {', '.join(allowed)} is expected")
    return str(value)


def _channels(preprocess_cfg: Mapping[str, Any], key: str) -> tuple[float, float, float]:
    try:
        red, green, blue = (float(part) for part in preprocess_cfg[key])
    except (KeyError, TypeError, ValueError) as error:
        raise ModelError(f"preprocess_cfg.{key} is {preprocess_cfg.get(key)!r}: three numbers are expected") from error
    if not all(math.isfinite(part) for part in (red, green, blue)):
        raise ModelError(f"preprocess_cfg.{key} is {preprocess_cfg[key]!r}: three finite numbers are expected")
    return red, green, blue

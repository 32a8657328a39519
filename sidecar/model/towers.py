"""Builds open_clip's model from a checkpoint and loads its weights onto the device."""

from __future__ import annotations

import logging
import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from textwrap import shorten
from typing import Any

import open_clip
import torch
from open_clip.convert import convert_state_dict
from open_clip.factory import load_state_dict
from open_clip.model import convert_to_custom_text_state_dict, resize_pos_embed, resize_text_pos_embed
from open_clip.utils import to_2tuple
from safetensors import SafetensorError

from sidecar.batching.encoder import PairScale
from sidecar.errors import ModelError
from sidecar.model.checkpoints.checkpoint import Checkpoint
from sidecar.model.device import ComputeDevice
from sidecar.model.precision import Precision

_LOADING_ERRORS = (
    *(RuntimeError, ValueError, TypeError, LookupError, AttributeError),
    *(OSError, AssertionError, SafetensorError),
)
"""What open_clip, timm, transformers and torch raise about inconsistent files."""

_POSITIONS = ("visual.positional_embedding", "positional_embedding", "text.positional_embedding")
_TEXT_POSITION_IDS = "text.transformer.embeddings.position_ids"

_MAX_MESSAGE_CHARACTERS = 600
_MAX_LOGARITHM_OF_SCALE = 80.0  # its exponential is finite in fp32

Tensors = Mapping[str, torch.Tensor]


def read_weights(checkpoint: Checkpoint) -> dict[str, torch.Tensor]:
    """The tensors of the weights file as stored, by name. Raises ModelError."""
    try:
        return dict(load_state_dict(str(checkpoint.weights)))
    except _LOADING_ERRORS as error:
        raise ModelError(f"{checkpoint.weights} cannot be read: {error}; is it damaged or cut off?") from error


def read_pair_scale(tensors: Tensors, model_cfg: Mapping[str, Any]) -> PairScale | None:
    """Scale and bias of a model trained with a sigmoid loss, from the weights file; None for a softmax, without bias.

    Not read from the loaded model: in bf16 a scale of 117 would be off by one. open_clip stores the logarithm of the
    scale. Raises ModelError if they are not usable numbers.
    """
    if "logit_scale" not in tensors or model_cfg.get("init_logit_bias") is None:
        return None
    bias = tensors.get("logit_bias")  # open_clip takes 0 if it is not stored
    logarithm, bias_value = float(tensors["logit_scale"]), 0.0 if bias is None else float(bias)
    if not (abs(logarithm) <= _MAX_LOGARITHM_OF_SCALE and math.isfinite(bias_value)):  # also for NaN
        numbers = f"logit_scale={logarithm:g} and logit_bias={bias_value:g}"
        raise ModelError(f"{numbers} in the weights are no scale and bias of scores: are they damaged?")
    return PairScale(math.exp(logarithm), bias_value)


def load_towers(checkpoint: Checkpoint, tensors: Tensors, compute: ComputeDevice, vision_size: int | None) -> Any:
    """The open_clip model, in evaluation mode. `vision_size` resamples its position embedding. Raises ModelError."""
    is_timm = "timm_model_name" in checkpoint.model_cfg["vision_cfg"]
    try:
        model = _build(checkpoint, compute, None if is_timm else vision_size)
        _load_weights(model, tensors)
        if is_timm and vision_size is not None:
            model.visual.set_input_size(vision_size)
    except _LOADING_ERRORS as error:
        resized = "" if vision_size is None else f" with VISION_SIZE={vision_size}"
        raise ModelError(f"{checkpoint.source} cannot be loaded{resized}: {_shorten_message(error)}") from error
    return model.eval().requires_grad_(False).to(memory_format=compute.memory_format)


def _shorten_message(error: Exception) -> str:
    """On one line: torch lists every mismatched tensor on a line of its own."""
    return shorten(str(error), _MAX_MESSAGE_CHARACTERS)


def read_view_size(towers: Any) -> int:
    """Side in pixels of the model's square input. Raises ModelError if it is not square, or contradicts the trunk's."""
    height, width = to_2tuple(towers.visual.image_size)
    if height != width:
        raise ModelError(f"the model reads pictures of {width}x{height} pixels: only squares are supported")
    embedding = getattr(getattr(towers.visual, "trunk", None), "patch_embed", None)
    trunk_size = to_2tuple(getattr(embedding, "img_size", None) or height)[0]
    # open_clip does not pass the configured size to timm's trunks: that of ViTamin-XL-384 has another.
    if trunk_size != height and getattr(embedding, "strict_img_size", True):
        raise ModelError(
            f"the model's configuration names {height} pixels, but its vision tower reads {trunk_size}: "
            f"set VISION_SIZE={trunk_size}"
        )
    return int(height)


def _build(checkpoint: Checkpoint, compute: ComputeDevice, image_size: int | None) -> Any:
    """The model with random weights. Downloads nothing: no weights of towers, no configuration of the text tower."""
    overrides: dict[str, Any] = {}
    if checkpoint.text_tower is not None:
        text_cfg = {**checkpoint.model_cfg["text_cfg"], "hf_model_name": str(checkpoint.text_tower)}
        overrides["text_cfg"] = {**text_cfg, "hf_model_pretrained": False}
    with _silence_random_weights_warning():
        return open_clip.create_model(
            checkpoint.source,
            load_weights=False,
            precision=_precision_of_towers(checkpoint.model_cfg, compute.precision),
            device=compute.device,
            force_image_size=image_size,
            pretrained_text=False,
            **overrides,
        )


def _precision_of_towers(model_cfg: Mapping[str, Any], precision: Precision) -> str:
    """`pure_…` for models with parts from other libraries, which fail if norms and embeddings stay in fp32, as
    open_clip keeps those of its own towers.
    """
    mixes = "hf_model_name" in model_cfg["text_cfg"] or "multimodal_cfg" in model_cfg
    return f"pure_{precision}" if mixes and precision != "fp32" else precision


@contextmanager
def _silence_random_weights_warning() -> Iterator[None]:
    """Drops open_clip's warning, through the root logger, that weights are random: they are loaded right afterwards."""

    def is_kept(record: logging.LogRecord) -> bool:
        return not str(record.msg).startswith("No pretrained weights loaded")

    root = logging.getLogger()
    root.addFilter(is_kept)
    try:
        yield
    finally:
        root.removeFilter(is_kept)


def _load_weights(model: Any, tensors: Tensors) -> None:
    """Does what open_clip.factory.load_checkpoint does with a file, so that the digested tensors are the loaded ones.

    Also resamples position embeddings of another size in fp32, as CPUs cannot in fp16 or bf16.
    """
    state = convert_state_dict(model, dict(tensors))
    if "positional_embedding" in state and not hasattr(model, "positional_embedding"):
        state = convert_to_custom_text_state_dict(state)
    for name in ("logit_scale", "logit_bias"):
        parameter = getattr(model, name)
        if name in state and parameter is not None:
            state[name] = state[name].reshape(parameter.shape)
    if "logit_bias" not in state and model.logit_bias is not None:
        state["logit_bias"] = torch.zeros_like(state["logit_scale"])
    if _TEXT_POSITION_IDS in state and _TEXT_POSITION_IDS not in model.state_dict():
        del state[_TEXT_POSITION_IDS]
    state.update({name: state[name].to(torch.float32) for name in _POSITIONS if name in state})
    resize_pos_embed(state, model)
    resize_text_pos_embed(state, model)
    model.load_state_dict(state, strict=True)

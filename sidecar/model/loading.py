"""Settings → a model that is ready to encode."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Mapping
from typing import Any

import open_clip
import torch
from open_clip.factory import load_state_dict
from safetensors import SafetensorError

from sidecar.batching.encoder import PairScale
from sidecar.config import Settings
from sidecar.errors import ModelError
from sidecar.model.checkpoint import Checkpoint, find_checkpoint
from sidecar.model.device import ComputeDevice, choose_device
from sidecar.model.fingerprint import VectorSpace, digest_weights
from sidecar.model.local_directory import LOCAL_PREFIX
from sidecar.model.preprocessing import read_preprocessing
from sidecar.model.probes import FINGERPRINT_TEXTS
from sidecar.model.siglip import ModelIdentity, SiglipEncoder
from sidecar.model.tokens import load_tokenizer
from sidecar.pictures.picture import ViewSettings

logger = logging.getLogger(__name__)

_LOADING_ERRORS = (
    *(RuntimeError, ValueError, TypeError, LookupError, AttributeError),
    *(OSError, AssertionError, SafetensorError),
)
"""What open_clip, timm and torch raise about files that do not fit together."""


def load_encoder(settings: Settings) -> SiglipEncoder:
    """Finds, downloads if need be, and loads the model that the settings name. Blocks: seconds, or minutes once.

    Raises ConfigurationError before anything is loaded if the device is not to be had, ModelError afterwards.
    """
    compute = choose_device(settings)
    torch.set_float32_matmul_precision(settings.matmul_precision)
    return load_encoder_on(compute, settings)


def load_encoder_on(compute: ComputeDevice, settings: Settings) -> SiglipEncoder:
    """As `load_encoder`, on a device that is already chosen. Raises ModelError."""
    started = time.monotonic()
    token = settings.hf_token.get_secret_value() if settings.hf_token else None
    checkpoint = find_checkpoint(settings.vision_model_id, token)
    preprocessing = read_preprocessing(checkpoint.model_cfg, checkpoint.preprocess_cfg)
    tokenizer = load_tokenizer(checkpoint)
    weights_digest, pair_scale = _read_weights(checkpoint)
    towers = _load_towers(checkpoint, compute, settings.vision_size)
    view_size = _view_size(towers)
    space = VectorSpace(
        architecture=checkpoint.architecture,
        model_cfg=checkpoint.model_cfg,
        weights_digest=weights_digest,
        preprocessing=preprocessing,
        views=ViewSettings.from_settings(settings, view_size),
        probe_token_ids=[text.token_ids.tolist() for text in tokenizer.prepare(FINGERPRINT_TEXTS)],
    )
    dimensions = int(checkpoint.model_cfg["embed_dim"])
    identity = ModelIdentity(settings.vision_model_id, space.fingerprint(), dimensions, view_size, pair_scale)
    encoder = SiglipEncoder(towers, tokenizer, preprocessing, identity, compute)
    taken_s = time.monotonic() - started
    where = f"{encoder.device_name} in {encoder.precision}"
    logger.info("Loaded %s as %s on %s, %.1f s", encoder.model_id, encoder.fingerprint, where, taken_s)
    return encoder


def _read_weights(checkpoint: Checkpoint) -> tuple[str, PairScale | None]:
    """The digest of the weights file, and the scale and bias in it."""
    try:
        tensors = load_state_dict(str(checkpoint.weights))
        return digest_weights(tensors), _pair_scale(tensors, checkpoint.model_cfg)
    except _LOADING_ERRORS as error:
        raise ModelError(f"{checkpoint.weights} cannot be read: {error}; is it damaged or cut off?") from error


def _pair_scale(tensors: Mapping[str, torch.Tensor], model_cfg: Mapping[str, Any]) -> PairScale | None:
    """As stored: in bf16, as the model may have been loaded, a scale of 117 would be off by one.

    open_clip keeps the logarithm of the scale. A model trained with a softmax has no bias.
    """
    if "logit_scale" not in tensors or model_cfg.get("init_logit_bias") is None:
        return None
    bias = tensors.get("logit_bias")  # open_clip takes 0 where it is not stored
    return PairScale(math.exp(float(tensors["logit_scale"])), 0.0 if bias is None else float(bias))


def _load_towers(checkpoint: Checkpoint, compute: ComputeDevice, vision_size: int | None) -> Any:
    """The open_clip model, in evaluation mode. `vision_size` resamples its position embedding."""
    try:
        model = open_clip.create_model_from_pretrained(
            f"{LOCAL_PREFIX}{checkpoint.directory}",
            precision=compute.precision,
            device=compute.device,
            force_image_size=vision_size,
            return_transform=False,
        )
    except _LOADING_ERRORS as error:
        resized = "" if vision_size is None else f" with VISION_SIZE={vision_size}"
        raise ModelError(f"the model in {checkpoint.directory} cannot be loaded{resized}: {error}") from error
    return model.eval().requires_grad_(False).to(memory_format=torch.channels_last)


def _view_size(towers: Any) -> int:
    height, width = towers.visual.image_size
    if height != width:
        raise ModelError(f"the model reads pictures of {width}x{height} pixels: only squares are supported")
    return int(height)

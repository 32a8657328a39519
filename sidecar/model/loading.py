"""Loads the model that the settings name."""

from __future__ import annotations

import logging
import time

import torch

from sidecar.config import Settings
from sidecar.model.checkpoints.checkpoint import find_checkpoint
from sidecar.model.device import ComputeDevice, choose_device
from sidecar.model.fingerprint import VectorSpace, digest_weights
from sidecar.model.open_clip_encoder import ModelIdentity, OpenClipEncoder
from sidecar.model.preprocessing import read_preprocessing
from sidecar.model.probes import FINGERPRINT_TEXTS
from sidecar.model.text.tokenizer import load_tokenizer
from sidecar.model.towers import load_towers, read_pair_scale, read_view_size, read_weights
from sidecar.pictures.views.settings import ViewSettings

logger = logging.getLogger(__name__)


def load_encoder(settings: Settings) -> OpenClipEncoder:
    """Finds, downloads if necessary, and loads the model that the settings name. Blocks for seconds; once for minutes.

    Raises ConfigurationError before loading anything if the device is not available, ModelError afterwards.
    """
    compute = choose_device(settings)
    torch.set_float32_matmul_precision(settings.matmul_precision)
    return load_encoder_on(compute, settings)


def load_encoder_on(compute: ComputeDevice, settings: Settings) -> OpenClipEncoder:
    """As `load_encoder`, on a given device. Raises ModelError."""
    started = time.monotonic()
    token = settings.hf_token.get_secret_value() if settings.hf_token else None
    checkpoint = find_checkpoint(settings.vision_model_id, token)
    preprocessing = read_preprocessing(checkpoint.model_cfg, checkpoint.preprocess_cfg)
    tokenizer = load_tokenizer(checkpoint)
    tensors = read_weights(checkpoint)
    towers = load_towers(checkpoint, tensors, compute, settings.vision_size)
    view_size = read_view_size(towers)
    space = VectorSpace(
        architecture=checkpoint.architecture,
        model_cfg=checkpoint.model_cfg,
        text_config=checkpoint.text_config,
        weights_digest=digest_weights(tensors),
        tokenizer_digest=tokenizer.digest(),
        preprocessing=preprocessing,
        views=ViewSettings.from_settings(settings, view_size, preprocessing.framing),
        probe_token_ids=[text.token_ids.tolist() for text in tokenizer.prepare(FINGERPRINT_TEXTS)],
    )
    dimensions = int(checkpoint.model_cfg["embed_dim"])
    identity = ModelIdentity(
        settings.vision_model_id,
        space.fingerprint(),
        dimensions,
        view_size,
        read_pair_scale(tensors, checkpoint.model_cfg),
        preprocessing.framing,
    )
    encoder = OpenClipEncoder(towers, tokenizer, preprocessing, identity, compute)
    taken_s = time.monotonic() - started
    where = f"{encoder.device_name} in {encoder.precision}"
    logger.debug("Loaded %s as %s on %s, %.1f s", encoder.model_id, encoder.fingerprint, where, taken_s)
    return encoder

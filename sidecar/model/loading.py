"""Loads the model that the settings name."""

from __future__ import annotations

import logging
import time

import torch

from sidecar.config import Settings
from sidecar.model.acceleration.accelerating import Acceleration
from sidecar.model.device import ComputeDevice, choose_device
from sidecar.model.exports.encoder import ExportedEncoder
from sidecar.model.exports.loading import load_exported_encoder
from sidecar.model.open_clip_encoder import OpenClipEncoder
from sidecar.model.torch_model import load_torch_model

logger = logging.getLogger(__name__)


def load_encoder(settings: Settings) -> OpenClipEncoder | ExportedEncoder:
    """Finds, downloads if necessary, and loads the model that the settings name. Blocks for seconds; once for minutes.

    Raises ConfigurationError before loading anything if the device is not available, ModelError afterwards.
    """
    started = time.monotonic()
    encoder = _load(settings)
    where = f"{encoder.device_name} in {encoder.precision}"
    taken_s = time.monotonic() - started
    logger.debug("Loaded %s as %s on %s, %.1f s", encoder.model_id, encoder.fingerprint, where, taken_s)
    return encoder


def _load(settings: Settings) -> OpenClipEncoder | ExportedEncoder:
    if settings.encoder_backend != "torch":
        return load_exported_encoder(settings)
    compute = choose_device(settings)
    torch.set_float32_matmul_precision(settings.matmul_precision)
    encoder = load_encoder_on(compute, settings)
    encoder.accelerate(Acceleration(settings, ComputeDevice(compute.device, encoder.precision)))
    return encoder


def load_encoder_on(compute: ComputeDevice, settings: Settings) -> OpenClipEncoder:
    """The model computed by torch on a given device, without acceleration. Raises ModelError."""
    return load_torch_model(compute, settings).encoder

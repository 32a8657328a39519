"""Loads the model that the settings name."""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence

import torch

from sidecar.config import Settings
from sidecar.model.acceleration.accelerating import Acceleration
from sidecar.model.device import ComputeDevice, choose_devices
from sidecar.model.exports.encoder import ExportedEncoder
from sidecar.model.exports.loading import load_exported_encoders
from sidecar.model.open_clip_encoder import OpenClipEncoder
from sidecar.model.torch_model import load_torch_model

logger = logging.getLogger(__name__)


def load_encoders(settings: Settings) -> Sequence[OpenClipEncoder] | Sequence[ExportedEncoder]:
    """Finds, downloads if necessary, and loads the model that the settings name, on each of their devices.

    Blocks for seconds; once for minutes. Raises ConfigurationError before loading anything if a device is not
    available, ModelError afterwards.
    """
    started = time.monotonic()
    encoders = _load(settings)
    for encoder in encoders:
        where = f"{encoder.device_id} ({encoder.device_name}) in {encoder.precision}"
        logger.debug("Loaded %s as %s on %s", encoder.model_id, encoder.fingerprint, where)
    logger.debug("Loading took %.1f s", time.monotonic() - started)
    return encoders


def load_encoder(settings: Settings) -> OpenClipEncoder | ExportedEncoder:
    """As `load_encoders`, on the first device only."""
    named = settings.cuda_device is not None
    first = "cuda" if settings.cuda_devices == ("all",) else settings.cuda_devices[0]
    return load_encoders(settings.model_copy(update={"cuda_device": first}) if named else settings)[0]


def _load(settings: Settings) -> Sequence[OpenClipEncoder] | Sequence[ExportedEncoder]:
    if settings.encoder_backend != "torch":
        return load_exported_encoders(settings)
    devices = choose_devices(settings)
    torch.set_float32_matmul_precision(settings.matmul_precision)
    first = load_encoder_on(devices[0], settings)
    # From the first device, so that the weights are read, checked and digested once. They are equal in all copies.
    encoders = [first, *(first.copy_to(ComputeDevice(each.device, first.precision)) for each in devices[1:])]
    for encoder, device in zip(encoders, devices, strict=True):
        encoder.accelerate(Acceleration(settings, ComputeDevice(device.device, encoder.precision)))
    return encoders


def load_encoder_on(compute: ComputeDevice, settings: Settings) -> OpenClipEncoder:
    """The model computed by torch on a given device, without acceleration. Raises ModelError."""
    return load_torch_model(compute, settings).encoder

"""Loads the encoder of an export."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from typing import TypeAlias

import torch

from sidecar.config import Settings
from sidecar.cpus import count_gpus
from sidecar.errors import ConfigurationError, ModelError
from sidecar.model.device import choose_gpus
from sidecar.model.exports.directory import ExportDirectory, ExportManifest
from sidecar.model.exports.encoder import ExportedEncoder, LoadedGraphs
from sidecar.model.exports.onnx_runtime import open_onnx_graphs
from sidecar.model.exports.openvino_runtime import open_openvino_graphs
from sidecar.model.identity import identify
from sidecar.model.preprocessing import read_preprocessing
from sidecar.model.text.tokenizer import load_tokenizer

logger = logging.getLogger(__name__)

_OpenGraphs: TypeAlias = Callable[[Settings, ExportDirectory, ExportManifest], LoadedGraphs]
_BACKENDS: Mapping[str, _OpenGraphs] = {
    "onnx": open_onnx_graphs,
    "tensorrt": open_onnx_graphs,
    "openvino": open_openvino_graphs,
}


def load_exported_encoders(settings: Settings) -> list[ExportedEncoder]:
    """As `load_exported_encoder`, one for each GPU that the settings name, or one for the CPU.

    One after another: a runtime holds the weights in this machine's memory only until they are on its GPU.
    """
    if settings.cuda_device is None:
        return [load_exported_encoder(settings)]
    names = settings.cuda_devices
    if names == ("all",) or torch.cuda.is_available():
        count = torch.cuda.device_count() if torch.cuda.is_available() else count_gpus()
        names = tuple(choose_gpus(settings, count)) if count else ("cuda:0",)
    first = load_exported_encoder(settings.model_copy(update={"cuda_device": names[0]}))
    if not first.device_id.startswith("cuda"):
        logger.warning("CUDA_DEVICE=%s is ignored: the export runs on %s", settings.cuda_device, first.device_id)
        return [first]
    return [first, *(load_exported_encoder(settings.model_copy(update={"cuda_device": name})) for name in names[1:])]


def load_exported_encoder(settings: Settings) -> ExportedEncoder:
    """The model in EXPORT_DIR, run by ENCODER_BACKEND; its weights file is not needed.

    Raises ConfigurationError if the export is of another model than the settings name, or its device or library is
    missing; ModelError if the export is damaged.
    """
    assert settings.export_dir is not None  # the settings' own check
    directory = ExportDirectory(settings.export_dir)
    manifest = directory.read_manifest()
    _check(settings, manifest)
    if not directory.golden.is_file():
        raise ModelError(
            f"{directory.golden} is missing: without it the export cannot be compared with PyTorch's vectors"
        )
    checkpoint = directory.read_checkpoint()
    preprocessing = read_preprocessing(checkpoint.model_cfg, checkpoint.preprocess_cfg)
    tokenizer = load_tokenizer(checkpoint)
    graphs = _BACKENDS[settings.encoder_backend](settings, directory, manifest)
    if settings.model_precision not in {None, graphs.precision}:
        logger.warning(
            "MODEL_PRECISION=%s is not used: the export computes in %s with ENCODER_BACKEND=%s",
            *(settings.model_precision, graphs.precision, settings.encoder_backend),
        )
    identity = identify(settings, checkpoint, manifest.weights, tokenizer, preprocessing)
    return ExportedEncoder(graphs, tokenizer, identity)


def _check(settings: Settings, manifest: ExportManifest) -> None:
    if settings.vision_model_id != manifest.model_id:
        held, wanted = manifest.model_id, settings.vision_model_id
        message = f"EXPORT_DIR={settings.export_dir} holds {held!r}, but VISION_MODEL_ID is {wanted!r}"
        raise ConfigurationError([f"{message}\nHINT: Set VISION_MODEL_ID={held}, or export the other model."])
    if settings.vision_size not in {None, manifest.view_size}:
        message = f"VISION_SIZE={settings.vision_size}: the export reads {manifest.view_size} pixels"
        raise ConfigurationError([f"{message}\nHINT: Export again with that VISION_SIZE, or unset it."])

"""Runs the graphs of an export with onnxruntime: on the CPU, on CUDA, and through its TensorRT provider.

By itself onnxruntime falls back to the CPU without an error, for a whole model or for single nodes. Here a GPU that was
asked for computes all of it, or loading fails.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sidecar.config import Settings, own_temporary_directory
from sidecar.cpus import count_cpus_of_quota
from sidecar.errors import ConfigurationError, ModelError
from sidecar.model.device_faults import translate_fault
from sidecar.model.exports.directory import ExportDirectory, ExportManifest, Tower
from sidecar.model.exports.encoder import LoadedGraphs
from sidecar.model.exports.graphs import input_name
from sidecar.model.precision import Precision

logger = logging.getLogger(__name__)

_CPU, _CUDA, _TENSORRT = "CPUExecutionProvider", "CUDAExecutionProvider", "TensorrtExecutionProvider"

_NOT_INSTALLED = (
    "ENCODER_BACKEND=%s: onnxruntime is not installed\nHINT: pip install onnxruntime, or onnxruntime-gpu for a GPU."
)
RUNTIME_BUILDS = ("onnxruntime", "onnxruntime-gpu", "onnxruntime-openvino")
_TWO_BUILDS = (
    "ENCODER_BACKEND=%s: %s are installed, and have overwritten each other's files\n"
    "HINT: Uninstall all of them, then install one."
)
_NO_PROVIDER = (
    "ENCODER_BACKEND=%s: the installed onnxruntime cannot use a GPU through %s, only %s\n"
    "HINT: Install onnxruntime-gpu in its place, or set ENCODER_BACKEND=onnx and REQUIRE_CUDA=0 to compute on the CPU."
)


_ERROR_NAMES = (
    *("EngineError", "EPFail", "Fail", "InvalidArgument", "InvalidGraph", "InvalidProtobuf", "ModelLoaded", "NoModel"),
    *("NoSuchFile", "NotImplemented", "RuntimeException"),
)


@dataclass(frozen=True, slots=True)
class _Placement:
    """A provider of onnxruntime with its options, and what the process says about it."""

    provider: str
    options: Mapping[str, Any]
    device_name: str
    precision: Precision


class OnnxGraph:
    """A tower in a session of onnxruntime."""

    def __init__(self, session: Any, tower: Tower) -> None:
        self._session = session
        self._input = input_name(tower)

    def run(self, batch: NDArray[Any]) -> NDArray[np.float32]:
        try:
            features: NDArray[np.float32] = self._session.run(None, {self._input: batch})[0]
        except _runtime_errors() as error:
            raise translate_fault(error) from error
        return features


def open_onnx_graphs(settings: Settings, directory: ExportDirectory, manifest: ExportManifest) -> LoadedGraphs:
    """Raises ConfigurationError if the library or its provider is missing, ModelError if a graph cannot be loaded."""
    placement = _place(settings, directory, manifest)
    graphs = {tower: _open_graph(directory, manifest, tower, placement, settings) for tower in ("image", "text")}
    return LoadedGraphs(graphs["image"], graphs["text"], placement.device_name, placement.precision)


def _place(settings: Settings, directory: ExportDirectory, manifest: ExportManifest) -> _Placement:
    available = _available_providers(settings)
    gpu = settings.cuda_devices[0]  # exports/loading.py opens one encoder for each
    number = int(gpu.partition(":")[2])
    if settings.encoder_backend == "tensorrt":
        _require(_TENSORRT, available, settings)
        precision: Precision = settings.model_precision or "bf16"
        options = _tensorrt_options(directory, manifest, precision)
        return _Placement(_TENSORRT, {"device_id": number, **options}, gpu, precision)
    if settings.require_cuda:
        _require(_CUDA, available, settings)
    if settings.model_precision not in {None, manifest.precision}:
        logger.warning(
            "MODEL_PRECISION=%s: the export computes in %s, using that", settings.model_precision, manifest.precision
        )
    if _CUDA in available:
        use_tf32 = settings.matmul_precision != "highest"
        return _Placement(_CUDA, {"device_id": number, "use_tf32": int(use_tf32)}, gpu, manifest.precision)
    return _Placement(_CPU, {}, "cpu", manifest.precision)


def _available_providers(settings: Settings) -> list[str]:
    builds = [name for name in RUNTIME_BUILDS if is_installed(name)]
    if len(builds) > 1:
        raise ConfigurationError([_TWO_BUILDS % (settings.encoder_backend, " and ".join(builds))])
    try:
        import onnxruntime
    except ImportError as error:
        raise ConfigurationError([_NOT_INSTALLED % settings.encoder_backend]) from error
    return list(onnxruntime.get_available_providers())


def is_installed(distribution: str) -> bool:
    try:
        version(distribution)
    except PackageNotFoundError:
        return False
    return True


def _require(provider: str, available: list[str], settings: Settings) -> None:
    if provider not in available:
        has = ", ".join(name.removesuffix("ExecutionProvider") for name in available)
        wanted = provider.removesuffix("ExecutionProvider")
        raise ConfigurationError([_NO_PROVIDER % (settings.encoder_backend, wanted, has)])


def _tensorrt_options(directory: ExportDirectory, manifest: ExportManifest, precision: Precision) -> dict[str, Any]:
    """Engines and timings are kept: building them takes minutes.

    fp16 is refused: SigLIP's activations leave its range (NVIDIA/TensorRT issue 4373 has a cosine of 0.65).
    """
    if precision == "fp16":
        raise ConfigurationError(
            ["MODEL_PRECISION=fp16: TensorRT loses SigLIP's outliers in fp16\nHINT: Use bf16 or fp32."]
        )
    cache = str(_tensorrt_cache(directory.path, manifest, precision))
    return {
        "trt_bf16_enable": precision == "bf16",
        "trt_engine_cache_enable": True,
        "trt_engine_cache_path": cache,
        "trt_timing_cache_enable": True,
        "trt_timing_cache_path": cache,
    }


def _tensorrt_cache(export: Path, manifest: ExportManifest, precision: Precision) -> Path:
    """A directory in the export, or if that is read-only one of this user's for temporary files, which may not last.

    Named after the weights and the number format: onnxruntime finds an engine by the names in the graph and takes it
    for that of any model with the same ones.
    """
    parent, key = export / "tensorrt", f"{manifest.weights_digest[:16]}-{manifest.view_size}-{precision}"
    if os.access(parent if parent.exists() else export, os.W_OK):
        cache = parent / key
        cache.mkdir(parents=True, exist_ok=True)
        return cache
    cache = own_temporary_directory(f"sidecar-tensorrt-{key}-{os.geteuid()}")
    logger.warning("%s cannot be written to: TensorRT's engines, built for minutes, are kept in %s", export, cache)
    return cache


def _open_graph(
    directory: ExportDirectory, manifest: ExportManifest, tower: Tower, placement: _Placement, settings: Settings
) -> OnnxGraph:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")  # Postgres may run on the same cores
    options.intra_op_num_threads = count_cpus_of_quota() or 0  # 0: as many as cores that the process may run on
    if placement.provider != _CPU:
        options.add_session_config_entry("session.disable_cpu_ep_fallback", "1")
    provider_options = dict(placement.options)
    if placement.provider == _TENSORRT:
        provider_options |= _tensorrt_shapes(tower, _row_shape(directory, manifest, tower), settings.batch_max_views)
    # What TensorRT does not take, CUDA computes.
    rest = [(_CUDA, {"device_id": placement.options["device_id"]})] if placement.provider == _TENSORRT else []
    path = directory.graph(tower)
    try:
        session = onnxruntime.InferenceSession(
            str(path), options, providers=[(placement.provider, provider_options), *rest], enable_fallback=0
        )
    except _runtime_errors() as error:
        raise ModelError(f"{path} cannot be loaded on {placement.device_name}: {_first_line(error)}") from error
    if session.get_providers()[0] != placement.provider:  # it logs why, and takes the CPU
        raise ModelError(f"{path}: onnxruntime did not take {placement.device_name}: its log says why")
    return OnnxGraph(session, tower)


def _row_shape(directory: ExportDirectory, manifest: ExportManifest, tower: Tower) -> tuple[int, ...]:
    if tower == "image":
        return (manifest.view_size, manifest.view_size, 3)
    return (directory.read_checkpoint().context_length,)


def _tensorrt_shapes(tower: Tower, row_shape: tuple[int, ...], max_batch: int) -> dict[str, str]:
    """One profile for all batches, so that no engine is built while rows wait."""

    def shape(batch: int) -> str:
        return f"{input_name(tower)}:{'x'.join(str(side) for side in (batch, *row_shape))}"

    return {
        "trt_profile_min_shapes": shape(1),
        "trt_profile_opt_shapes": shape(min(8, max_batch)),
        "trt_profile_max_shapes": shape(max_batch),
    }


def _runtime_errors() -> tuple[type[Exception], ...]:
    """What onnxruntime raises, whose own classes have no base but Exception."""
    from onnxruntime.capi import onnxruntime_pybind11_state as state

    return (RuntimeError, ValueError, *(getattr(state, name) for name in _ERROR_NAMES))


def _first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0]

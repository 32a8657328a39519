"""Exports the model that the settings name, and keeps the export only if it gives the same vectors."""

from __future__ import annotations

import fcntl
import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import cast

import numpy as np
import torch
from numpy.typing import NDArray

import sidecar
from sidecar.config import Settings
from sidecar.errors import ConfigurationError, ModelError
from sidecar.model.device import ComputeDevice
from sidecar.model.exports.directory import ExportDirectory, ExportManifest, StoredPrecision, store_pair_scale
from sidecar.model.exports.graphs import OPSET, write_image_graph, write_text_graph
from sidecar.model.exports.loading import load_exported_encoder
from sidecar.model.exports.memory import return_freed_memory
from sidecar.model.exports.onnx_runtime import RUNTIME_BUILDS, is_installed
from sidecar.model.exports.parity import BATCH_SIZES, Parity, Samples, Vectors, encode_samples, measure_parity
from sidecar.model.exports.quantization import quantise_graphs
from sidecar.model.golden import write_golden
from sidecar.model.torch_model import TorchModel, load_torch_model

_LIBRARIES = ("torch", "onnx", "onnxscript", *RUNTIME_BUILDS, "open_clip_torch")
_RUNTIMES = ("onnx", "onnxscript", "onnxruntime")
_NOT_INSTALLED = "sidecar export needs %s, not installed here\nHINT: pip install %s"
_LOCK_NAME = "lock"


@dataclass(frozen=True, slots=True)
class ExportRequest:
    """Where an export goes, the format of its numbers, and what it is compared on.

    `draw_views` takes the side of a view in pixels and returns (n, side, side, 3) uint8. `report` is called with a
    description of each step.
    """

    directory: Path
    precision: StoredPrecision
    texts: Sequence[str]
    draw_views: Callable[[int], NDArray[np.uint8]]
    report: Callable[[str], None]


def export_model(settings: Settings, request: ExportRequest) -> list[Parity]:
    """Writes the export beside `directory`, compares it with PyTorch's model, and moves it there. Takes minutes.

    Computes on the CPU in fp32. Raises ConfigurationError if the directory exists, another export writes it, or a
    library is missing, and ModelError if the model cannot be exported or its export fails the comparison; nothing is
    left of it then.
    """
    if request.directory.exists():
        raise ConfigurationError([f"--out {request.directory}: this exists\nHINT: Name a new directory, or delete it."])
    missing = [name for name in _RUNTIMES if find_spec(name) is None]
    if missing:
        raise ConfigurationError([_NOT_INSTALLED % (", ".join(missing), " ".join(missing))])
    try:
        with _unfinished_directory(request.directory) as unfinished:
            parities = _export_into(ExportDirectory(unfinished), settings, request)
            (unfinished / _LOCK_NAME).unlink()
            unfinished.rename(request.directory)
    except OSError as error:
        # numpy writes the weights, and has no errno where it cannot write all of an array.
        why = str(error) if error.errno else f"{error}: is the disk full?"
        raise ModelError(f"--out {request.directory} cannot be written: {why}") from error
    return parities


@contextmanager
def _unfinished_directory(directory: Path) -> Iterator[Path]:
    """An empty directory beside `directory`, deleted at the end; what a killed export left there is deleted first.

    Raises ConfigurationError while another process has it: two would mix their files.
    """
    unfinished = directory.with_name(f"{directory.name}.unfinished")
    unfinished.mkdir(parents=True, exist_ok=True)
    path = unfinished / _LOCK_NAME
    with path.open("w") as lock:
        if not _lock(lock.fileno()):
            message = f"--out {directory}: another sidecar export is writing it"
            raise ConfigurationError([f"{message}\nHINT: Wait for that one, or name another directory."])
        try:
            for left in unfinished.iterdir():
                if left.is_dir():
                    shutil.rmtree(left)
                elif left != path:
                    left.unlink()
            yield unfinished
        finally:
            shutil.rmtree(unfinished, ignore_errors=True)


def _lock(file: int) -> bool:
    """Whether the lock is ours, on a file that is still there: the one that held it may have deleted it meanwhile."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return os.fstat(file).st_nlink > 0


@dataclass(frozen=True, slots=True)
class _Reference:
    """What PyTorch computed of the samples, kept when its model has left the memory."""

    fingerprint: str
    samples: Samples
    vectors: Vectors


def _export_into(directory: ExportDirectory, settings: Settings, request: ExportRequest) -> list[Parity]:
    """Holds one model in memory at a time: that of the default is 3.5 GB, and more while it is compiled."""
    exact = ExportDirectory(directory.path / "fp32") if request.precision == "int8" else directory
    exact.path.mkdir(exist_ok=True)
    reference = _write_export(exact, directory, settings, request)
    if exact is not directory:
        request.report("Quantising the graphs to int8")
        quantise_graphs(exact, directory)
        shutil.rmtree(exact.path)
    request.report(f"Comparing {len(reference.samples.texts)} texts and {len(reference.samples.views)} pictures")
    parities = []
    for backend in ("onnx", *(["openvino"] if find_spec("openvino") else [])):
        return_freed_memory()
        parities.append(_measure(directory, settings, backend, reference))
        parities[-1].check()
    return parities


def _write_export(
    exact: ExportDirectory, directory: ExportDirectory, settings: Settings, request: ExportRequest
) -> _Reference:
    """Writes the graphs in fp32 into `exact`, and all else into `directory`. PyTorch's model has gone at the end."""
    request.report(f"Loading {settings.vision_model_id} in fp32")
    source = load_torch_model(ComputeDevice(torch.device("cpu"), "fp32"), settings)
    directory.write_configuration(source.checkpoint)
    request.report("Writing the graphs of both towers")
    token_ids = [text.token_ids for text in source.encoder.prepare_texts(request.texts[:2])]
    write_image_graph(source.towers, source.preprocessing, source.encoder.view_size, exact)
    write_text_graph(source.towers, token_ids, exact)
    write_golden(source.encoder, directory.golden)
    directory.write_manifest(_describe(settings, source, request.precision))
    request.report("Computing vectors to compare with")
    samples = Samples(source.encoder.prepare_texts(request.texts), request.draw_views(source.encoder.view_size))
    vectors = encode_samples(source.encoder, samples, BATCH_SIZES[-1])
    _free_weights(source)
    return _Reference(source.encoder.fingerprint, samples, vectors)


def _free_weights(source: TorchModel) -> None:
    """Frees the memory of the weights. Dropping the model would not: caches of PyTorch's exporter refer to them."""
    towers = cast("torch.nn.Module", source.towers)
    for tensor in (*towers.parameters(), *towers.buffers()):
        tensor.data = torch.empty(0)
    return_freed_memory()


def _measure(directory: ExportDirectory, settings: Settings, backend: str, reference: _Reference) -> Parity:
    """Runs the export with a backend, on the CPU. Raises ModelError."""
    serving = {"encoder_backend": backend, "export_dir": directory.path, "require_cuda": False}
    exported = load_exported_encoder(settings.model_copy(update=serving))
    if exported.fingerprint != reference.fingerprint:
        raise ModelError(f"the export has the fingerprint {exported.fingerprint}, not {reference.fingerprint}")
    return measure_parity(reference.vectors, backend, exported, reference.samples)


def _describe(settings: Settings, source: TorchModel, precision: StoredPrecision) -> ExportManifest:
    return ExportManifest(
        model_id=settings.vision_model_id,
        precision=precision,
        view_size=source.weights.view_size,
        weights_digest=source.weights.digest,
        pair_scale=store_pair_scale(source.weights.pair_scale),
        opset=OPSET,
        made_by={"sidecar": sidecar.__version__, **{name: version(name) for name in _LIBRARIES if is_installed(name)}},
    )

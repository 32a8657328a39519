"""Writes the towers of an open_clip model as ONNX graphs.

The graph of the vision tower reads views as they come from the decoders, (n, size, size, 3) uint8, and normalises them
itself: a quarter of the bytes goes to the device. Cutting and resizing stay outside, since ONNX's cubic resize is not
Pillow's; so do the unit length and the mean over views, which want fp32.
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch

from sidecar.errors import ModelError
from sidecar.model.exports.directory import ExportDirectory, Tower
from sidecar.model.preprocessing import Preprocessing

OPSET = 20
_MAX_BATCH = 65_536
_EXAMPLES = 2  # of a batch: with 1 the exporter takes the size for a constant

# Whatever the exporter, torch's tracing and the graph's optimiser raise about a module that they cannot translate.
_EXPORT_ERRORS = (RuntimeError, ValueError, TypeError, LookupError, AttributeError, NotImplementedError, AssertionError)


class _ImageTower(torch.nn.Module):
    """(n, size, size, 3) uint8 → (n, dimensions) float32."""

    _mean: torch.Tensor
    _std: torch.Tensor

    def __init__(self, towers: Any, preprocessing: Preprocessing) -> None:
        super().__init__()
        self._towers = towers
        self.register_buffer("_mean", 255.0 * torch.tensor(preprocessing.mean).view(1, 3, 1, 1))
        self.register_buffer("_std", 255.0 * torch.tensor(preprocessing.std).view(1, 3, 1, 1))

    def forward(self, views: torch.Tensor) -> torch.Tensor:
        pixels = views.permute(0, 3, 1, 2).to(torch.float32)
        features: torch.Tensor = self._towers.encode_image((pixels - self._mean) / self._std)
        return features


class _TextTower(torch.nn.Module):
    """(n, context_length) int32 → (n, dimensions) float32."""

    def __init__(self, towers: Any) -> None:
        super().__init__()
        self._towers = towers

    def forward(self, token_ids: torch.Tensor) -> torch.Tensor:
        features: torch.Tensor = self._towers.encode_text(token_ids)
        return features


def write_image_graph(towers: Any, preprocessing: Preprocessing, view_size: int, directory: ExportDirectory) -> None:
    """Raises ModelError if the tower cannot be exported."""
    example = torch.zeros((_EXAMPLES, view_size, view_size, 3), dtype=torch.uint8)
    _write(_ImageTower(towers, preprocessing), example, "image", directory.graph("image"))


def write_text_graph(towers: Any, token_ids: list[np.ndarray[Any, Any]], directory: ExportDirectory) -> None:
    """`token_ids` are those of any two texts. Raises ModelError if the tower cannot be exported."""
    example = torch.from_numpy(np.stack(token_ids).astype(np.int32))
    _write(_TextTower(towers), example, "text", directory.graph("text"))


def input_name(tower: Tower) -> str:
    return {"image": "views", "text": "token_ids"}[tower]


def _write(module: torch.nn.Module, example: torch.Tensor, tower: Tower, path: Path) -> None:
    try:
        with _quiet(), torch.no_grad():
            program = torch.onnx.export(
                module.eval(),
                (example,),
                dynamo=True,
                dynamic_shapes=({0: torch.export.Dim("batch", min=1, max=_MAX_BATCH)},),
                input_names=[input_name(tower)],
                output_names=[f"{tower}_features"],
                opset_version=OPSET,
                optimize=True,
                verbose=False,
            )
            if program is None:
                raise ModelError(f"PyTorch's exporter returned nothing for the {tower} tower")
            # Weights in a file of their own: one tower of the default model comes close to protobuf's limit of 2 GB.
            program.save(str(path), external_data=True)
    except _EXPORT_ERRORS as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise ModelError(f"the {tower} tower cannot be exported to ONNX: {reason}") from error


@contextmanager
def _quiet() -> Iterator[None]:
    """Without the exporter's warnings about PyTorch's own code, and its lines on each step."""
    noisy = [logging.getLogger(name) for name in ("torch.onnx", "onnxscript", "onnx_ir")]
    levels = [logger.level for logger in noisy]
    try:
        for logger in noisy:
            logger.setLevel(logging.ERROR)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(noisy, levels, strict=True):
            logger.setLevel(level)

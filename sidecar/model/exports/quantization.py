"""Quantises the graphs of an export to int8 weights, for processors: a quarter of the bytes and faster products."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Iterator
from contextlib import contextmanager

from sidecar.cpus import sums_int8_exactly
from sidecar.errors import ModelError
from sidecar.model.exports.directory import TOWERS, ExportDirectory
from sidecar.model.exports.memory import return_freed_memory

_QUANTISATION_ERRORS = (RuntimeError, ValueError, TypeError, LookupError, OSError)


def quantise_graphs(source: ExportDirectory, target: ExportDirectory) -> None:
    """Writes graphs with int8 weights per channel; activations are quantised as they come (dynamic).

    Only matrix products: the first convolution, norms and softmax stay in fp32. Weights are signed, which is faster,
    where this processor sums such products exactly. Raises ModelError.
    """
    from onnxruntime.quantization import QuantType, quantize_dynamic

    for tower in TOWERS:
        return_freed_memory()
        try:
            with _quiet():
                quantize_dynamic(
                    source.graph(tower),
                    target.graph(tower),
                    op_types_to_quantize=["MatMul", "Gemm"],
                    per_channel=True,
                    weight_type=QuantType.QInt8 if sums_int8_exactly() else QuantType.QUInt8,
                    use_external_data_format=True,
                )
            shutil.copymode(target.graph(tower), f"{target.graph(tower)}.data")  # which only its owner could read
        except _QUANTISATION_ERRORS as error:
            raise ModelError(f"the {tower} tower cannot be quantised: {error}") from error


@contextmanager
def _quiet() -> Iterator[None]:
    """Without the advice, through the root logger, to preprocess the model."""
    root = logging.getLogger()
    level = root.level
    root.setLevel(logging.ERROR)
    try:
        yield
    finally:
        root.setLevel(level)

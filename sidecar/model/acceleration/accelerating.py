"""What is done to a tower before the first request, so that it is as fast as its device allows."""

from __future__ import annotations

import logging

import torch

from sidecar.config import Settings
from sidecar.errors import DeviceOutOfMemory
from sidecar.model.acceleration.attention import with_fastest_attention
from sidecar.model.acceleration.compilation import compile_tower
from sidecar.model.acceleration.recording import CudaRecorder, record_tower, text_sizes, view_sizes
from sidecar.model.acceleration.tower import Inputs, Tower, repeat_rows
from sidecar.model.device import ComputeDevice
from sidecar.model.device_faults import DEVICE_FAULTS, translate_fault

logger = logging.getLogger(__name__)

_ATTENTION_ROWS = 8
_SIZES = {"texts": text_sizes, "pictures": view_sizes}


class Acceleration:
    """The steps that the settings and the device allow; each that fails is left out, and the log says why.

    Graphs and the choice of attention are for CUDA; torch.compile, on request, for every device.
    """

    def __init__(self, settings: Settings, compute: ComputeDevice) -> None:
        self._compute = compute
        self._max_batch = settings.batch_max_views
        on_cuda = compute.device.type == "cuda"
        self._chooses_attention = on_cuda and settings.device_attention == "auto"
        self._compiles = settings.device_compile == "on"
        self._recorder = CudaRecorder(compute.device) if on_cuda and settings.device_graphs == "auto" else None
        self._warms_up = on_cuda

    def __call__(self, tower: Tower, example: torch.Tensor, inputs: Inputs) -> Tower:
        """A tower with the same vectors up to rounding. `example` is two rows or more. Raises DeviceLost."""
        precision = self._compute.precision
        if self._chooses_attention:
            tower = with_fastest_attention(tower, repeat_rows(example, _ATTENTION_ROWS), inputs, precision)
        if self._compiles:
            tower = compile_tower(tower, example, inputs, precision)
        if self._recorder is not None:
            tower = record_tower(tower, example, _SIZES[inputs](self._max_batch), inputs, self._recorder)
        if self._warms_up:
            self._warm_up(tower, repeat_rows(example, self._max_batch), inputs)
        return tower

    def _warm_up(self, tower: Tower, batch: torch.Tensor, inputs: Inputs) -> None:
        """Runs the largest batch, for which memory is allocated and kernels are loaded."""
        try:
            tower(batch).cpu()
        except DEVICE_FAULTS as error:
            fault = translate_fault(error)
            if not isinstance(fault, DeviceOutOfMemory):
                raise fault from error
            logger.warning(
                "BATCH_MAX_VIEWS=%d: a micro-batch of %s that large exceeds the GPU's memory", self._max_batch, inputs
            )

"""How full the GPU is."""

from __future__ import annotations

import logging
from collections.abc import Mapping

import torch

logger = logging.getLogger(__name__)


def read_device_memory(device: torch.device) -> Mapping[str, int]:
    """Bytes by state, for the metrics. Empty for the CPU, whose memory is the process's. Any thread may call it.

    `allocated` and `reserved` are this process's, `free` and `total` the device's, which others may be using too.
    A device that has failed says nothing: the page of metrics is wanted then more than ever.
    """
    try:
        return _read(device)
    except RuntimeError as error:
        logger.debug("the device does not tell of its memory: %s", error)
        return {}


def _read(device: torch.device) -> Mapping[str, int]:
    if device.type == "cuda":
        free, total = torch.cuda.mem_get_info(device)
        return {
            "allocated": torch.cuda.memory_allocated(device),
            "reserved": torch.cuda.memory_reserved(device),
            "free": free,
            "total": total,
        }
    if device.type == "mps":
        return {
            "allocated": torch.mps.current_allocated_memory(),
            "reserved": torch.mps.driver_allocated_memory(),
            "total": torch.mps.recommended_max_memory(),
        }
    return {}

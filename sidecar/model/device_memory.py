"""How full the GPU is."""

from __future__ import annotations

from collections.abc import Mapping

import torch


def read_device_memory(device: torch.device) -> Mapping[str, int]:
    """Bytes by state, for the metrics. Empty for the CPU, whose memory is the process's. Any thread may call it.

    `allocated` and `reserved` are this process's, `free` and `total` the device's, which others may be using too.
    """
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

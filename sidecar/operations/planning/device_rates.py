"""Rates of typical devices, the only place in which they are written: `sidecar plan` and the pages quote them.

No rate here is a guess: each was measured, by this project or by the author of a library, and `source` says how.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from sidecar.settings import Settings

DEFAULT_MODEL: str = Settings.model_fields["vision_model_id"].default


@dataclass(frozen=True, slots=True)
class DeviceRate:
    """What a device does with the default model. A rate is None if there is no measurement of it.

    `views_per_s`: picture views; a picture has six to eight with TTA. `texts_per_s`: texts.
    """

    device: str
    views_per_s: float
    texts_per_s: float | None
    measured_by: Literal["sidecar", "timm"]
    source: str

    def rate_of(self, kind: str) -> float | None:
        """Items a second of a watch of this kind, `text` or `image`."""
        return self.texts_per_s if kind == "text" else self.views_per_s


_RANDOM_WEIGHTS = "the default model's architecture with random weights, through the sidecar's own encoder"
_TIMM = "timm's benchmark of the picture tower alone (vit_so400m_patch14_siglip_384, AMP, no compilation)"

DEVICE_RATES = (
    DeviceRate(
        device="NVIDIA H100",
        views_per_s=629,
        texts_per_s=6700,
        measured_by="sidecar",
        source=f"{_RANDOM_WEIGHTS}: bf16, PyTorch 2.11, batches of 32 views or 256 texts, once",
    ),
    DeviceRate(
        device="NVIDIA RTX 4090",
        views_per_s=160,
        texts_per_s=None,
        measured_by="timm",
        source=f"{_TIMM}, PyTorch 2.9.1",
    ),
    DeviceRate(
        device="NVIDIA RTX 3090",
        views_per_s=80,
        texts_per_s=None,
        measured_by="timm",
        source=f"{_TIMM}, PyTorch 2.4",
    ),
    DeviceRate(
        device="two CPU cores",
        views_per_s=0.29,
        texts_per_s=4.8,
        measured_by="sidecar",
        source=f"{_RANDOM_WEIGHTS}: fp32, PyTorch 2.14, an Intel Xeon, batches of 4 views or 16 texts; computed from"
        " the processor time of two threads, since other programs ran beside them",
    ),
)
"""Fastest first."""

"""Settings that determine which views are cut from a picture."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

# Decoder processes import this file too, and start faster and smaller without pydantic.
if TYPE_CHECKING:
    from sidecar.config import Settings


@dataclass(frozen=True, slots=True)
class Framing:
    """How a whole picture is fitted into the model's square input, in open_clip's terms and with identical pixels.

    `squash` resizes both sides to the square. `shortest` resizes the short side and crops the centre. `longest`
    resizes the long side and pads with `fill_color` (0 … 255, in every channel). `interpolation` applies to all views.
    """

    resize_mode: Literal["squash", "shortest", "longest"] = "squash"
    interpolation: Literal["bicubic", "bilinear"] = "bicubic"
    fill_color: int = 0


SQUASHED = Framing()


@dataclass(frozen=True, slots=True)
class ViewSettings:
    """Which views are cut from a picture. Part of the fingerprint: different settings give a different vector space.

    Lengths are in pixels. `view_size` is the side of the model's square input; `crop_size` is the side of a crop
    before it is resized to `view_size`.
    """

    view_size: int
    enable_tta: bool
    crop_size: int
    scale_factors: tuple[float, ...]
    max_scaled_dim: int
    panorama_max_ratio: float
    anchor_weight: float = 0.0
    framing: Framing = SQUASHED

    @classmethod
    def from_settings(cls, settings: Settings, native_size: int, framing: Framing = SQUASHED) -> ViewSettings:
        """`native_size`: side in pixels of the loaded model's input, used if VISION_SIZE is unset."""
        view_size = native_size if settings.vision_size is None else settings.vision_size
        return cls(
            view_size=view_size,
            enable_tta=settings.enable_tta,
            crop_size=view_size if settings.tta_crop_size is None else settings.tta_crop_size,
            scale_factors=settings.multi_scale_factors if settings.enable_multi_scale else (1.0,),
            max_scaled_dim=settings.multi_scale_max_dim,
            panorama_max_ratio=settings.panorama_max_ratio,
            anchor_weight=settings.tta_anchor_weight,
            framing=framing,
        )

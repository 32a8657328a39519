"""How pictures are turned into views: the settings, and the framing a model was trained with."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

# Decoder processes import this file too, and start faster and smaller without pydantic.
if TYPE_CHECKING:
    from sidecar.config import Settings


@dataclass(frozen=True, slots=True)
class Framing:
    """How a model was trained to see a whole picture in its square: open_clip's words, and its transform's pixels.

    `squash` resizes both sides to the square, `shortest` the short one and cuts the centre out, `longest` the long one
    and pads with `fill_color` (0 … 255, in every channel). `interpolation` is that of every view.
    """

    resize_mode: Literal["squash", "shortest", "longest"] = "squash"
    interpolation: Literal["bicubic", "bilinear"] = "bicubic"
    fill_color: int = 0


SQUASHED = Framing()


@dataclass(frozen=True, slots=True)
class ViewSettings:
    """Which views are cut from a picture. Part of the fingerprint: other settings are another vector space.

    Lengths are pixels. `view_size` is the side of the square the model reads; `crop_size` the side of a crop
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
        """`native_size`: side in pixels of the loaded model's input, used where VISION_SIZE is unset."""
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

"""Settings of the decoder processes, passed to each child as JSON."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Literal

from sidecar.pictures.views.settings import SQUASHED, Framing, ViewSettings

if TYPE_CHECKING:  # decoder processes do not import pydantic
    from sidecar.config import Settings


@dataclass(frozen=True, slots=True)
class DecoderSettings:
    """`memory_bytes` limits the address space of one decoder process (on Linux).

    `preprocess`: "exact" cuts the views that open_clip's transform would, "fast" nearly the same ones, from a picture
    that was reduced while it was decoded. `timeout_s` is the time limit for one picture, counted from when a process
    receives it.
    """

    views: ViewSettings
    processes: int
    timeout_s: float
    max_image_bytes: int
    max_image_pixels: int
    memory_bytes: int
    preprocess: Literal["fast", "exact"] = "exact"

    @classmethod
    def from_settings(cls, settings: Settings, view_size: int, framing: Framing = SQUASHED) -> DecoderSettings:
        """Settings for a model with that view size and framing."""
        return cls(
            views=ViewSettings.from_settings(settings, view_size, framing),
            processes=settings.decode_processes,
            timeout_s=settings.decode_timeout_s,
            max_image_bytes=settings.max_image_bytes,
            max_image_pixels=settings.max_image_pixels,
            memory_bytes=settings.decode_memory_bytes,
            preprocess=settings.preprocess,
        )

    def to_json(self) -> str:
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> DecoderSettings:
        """The inverse of `to_json`."""
        fields = json.loads(text)
        views = fields.pop("views")
        views["scale_factors"] = tuple(views["scale_factors"])
        views["framing"] = Framing(**views["framing"])
        return cls(views=ViewSettings(**views), **fields)

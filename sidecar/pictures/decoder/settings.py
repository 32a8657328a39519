"""How pictures are decoded: the settings that a decoder process is started with."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from sidecar.pictures.views.settings import SQUASHED, Framing, ViewSettings

if TYPE_CHECKING:  # a decoder process does without it
    from sidecar.config import Settings


@dataclass(frozen=True, slots=True)
class DecoderSettings:
    """`memory_bytes` bounds the address space of one decoder process (where the system can: Linux).

    `timeout_s` is the time one picture may take, counted from when a process begins with it.
    """

    views: ViewSettings
    processes: int
    timeout_s: float
    max_image_bytes: int
    max_image_pixels: int
    memory_bytes: int

    @classmethod
    def from_settings(cls, settings: Settings, view_size: int, framing: Framing = SQUASHED) -> DecoderSettings:
        """For a model that reads views of that size, and whole pictures framed so."""
        return cls(
            views=ViewSettings.from_settings(settings, view_size, framing),
            processes=settings.decode_processes,
            timeout_s=settings.decode_timeout_s,
            max_image_bytes=settings.max_image_bytes,
            max_image_pixels=settings.max_image_pixels,
            memory_bytes=settings.decode_memory_bytes,
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

"""How pictures are decoded: the settings that a decoder process is started with."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass

from sidecar.pictures.picture import ViewSettings


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

    def to_json(self) -> str:
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> DecoderSettings:
        """The inverse of `to_json`."""
        fields = json.loads(text)
        views = fields.pop("views")
        views["scale_factors"] = tuple(views["scale_factors"])
        return cls(views=ViewSettings(**views), **fields)

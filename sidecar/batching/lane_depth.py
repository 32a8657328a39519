"""What is in a lane, for metrics."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class LaneDepth:
    """In units: views, or pairs. `reserved`: still being prepared; `running`: in the micro-batch on the device."""

    waiting: int
    reserved: int
    running: int
    capacity: int

"""Options of a training run."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path

import torch

from training.architecture import Shape


@dataclass(frozen=True, slots=True)
class TrainingOptions:
    """`average_decay` is that of the weights' moving average, which is exported.
    `compiled`: starts a minute later, then trains faster on a GPU."""

    steps: int
    batch_size: int
    learning_rate: float = 1e-3
    weight_decay: float = 0.1
    warmup_steps: int = 500
    average_decay: float = 0.999
    captions_per_emoji: int = 96
    seed: int = 4
    compiled: bool = False
    shape: Shape = field(default_factory=Shape)

    def save(self, path: Path) -> None:
        path.write_text(json.dumps(asdict(self), indent=2) + "\n", encoding="utf-8")

    @classmethod
    def load(cls, path: Path) -> TrainingOptions:
        """The inverse of `save`."""
        fields = json.loads(path.read_text(encoding="utf-8"))
        return cls(shape=Shape(**fields.pop("shape")), **fields)


def default_options(device: torch.device) -> TrainingOptions:
    """On a GPU the options of the shipped model (15 minutes); on a CPU a shorter run (some hours on two cores)."""
    if device.type == "cuda":
        return TrainingOptions(steps=13_600, batch_size=1024, compiled=True)
    return TrainingOptions(steps=7_000, batch_size=256, warmup_steps=300)

"""A model in training: weights, optimizer, and the training step."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path
from typing import Any

import torch
from torch.nn import functional

from training.architecture import build_towers
from training.batches import BatchSampler
from training.optimisation import learning_rate_at, make_average, make_optimizer, sigmoid_loss
from training.options import TrainingOptions

_MAX_GRADIENT_NORM = 1.0
_STEP_SEED_STRIDE = 1_000_003


class Trainer:
    """Trains step by step; saving and loading in between does not change the result."""

    def __init__(
        self, options: TrainingOptions, sampler: BatchSampler, trained: torch.Tensor, device: torch.device
    ) -> None:
        """`trained` (n,) int64: the emoji to train, on `device` like all tensors of `sampler`."""
        torch.manual_seed(options.seed)
        self.steps_done = 0
        self._options, self._sampler, self._trained = options, sampler, trained
        self._device = device
        self._generator = torch.Generator(device)
        self._towers: Any = build_towers(options.shape).to(device).train()
        self._encode_image: Any = self._towers.encode_image
        self._encode_text: Any = self._towers.encode_text
        if options.compiled:
            self._encode_image = torch.compile(self._towers.encode_image)
            self._encode_text = torch.compile(self._towers.encode_text)
        self._optimizer = make_optimizer(self._towers, options)
        self._average = make_average(self._towers, options)

    @property
    def average(self) -> torch.nn.Module:
        """The towers with averaged weights."""
        module: torch.nn.Module = self._average.module
        return module.eval()

    def step(self) -> torch.Tensor:
        """Trains on one batch; returns its loss, still on the device."""
        # Seeded per step, so that a continued run draws the same as an uninterrupted one.
        self._generator.manual_seed(self._options.seed * _STEP_SEED_STRIDE + self.steps_done)
        for group in self._optimizer.param_groups:
            group["lr"] = learning_rate_at(self.steps_done, self._options)
        loss = self._compute_loss()
        self._optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(self._towers.parameters(), _MAX_GRADIENT_NORM)
        self._optimizer.step()
        self._average.update_parameters(self._towers)
        self.steps_done += 1
        return loss.detach()

    def _compute_loss(self) -> torch.Tensor:
        with torch.no_grad():
            batch = self._sampler.draw(
                self._trained, self._options.batch_size, self._options.shape.image_size, self._generator
            )
        with _autocast(self._device):
            pictures = self._encode_image(batch.pixels)
            texts = self._encode_text(batch.tokens)
        similarity = functional.normalize(texts.float(), dim=-1) @ functional.normalize(pictures.float(), dim=-1).T
        logits = self._towers.logit_scale.exp() * similarity + self._towers.logit_bias
        return sigmoid_loss(logits, batch.truth)

    def save(self, path: Path) -> None:
        """Replaces `path` atomically, so that there is always a complete checkpoint."""
        state = {
            "steps_done": self.steps_done,
            "towers": self._towers.state_dict(),
            "average": self._average.state_dict(),
            "optimizer": self._optimizer.state_dict(),
        }
        torch.save(state, path.with_suffix(".new"))
        path.with_suffix(".new").replace(path)

    def load(self, path: Path) -> None:
        """Restores the state written by `save`."""
        state = torch.load(path, map_location=self._device, weights_only=True)
        self.steps_done = state["steps_done"]
        self._towers.load_state_dict(state["towers"])
        self._average.load_state_dict(state["average"])
        self._optimizer.load_state_dict(state["optimizer"])


def load_average(path: Path, options: TrainingOptions) -> torch.nn.Module:
    """The averaged towers of a checkpoint, on the CPU."""
    average = make_average(build_towers(options.shape), options)
    average.load_state_dict(torch.load(path, map_location="cpu", weights_only=True)["average"])
    module: torch.nn.Module = average.module
    return module.eval()


def _autocast(device: torch.device) -> Any:
    """bf16 if the device computes it natively."""
    has_bf16 = device.type == "cuda" or any(
        torch.cpu.get_capabilities().get(name) for name in ("avx512_bf16", "amx_bf16")
    )
    return torch.autocast(device.type, dtype=torch.bfloat16) if has_bf16 else nullcontext()

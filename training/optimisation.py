"""What a training step minimises, and how: SigLIP's loss, AdamW, the learning rate, the averaged weights."""

from __future__ import annotations

import math

import torch

from training.options import TrainingOptions
from training.phrases import IGNORED, NEGATIVE, PARTLY, TRUE

_BETAS = (0.9, 0.98)
_MIN_DECAYED_DIMENSIONS = 2
_TARGETS = {NEGATIVE: 0.0, IGNORED: 0.0, PARTLY: 0.5, TRUE: 1.0}


def sigmoid_loss(logits: torch.Tensor, truth: torch.Tensor) -> torch.Tensor:
    """SigLIP's loss: mean over the pictures of the weighted sum over all texts. IGNORED pairs have weight 0.

    All pairs in which one text is TRUE have a total weight of 1, and so do those in which it is PARTLY: otherwise texts
    such as `flag`, true of many pictures, would outweigh the names. `logits` is (texts, pictures) float; `truth` is
    (texts, pictures) uint8, how true the text is of the picture.
    """
    targets = torch.tensor([_TARGETS[level] for level in sorted(_TARGETS)], device=logits.device)[truth.long()]
    losses = torch.nn.functional.binary_cross_entropy_with_logits(logits.float(), targets, reduction="none")
    return (losses * _weigh(truth)).sum() / logits.shape[1]


def _weigh(truth: torch.Tensor) -> torch.Tensor:
    weights = (truth == NEGATIVE).float()
    for level in (PARTLY, TRUE):
        pairs = (truth == level).float()
        weights += pairs / pairs.sum(dim=1, keepdim=True).clamp(min=1.0)
    return weights


def make_optimizer(towers: torch.nn.Module, options: TrainingOptions) -> torch.optim.AdamW:
    """AdamW with weight decay for matrices, but not for embeddings, biases, norms, and the logits' scale and bias."""
    decayed: list[torch.nn.Parameter] = []
    others: list[torch.nn.Parameter] = []
    for name, parameter in towers.named_parameters():
        is_matrix = parameter.ndim >= _MIN_DECAYED_DIMENSIONS and "embedding" not in name
        (decayed if is_matrix else others).append(parameter)
    groups = [{"params": decayed, "weight_decay": options.weight_decay}, {"params": others, "weight_decay": 0.0}]
    fused = next(towers.parameters()).device.type == "cuda"
    return torch.optim.AdamW(groups, lr=options.learning_rate, betas=_BETAS, fused=fused)


def learning_rate_at(step: int, options: TrainingOptions) -> float:
    """Linear warm-up, then cosine decay to 0."""
    if step < options.warmup_steps:
        return options.learning_rate * (step + 1) / options.warmup_steps
    progress = (step - options.warmup_steps) / max(options.steps - options.warmup_steps, 1)
    return options.learning_rate * 0.5 * (1.0 + math.cos(math.pi * progress))


def make_average(towers: torch.nn.Module, options: TrainingOptions) -> torch.optim.swa_utils.AveragedModel:
    """An exponential moving average of the weights of `towers`, updated by `update_parameters`."""
    average = torch.optim.swa_utils.get_ema_multi_avg_fn(options.average_decay)  # type: ignore[no-untyped-call]
    return torch.optim.swa_utils.AveragedModel(towers, multi_avg_fn=average)

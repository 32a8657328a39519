"""SigLIP's loss: every text with every picture, each pair a question of its own."""

from __future__ import annotations

import torch

from training.phrases import IGNORED, NEGATIVE, PARTLY, TRUE

_TARGETS = {NEGATIVE: 0.0, IGNORED: 0.0, PARTLY: 0.5, TRUE: 1.0}


def sigmoid_loss(logits: torch.Tensor, truth: torch.Tensor) -> torch.Tensor:
    """Mean over the pictures of the weighted sum over all texts. Pairs that are IGNORED count nothing.

    The pairs in which a text is TRUE count one together, as do those in which it is PARTLY: `flag` is true of so many
    pictures that they would drown the names. `logits` is (texts, pictures) float; `truth` is (texts, pictures) uint8,
    how true the text is of the picture.
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

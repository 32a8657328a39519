"""How true each caption of a batch is of each picture of the batch."""

from __future__ import annotations

import torch

from training.captions import MAX_PHRASES


def judge_captions(phrases: torch.Tensor, shown: torch.Tensor, truth: torch.Tensor) -> torch.Tensor:
    """(captions, pictures) uint8. A part of a caption is as true of an emoji as the less true of its two phrases, as
    true of a picture as of the emoji on it that fits best, and a caption is as true as the less true of its parts.

    `phrases` is (captions, 2 x parts) int64; `shown` (pictures, objects) int64, emoji or the last column of `truth`
    for nothing; `truth` (phrases, emoji + 1) uint8.
    """
    parts = truth[phrases.view(len(phrases), -1, MAX_PHRASES)].amin(dim=2)  # (captions, parts, emoji + 1)
    of_objects = parts[:, :, shown.flatten()].view(*parts.shape[:2], *shown.shape)
    return of_objects.amax(dim=3).amin(dim=1)

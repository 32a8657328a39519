"""How well a model in training does so far: names against clean pictures, whole and squashed."""

from __future__ import annotations

from typing import Any

import torch
from torch.nn import functional

from training.compositing import Atlas

_CHUNK = 256


def measure_name_recall(
    towers: Any, atlas: Atlas, name_tokens: torch.Tensor, trained: torch.Tensor, side: int
) -> dict[str, float]:
    """Share of names that find their own picture among all, first or in the first five: of trained and other emoji.

    A quick look on the device; `training.evaluation` measures through the product. `name_tokens` is (emoji, tokens).
    """
    with torch.inference_mode():
        pictures = torch.cat([_encode_clean(towers, tiles, side) for tiles in torch.split(atlas.tiles, _CHUNK)])
        texts = torch.cat([towers.encode_text(tokens) for tokens in torch.split(name_tokens, _CHUNK)])
        similarity = functional.normalize(texts.float(), dim=-1) @ functional.normalize(pictures.float(), dim=-1).T
    better = (similarity > similarity.diagonal()[:, None]).sum(dim=1)
    is_trained = torch.zeros(len(better), dtype=torch.bool, device=better.device)
    is_trained[trained] = True
    return {
        f"{group} names recall@{first}": (better[chosen] < first).float().mean().item()
        for group, chosen in (("trained", is_trained), ("other", ~is_trained))
        for first in (1, 5)
    }


def _encode_clean(towers: Any, tiles: torch.Tensor, side: int) -> torch.Tensor:
    on_white = tiles[:, :3].float() + 1.0 - tiles[:, 3:].float()
    pixels = functional.interpolate(on_white, (side, side), mode="bilinear", antialias=True, align_corners=False)
    encoded: torch.Tensor = towers.encode_image(pixels * 2.0 - 1.0)
    return encoded

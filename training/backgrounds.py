"""Random backgrounds for emoji: white, flat colours, gradients, clouds of colour, blurred discs."""

from __future__ import annotations

import torch
from torch.nn import functional

_DISCS = 4


def draw_backgrounds(count: int, side: int, generator: torch.Generator) -> torch.Tensor:
    """(count, 3, side, side) float 0 … 1, on the generator's device. A third is white, like most product pictures."""
    flat = _colours((count, 3, 1, 1), generator).expand(-1, -1, side, side)
    clouds = [_stretch(_colours((count, 3, grid, grid), generator), side) for grid in (2, 5)]
    discs = _draw_discs(flat, generator)
    fine = torch.rand((count, 3, side // 2, side // 2), generator=generator, device=generator.device)
    rough = (clouds[0] + 0.3 * (_stretch(fine, side) - 0.5)).clamp(0.0, 1.0)
    kind = torch.rand((count, 1, 1, 1), generator=generator, device=generator.device)
    drawn = torch.ones_like(discs)
    for start, background in ((0.35, flat), (0.55, clouds[0]), (0.68, clouds[1]), (0.80, discs), (0.92, rough)):
        drawn = torch.where(kind >= start, background, drawn)
    return drawn


def _colours(shape: tuple[int, ...], generator: torch.Generator) -> torch.Tensor:
    """Random mixtures of grey and colours, so that pale colours are as common as saturated ones."""
    grey = torch.rand((shape[0], 1, 1, 1), generator=generator, device=generator.device)
    loudness = torch.rand((shape[0], 1, 1, 1), generator=generator, device=generator.device)
    return torch.lerp(grey, torch.rand(shape, generator=generator, device=generator.device), loudness)


def _stretch(small: torch.Tensor, side: int) -> torch.Tensor:
    return functional.interpolate(small, (side, side), mode="bilinear", align_corners=True)


def _draw_discs(ground: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    count, side = ground.shape[0], ground.shape[-1]
    axis = torch.linspace(0.0, 1.0, side, device=ground.device)
    place = torch.rand((_DISCS, 2, count, 1, 1), generator=generator, device=ground.device)
    size = torch.rand((_DISCS, 2, count, 1, 1), generator=generator, device=ground.device)
    colours = torch.rand((_DISCS, count, 3, 1, 1), generator=generator, device=ground.device)
    for number in range(_DISCS):
        distance = torch.hypot(axis[:, None] - place[number, 0], axis - place[number, 1])
        radius, softness = 0.05 + 0.3 * size[number, 0], 0.005 + 0.08 * size[number, 1]
        cover = torch.sigmoid((radius - distance) / softness)[:, None]
        ground = torch.lerp(ground, colours[number].expand_as(ground), cover)
    return ground

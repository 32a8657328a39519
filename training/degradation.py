"""Degrades pictures as cameras, screens and files do: colours, blur, noise, JPEG blocks."""

from __future__ import annotations

import math

import torch
from torch.nn import functional

_LUMA = (0.299, 0.587, 0.114)
_BLOCK = 8


def degrade(pictures: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """(n, 3, side, side) float 0 … 1 → the same shape. Each effect applies to a random share of the pictures."""
    pictures = _shift_colours(pictures, generator)
    pictures = _blur(pictures, generator)
    pictures = _add_noise(pictures, generator).clamp(0.0, 1.0)
    return _compress(pictures, generator).clamp(0.0, 1.0)


def _draw(pictures: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    return torch.rand((len(pictures), 1, 1, 1), generator=generator, device=pictures.device)


def _share(pictures: torch.Tensor, generator: torch.Generator, share: float) -> torch.Tensor:
    """(n, 1, 1, 1) float: a strength up to 1 for about `share` of the pictures, 0 for the others."""
    strength = _draw(pictures, generator)
    return (strength - (1.0 - share)).clamp(min=0.0) / share


def _shift_colours(pictures: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """Changes brightness, contrast, saturation and warmth at random."""
    brightness, contrast, saturation, warmth = (
        (2.0 * _draw(pictures, generator) - 1.0) * (_draw(pictures, generator) < 0.5) for _ in range(4)
    )
    luma = (pictures * torch.tensor(_LUMA, device=pictures.device).view(1, 3, 1, 1)).sum(dim=1, keepdim=True)
    pictures = torch.lerp(luma, pictures, 1.0 + 0.35 * saturation)
    pictures = 0.5 + (pictures - 0.5) * (1.0 + 0.3 * contrast) + 0.12 * brightness
    tint = torch.tensor([0.06, 0.0, -0.06], device=pictures.device).view(1, 3, 1, 1)
    return pictures + warmth * tint


def _blur(pictures: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """Blurs some pictures slightly, and halves the resolution of others."""
    soft = functional.avg_pool2d(functional.pad(pictures, (1, 1, 1, 1), mode="replicate"), 3, stride=1)
    pictures = torch.lerp(pictures, soft, _share(pictures, generator, 0.3))
    coarse = functional.avg_pool2d(pictures, 2)
    coarse = functional.interpolate(coarse, pictures.shape[-2:], mode="bilinear", align_corners=False)
    return torch.lerp(pictures, coarse, _share(pictures, generator, 0.2))


def _add_noise(pictures: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    noise = torch.randn(pictures.shape, generator=generator, device=pictures.device)
    return pictures + 0.06 * _share(pictures, generator, 0.4) * noise


def _compress(pictures: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """Quantises the DCT coefficients of blocks of 8 x 8 pixels, high frequencies more coarsely."""
    count, side = round(0.35 * len(pictures)), pictures.shape[-1]
    chosen = torch.randperm(len(pictures), generator=generator, device=pictures.device)[:count]
    strength = torch.rand((count, 1, 1, 1, 1, 1), generator=generator, device=pictures.device)
    basis = _cosines(pictures.device)
    blocks = pictures[chosen].view(count, 3, side // _BLOCK, _BLOCK, side // _BLOCK, _BLOCK)
    coefficients = torch.einsum("ui,vj,ncyixj->ncyxuv", basis, basis, blocks)
    frequency = torch.arange(_BLOCK, device=pictures.device)
    fineness = 1.0 + frequency[:, None] + frequency
    step = (0.01 + 0.05 * strength) * fineness
    coefficients = torch.round(coefficients / step) * step
    rounded = torch.einsum("ui,vj,ncyxuv->ncyixj", basis, basis, coefficients)
    return pictures.index_copy(0, chosen, rounded.reshape(count, 3, side, side))


def _cosines(device: torch.device) -> torch.Tensor:
    """(8, 8): the orthonormal basis of the discrete cosine transform."""
    place = torch.arange(_BLOCK, device=device)
    basis = torch.cos(math.pi / _BLOCK * (place + 0.5) * place[:, None]) * math.sqrt(2.0 / _BLOCK)
    basis[0] /= math.sqrt(2.0)
    return basis

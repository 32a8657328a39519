"""Composites emoji on backgrounds, in batches on the device."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional

from training.layout import Layout

_TILE = 128
_LEVELS = 3
# Position of each level within an emoji's (128, 192) pixels: left, top, side.
_PLACES = ((0, 0, 128), (128, 0, 64), (128, 64, 32))
_SHEET_HEIGHT, _SHEET_WIDTH = 128, 192


class Atlas:
    """All emoji at three sizes, so that small ones are drawn without aliasing.

    `sheets` is (emoji, 4, 128, 192) float16, premultiplied by alpha, 0 … 1: the three sizes side by side.
    """

    def __init__(self, pictures: NDArray[np.uint8], device: torch.device) -> None:
        """`pictures` is (n, height, width, 4) uint8 RGBA."""
        parts = torch.split(torch.from_numpy(pictures), 256)
        self.sheets = torch.cat([_make_sheets(part.to(device)).half() for part in parts])

    @property
    def tiles(self) -> torch.Tensor:
        """(emoji, 4, 128, 128) float16: the largest size."""
        return self.sheets[..., :_TILE]

    def paste(self, canvas: torch.Tensor, layout: Layout) -> torch.Tensor:
        """Draws the objects of each picture on `canvas`, (n, 3, side, side) float 0 … 1, in their order."""
        several = canvas[layout.singles :]
        for number in range(layout.emoji.shape[1]):
            rows = slice(0 if number == 0 else layout.singles, None)
            drawn = self._draw(layout, rows, number, canvas.shape[-1])
            target = canvas if number == 0 else several
            target.mul_(1.0 - drawn[:, 3:]).add_(drawn[:, :3])
        return canvas

    def _draw(self, layout: Layout, rows: slice, number: int, side: int) -> torch.Tensor:
        """(n, 4, side, side): one object of each picture, without background."""
        emoji, extent = layout.emoji[rows, number], layout.extent[rows, number]
        matrix = _matrices(layout, rows, number)
        shape = [len(emoji), 4, side, side]
        grid = functional.affine_grid(matrix, shape, align_corners=False)
        inside = ((grid.abs().amax(dim=-1) <= 1.0) & (emoji >= 0)[:, None, None])[:, None]
        level = torch.log2(_TILE / (side * extent.amin(dim=1))).floor().clamp(0, _LEVELS - 1).long()
        sheets = self.sheets[emoji.clamp(min=0)].float()
        return functional.grid_sample(sheets, _find_on_sheet(grid, level), align_corners=False) * inside


def _find_on_sheet(grid: torch.Tensor, level: torch.Tensor) -> torch.Tensor:
    """Maps coordinates in objects, (n, side, side, 2) from -1 to 1, to those on their sheets at each level."""
    scale = grid.new_tensor([[side / _SHEET_WIDTH, side / _SHEET_HEIGHT] for _, _, side in _PLACES])
    middle = grid.new_tensor(
        [[(2 * left + side) / _SHEET_WIDTH - 1, (2 * top + side) / _SHEET_HEIGHT - 1] for left, top, side in _PLACES]
    )
    return grid * scale[level][:, None, None] + middle[level][:, None, None]


def _make_sheets(pictures: torch.Tensor) -> torch.Tensor:
    tiles = _make_tiles(pictures)
    sheets = tiles.new_zeros((len(tiles), 4, _SHEET_HEIGHT, _SHEET_WIDTH))
    for left, top, side in _PLACES:
        sheets[..., top : top + side, left : left + side] = functional.adaptive_avg_pool2d(tiles, side)
    return sheets


def _make_tiles(pictures: torch.Tensor) -> torch.Tensor:
    """(n, 4, 128, 128): the whole pictures, padded to squares with transparent borders."""
    planes = pictures.permute(0, 3, 1, 2).float() / 255
    planes = torch.cat([planes[:, :3] * planes[:, 3:], planes[:, 3:]], dim=1)
    height, width = planes.shape[-2:]
    side = max(height, width)
    across, down = (side - width) // 2, (side - height) // 2
    square = functional.pad(planes, (across, side - width - across, down, side - height - down))
    return functional.interpolate(square, (_TILE, _TILE), mode="bilinear", antialias=True, align_corners=False)


def _matrices(layout: Layout, rows: slice, number: int) -> torch.Tensor:
    """(n, 2, 3): maps coordinates in the frame to those in the object, both from -1 to 1. Rotates, then squashes."""
    centre, extent = layout.centre[rows, number], layout.extent[rows, number]
    angle, flipped = layout.angle[rows, number], layout.flipped[rows, number]
    cosine, sine = torch.cos(angle), torch.sin(angle)
    turned = torch.stack([torch.stack([cosine, sine], dim=1), torch.stack([-sine, cosine], dim=1)], dim=1)
    turned = turned * torch.stack([1.0 - 2.0 * flipped, torch.ones_like(angle)], dim=1)[..., None]
    linear = turned / extent[:, None, :]
    return torch.cat([linear, linear @ (1.0 - 2.0 * centre)[..., None]], dim=2)

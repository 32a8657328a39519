"""Draws pictures to evaluate test-time augmentation with: small objects and panoramas."""

from __future__ import annotations

import io
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from training.backgrounds import draw_backgrounds

_SMALL_SCENE = (320, 240)
_SMALL_SIDES = (44, 80)
_PANORAMA_HEIGHT = 160


class SceneRenderer:
    """Draws scenes, reproducibly from a seed."""

    def __init__(self, seed: int) -> None:
        self._random = np.random.default_rng(seed)
        self._generator = torch.Generator().manual_seed(seed)

    def draw_small(self, picture: NDArray[np.uint8]) -> bytes:
        """320 x 240 pixels with an emoji 44 to 80 pixels wide, far from the centre."""
        side = int(self._random.integers(*_SMALL_SIDES))
        canvas = self._background(*_SMALL_SCENE)
        room = np.array(_SMALL_SCENE) - side
        place = (room * (0.5 + self._random.uniform(0.3, 0.5, 2) * self._random.choice((-1, 1), 2))).astype(int)
        return self._paste(canvas, [(picture, side, int(place[0]), int(place[1]))])

    def draw_panorama(self, pictures: Sequence[NDArray[np.uint8]]) -> bytes:
        """The emoji in a row, spaced by about 4/3 of their width."""
        height = _PANORAMA_HEIGHT
        canvas = self._background(height * len(pictures), height)
        placed = []
        for number, picture in enumerate(pictures):
            side = int(self._random.integers(100, 130))
            left, top = self._random.integers(0, height - side + 1, 2)
            placed.append((picture, side, number * height + int(left), int(top)))
        return self._paste(canvas, placed)

    def _background(self, width: int, height: int) -> Image.Image:
        pixels = draw_backgrounds(1, 128, self._generator)[0].permute(1, 2, 0)
        return Image.fromarray((pixels * 255).byte().numpy()).resize((width, height), Image.Resampling.BICUBIC)

    def _paste(self, canvas: Image.Image, placed: Sequence[tuple[NDArray[np.uint8], int, int, int]]) -> bytes:
        for picture, side, left, top in placed:
            height = round(side * picture.shape[0] / picture.shape[1])
            emoji = Image.fromarray(picture).resize((side, height), Image.Resampling.BICUBIC)
            canvas.paste(emoji, (left, top), emoji)
        return _encode(canvas)


def _encode(canvas: Image.Image) -> bytes:
    file = io.BytesIO()
    canvas.save(file, "PNG")
    return file.getvalue()

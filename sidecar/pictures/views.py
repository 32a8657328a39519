"""RGB pixels → the views that a plan names."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import groupby

from PIL import Image

from sidecar.pictures.geometry import Box, Cut, Size, ViewPlan
from sidecar.pictures.picture import Framing

_RESAMPLING = {"bicubic": Image.Resampling.BICUBIC, "bilinear": Image.Resampling.BILINEAR}

_EXACT_AREA = 32
"""A picture of which one crop is needed is resized whole up to so many times its area: exactly as open_clip does.

Pillow rounds between its two passes, and which comes first depends on the sizes: a crop made alone may be off by some
steps of 255 where colours change most.
"""


def cut_views(picture: Image.Image, plan: ViewPlan) -> Iterator[Image.Image]:
    """The planned views in order, each `plan.view_size` pixels square, in the picture's mode."""
    side = Size(plan.view_size, plan.view_size)
    resampling = _RESAMPLING[plan.framing.interpolation]
    for tile, cuts_of_tile in groupby(plan.cuts, key=lambda cut: cut.tile):
        pixels = picture if tile.size == picture.size else picture.crop(tile)
        for scaled, cuts in groupby(cuts_of_tile, key=lambda cut: cut.scaled):
            for view in _crops(pixels, scaled, list(cuts), plan.framing):
                yield view if view.size == side else view.resize(side, resampling)


def _crops(tile: Image.Image, scaled: Size, cuts: list[Cut], framing: Framing) -> Iterator[Image.Image]:
    resampling = _RESAMPLING[framing.interpolation]
    crops_area = sum(cut.crop.size.width * cut.crop.size.height for cut in cuts)
    if scaled.width * scaled.height <= crops_area * (_EXACT_AREA if len(cuts) == 1 else 1):
        resized = tile.resize(scaled, resampling)
        for cut in cuts:
            yield resized if cut.crop.size == scaled else _crop(resized, cut.crop, framing.fill_color)
        return
    # The same pixels, but for rounding, without the whole: a line of 1 x 65,000 would be 384 x 3,000,000 when resized.
    for cut in cuts:
        yield tile.resize(cut.crop.size, resampling, box=_source(cut.crop, tile.size, scaled))


def _crop(resized: Image.Image, crop: Box, fill_color: int) -> Image.Image:
    if crop.left >= 0 and crop.top >= 0:
        return resized.crop(crop)
    padded = Image.new(resized.mode, crop.size, (fill_color,) * len(resized.getbands()))
    padded.paste(resized, (-crop.left, -crop.top))
    return padded


def _source(crop: Box, tile: tuple[int, int], scaled: Size) -> tuple[float, float, float, float]:
    """Where in the tile the pixels of `crop` come from."""
    across, down = tile[0] / scaled.width, tile[1] / scaled.height
    return crop.left * across, crop.top * down, min(crop.right * across, tile[0]), min(crop.bottom * down, tile[1])

"""RGB pixels → the views that a plan names."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import groupby

from PIL import Image

from sidecar.pictures.geometry import Box, Cut, Size, ViewPlan

_BICUBIC = Image.Resampling.BICUBIC


def cut_views(picture: Image.Image, plan: ViewPlan) -> Iterator[Image.Image]:
    """The planned views in order, each `plan.view_size` pixels square, in the picture's mode."""
    side = Size(plan.view_size, plan.view_size)
    for tile, cuts_of_tile in groupby(plan.cuts, key=lambda cut: cut.tile):
        pixels = picture if tile.size == picture.size else picture.crop(tile)
        for scaled, cuts in groupby(cuts_of_tile, key=lambda cut: cut.scaled):
            for view in _crops(pixels, scaled, list(cuts)):
                yield view if view.size == side else view.resize(side, _BICUBIC)


def _crops(tile: Image.Image, scaled: Size, cuts: list[Cut]) -> Iterator[Image.Image]:
    crops_area = sum(cut.crop.size.width * cut.crop.size.height for cut in cuts)
    if scaled.width * scaled.height <= crops_area:
        resized = tile.resize(scaled, _BICUBIC)
        for cut in cuts:
            yield resized if cut.crop.size == scaled else resized.crop(cut.crop)
        return
    # The same pixels without the whole: a line of 1 x 65,000 pixels would be 384 x 3,000,000 when resized.
    for cut in cuts:
        yield tile.resize(cut.crop.size, _BICUBIC, box=_source(cut.crop, tile.size, scaled))


def _source(crop: Box, tile: tuple[int, int], scaled: Size) -> tuple[float, float, float, float]:
    """Where in the tile the pixels of `crop` come from."""
    across, down = tile[0] / scaled.width, tile[1] / scaled.height
    return crop.left * across, crop.top * down, min(crop.right * across, tile[0]), min(crop.bottom * down, tile[1])

"""Cuts the planned views out of a picture."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from itertools import groupby
from typing import NamedTuple

from PIL import Image

from sidecar.pictures.pixels import Pixels, Reduced
from sidecar.pictures.views.plan import Box, PlannedView, Size, ViewPlan
from sidecar.pictures.views.settings import Framing

_RESAMPLING = {"bicubic": Image.Resampling.BICUBIC, "bilinear": Image.Resampling.BILINEAR}

_EXACT_AREA = 32
"""Where one crop of a tile is needed, the whole tile is resized if its scaled area is at most this many times the
crop's: the result then equals that of open_clip exactly.

Pillow rounds between its horizontal and vertical pass, and which comes first depends on the sizes: a crop resized by
itself may differ by some levels of 255 where colours change most.
"""


def cut_rgb_views(pixels: Pixels, plan: ViewPlan) -> Iterator[Image.Image]:
    """The planned views in sRGB, mode RGB.

    Colours are converted before or after scaling, whichever has fewer pixels to convert. The results differ by
    rounding only.
    """
    picture, to_srgb = pixels.picture, pixels.to_srgb
    scaled_area = sum(scaled.width * scaled.height for _, scaled in {(view.tile, view.scaled) for view in plan.views})
    if to_srgb is None or picture.width * picture.height <= scaled_area:
        return cut_views(pixels.rgb(), plan, reduced=pixels.reduced)
    return cut_views(picture, plan, to_srgb, pixels.reduced)


def _identity(picture: Image.Image) -> Image.Image:
    return picture


class _Tile(NamedTuple):
    """A tile of the picture: the part of `pixels` that it is, if it ends between two of them."""

    pixels: Image.Image
    left: float
    top: float
    right: float
    bottom: float

    def scale(self, scaled: Size, resampling: Image.Resampling) -> Image.Image:
        return self.pixels.resize(scaled, resampling, box=self[1:])

    def scale_crop(self, crop: Box, scaled: Size, resampling: Image.Resampling) -> Image.Image:
        """`crop` of what `scale` returns, up to rounding."""
        across, down = (self.right - self.left) / scaled.width, (self.bottom - self.top) / scaled.height
        left, top = self.left + crop.left * across, self.top + crop.top * down
        right, bottom = self.left + crop.right * across, self.top + crop.bottom * down
        box = (left, top, min(right, self.right), min(bottom, self.bottom))
        return self.pixels.resize(crop.size, resampling, box=box)


def cut_views(
    picture: Image.Image,
    plan: ViewPlan,
    convert: Callable[[Image.Image], Image.Image] = _identity,
    reduced: Reduced | None = None,
) -> Iterator[Image.Image]:
    """The planned views in order, each `plan.view_size` pixels square. `convert` is applied to the scaled pixels and
    decides the mode of the views. `reduced`: how the picture that the plan is for lies in `picture`, a copy of it."""
    side = Size(plan.view_size, plan.view_size)
    resampling = _RESAMPLING[plan.framing.interpolation]
    for tile, views_of_tile in groupby(plan.views, key=lambda view: view.tile):
        pixels = _cut_tile(picture, tile, reduced or Reduced(picture.size))
        for scaled, planned in groupby(views_of_tile, key=lambda view: view.scaled):
            for crop in _crops(pixels, scaled, list(planned), plan.framing, convert):
                yield crop if crop.size == side else crop.resize(side, resampling)


def _cut_tile(picture: Image.Image, tile: Box, reduced: Reduced) -> _Tile:
    """The tile without its neighbours, of which the resizing would else mix in some pixels."""
    left, right = (min(reduced.left + x / reduced.factor, picture.width) for x in (tile.left, tile.right))
    top, bottom = (min(reduced.top + y / reduced.factor, picture.height) for y in (tile.top, tile.bottom))
    around = Box(math.floor(left), math.floor(top), math.ceil(right), math.ceil(bottom))
    pixels = picture if around.size == picture.size else picture.crop(around)
    return _Tile(pixels, left - around.left, top - around.top, right - around.left, bottom - around.top)


def _crops(
    tile: _Tile,
    scaled: Size,
    views: list[PlannedView],
    framing: Framing,
    convert: Callable[[Image.Image], Image.Image],
) -> Iterator[Image.Image]:
    """The crops of one tile at one scale."""
    resampling = _RESAMPLING[framing.interpolation]
    crops_area = sum(view.crop.size.width * view.crop.size.height for view in views)
    if scaled.width * scaled.height <= crops_area * (_EXACT_AREA if len(views) == 1 else 1):
        resized = convert(tile.scale(scaled, resampling))
        for view in views:
            yield resized if view.crop.size == scaled else _crop(resized, view.crop, framing.fill_color)
        return
    # The same pixels up to rounding, without resizing the whole tile: a large factor makes that many times as large.
    for view in views:
        yield convert(tile.scale_crop(view.crop, scaled, resampling))


def _crop(resized: Image.Image, crop: Box, fill_color: int) -> Image.Image:
    """`crop` of `resized`, padded with `fill_color` where it extends beyond."""
    if crop.left >= 0 and crop.top >= 0 and crop.right <= resized.width and crop.bottom <= resized.height:
        return resized.crop(crop)
    padded = Image.new(resized.mode, crop.size, (fill_color,) * len(resized.getbands()))
    padded.paste(resized, (-crop.left, -crop.top))
    return padded

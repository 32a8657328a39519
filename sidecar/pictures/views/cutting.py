"""Cuts the planned views out of a picture."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import groupby

from PIL import Image

from sidecar.pictures.pixels import Pixels
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
        return cut_views(pixels.rgb(), plan)
    return cut_views(picture, plan, to_srgb)


def _identity(picture: Image.Image) -> Image.Image:
    return picture


def cut_views(
    picture: Image.Image, plan: ViewPlan, convert: Callable[[Image.Image], Image.Image] = _identity
) -> Iterator[Image.Image]:
    """The planned views in order, each `plan.view_size` pixels square. `convert` is applied to the scaled pixels and
    decides the mode of the views."""
    side = Size(plan.view_size, plan.view_size)
    resampling = _RESAMPLING[plan.framing.interpolation]
    for tile, views_of_tile in groupby(plan.views, key=lambda view: view.tile):
        pixels = picture if tile.size == picture.size else picture.crop(tile)
        for scaled, planned in groupby(views_of_tile, key=lambda view: view.scaled):
            for crop in _crops(pixels, scaled, list(planned), plan.framing, convert):
                yield crop if crop.size == side else crop.resize(side, resampling)


def _crops(
    tile: Image.Image,
    scaled: Size,
    views: list[PlannedView],
    framing: Framing,
    convert: Callable[[Image.Image], Image.Image],
) -> Iterator[Image.Image]:
    """The crops of one tile at one scale."""
    resampling = _RESAMPLING[framing.interpolation]
    crops_area = sum(view.crop.size.width * view.crop.size.height for view in views)
    if scaled.width * scaled.height <= crops_area * (_EXACT_AREA if len(views) == 1 else 1):
        resized = convert(tile.resize(scaled, resampling))
        for view in views:
            yield resized if view.crop.size == scaled else _crop(resized, view.crop, framing.fill_color)
        return
    # The same pixels up to rounding, without resizing the whole tile: a large factor makes that many times as large.
    for view in views:
        yield convert(tile.resize(view.crop.size, resampling, box=_source_box(view.crop, tile.size, scaled)))


def _crop(resized: Image.Image, crop: Box, fill_color: int) -> Image.Image:
    """`crop` of `resized`, padded with `fill_color` where it extends beyond."""
    if crop.left >= 0 and crop.top >= 0 and crop.right <= resized.width and crop.bottom <= resized.height:
        return resized.crop(crop)
    padded = Image.new(resized.mode, crop.size, (fill_color,) * len(resized.getbands()))
    padded.paste(resized, (-crop.left, -crop.top))
    return padded


def _source_box(crop: Box, tile: tuple[int, int], scaled: Size) -> tuple[float, float, float, float]:
    """The part of the unscaled tile that becomes `crop` of the scaled one."""
    across, down = tile[0] / scaled.width, tile[1] / scaled.height
    return crop.left * across, crop.top * down, min(crop.right * across, tile[0]), min(crop.bottom * down, tile[1])

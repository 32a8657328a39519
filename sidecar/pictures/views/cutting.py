"""Pixels → the views that a plan names."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import groupby

from PIL import Image

from sidecar.pictures.pixels import Pixels
from sidecar.pictures.views.plan import Box, Cut, Size, ViewPlan
from sidecar.pictures.views.settings import Framing

_RESAMPLING = {"bicubic": Image.Resampling.BICUBIC, "bilinear": Image.Resampling.BILINEAR}

_EXACT_AREA = 32
"""A picture of which one crop is needed is resized whole up to this multiple of its area: exactly as open_clip does.

Pillow rounds between its two passes, and which comes first depends on the sizes: a crop made alone may be off by some
steps of 255 where colours change most.
"""


def rgb_views(pixels: Pixels, plan: ViewPlan) -> Iterator[Image.Image]:
    """The planned views in sRGB, mode RGB.

    Colours are converted where fewer pixels are: before the picture is scaled, or behind that. It differs by rounding.
    """
    picture, to_srgb = pixels.picture, pixels.to_srgb
    scaled_area = sum(scaled.width * scaled.height for _, scaled in {(cut.tile, cut.scaled) for cut in plan.cuts})
    if to_srgb is None or picture.width * picture.height <= scaled_area:
        return cut_views(pixels.rgb(), plan)
    return cut_views(picture, plan, to_srgb)


def _as_it_is(picture: Image.Image) -> Image.Image:
    return picture


def cut_views(
    picture: Image.Image, plan: ViewPlan, convert: Callable[[Image.Image], Image.Image] = _as_it_is
) -> Iterator[Image.Image]:
    """The planned views in order, each `plan.view_size` pixels square, in the mode that `convert` gives the scaled
    picture."""
    side = Size(plan.view_size, plan.view_size)
    resampling = _RESAMPLING[plan.framing.interpolation]
    for tile, cuts_of_tile in groupby(plan.cuts, key=lambda cut: cut.tile):
        pixels = picture if tile.size == picture.size else picture.crop(tile)
        for scaled, cuts in groupby(cuts_of_tile, key=lambda cut: cut.scaled):
            for view in _crops(pixels, scaled, list(cuts), plan.framing, convert):
                yield view if view.size == side else view.resize(side, resampling)


def _crops(
    tile: Image.Image, scaled: Size, cuts: list[Cut], framing: Framing, convert: Callable[[Image.Image], Image.Image]
) -> Iterator[Image.Image]:
    resampling = _RESAMPLING[framing.interpolation]
    crops_area = sum(cut.crop.size.width * cut.crop.size.height for cut in cuts)
    if scaled.width * scaled.height <= crops_area * (_EXACT_AREA if len(cuts) == 1 else 1):
        resized = convert(tile.resize(scaled, resampling))
        for cut in cuts:
            yield resized if cut.crop.size == scaled else _crop(resized, cut.crop, framing.fill_color)
        return
    # The same pixels, but for rounding, without the whole, which a large factor makes many times as large.
    for cut in cuts:
        yield convert(tile.resize(cut.crop.size, resampling, box=_source(cut.crop, tile.size, scaled)))


def _crop(resized: Image.Image, crop: Box, fill_color: int) -> Image.Image:
    if crop.left >= 0 and crop.top >= 0 and crop.right <= resized.width and crop.bottom <= resized.height:
        return resized.crop(crop)
    padded = Image.new(resized.mode, crop.size, (fill_color,) * len(resized.getbands()))
    padded.paste(resized, (-crop.left, -crop.top))
    return padded


def _source(crop: Box, tile: tuple[int, int], scaled: Size) -> tuple[float, float, float, float]:
    """Where in the tile the pixels of `crop` come from."""
    across, down = tile[0] / scaled.width, tile[1] / scaled.height
    return crop.left * across, crop.top * down, min(crop.right * across, tile[0]), min(crop.bottom * down, tile[1])

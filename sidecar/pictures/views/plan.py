"""Plans which views are cut from a picture of a given size. Pure arithmetic.

A change to the plan is a change of the vector space: golden tests pin the plans, and `canonical_view_settings` is part
of the fingerprint. Halves are rounded to even, as Python's `round` does.
"""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import asdict, dataclass
from typing import NamedTuple

from sidecar.pictures.views.settings import SQUASHED, Framing, ViewSettings

MAX_TILES = 8
TILE_RATIO = 1.5
"""Length of a panorama's tile, in multiples of the picture's short side."""

MAX_SEEN_RATIO = 3
"""Ratio of sides up to which the five crops at factor 1 cover a whole tile; longer tiles are squashed to it."""

REDUCTION_MARGIN = 2
"""What is finer than half a pixel of a view, resizing to it removes in any case: its lack is nearly invisible."""


class Size(NamedTuple):
    """Width and height in pixels."""

    width: int
    height: int


class Box(NamedTuple):
    """Pixels `left ≤ x < right`, `top ≤ y < bottom`."""

    left: int
    top: int
    right: int
    bottom: int

    @property
    def size(self) -> Size:
        return Size(self.right - self.left, self.bottom - self.top)


class PlannedView(NamedTuple):
    """One view: `tile` of the picture is resized to `scaled`, then `crop` of that is resized to the view's size.

    Only the crop of a whole picture that is padded (`longest`) extends beyond `scaled`.
    """

    tile: Box
    scaled: Size
    crop: Box


@dataclass(frozen=True, slots=True)
class ViewPlan:
    """The views of one picture in order of encoding, each `view_size` pixels square; `weights` sum to one."""

    view_size: int
    views: tuple[PlannedView, ...]
    weights: tuple[float, ...]
    framing: Framing = SQUASHED


def plan_views(width: int, height: int, settings: ViewSettings) -> ViewPlan:
    """Plans the views of a picture of `width` x `height` pixels: five crops per tile and scale, without duplicates.

    Without TTA there is one view: the whole picture in the model's own framing. With an anchor weight that view is
    added, or its weight is added to an equal crop.
    """
    whole = Box(0, 0, width, height)
    side = settings.view_size
    anchor = _whole_picture_view(whole, side, settings.framing)
    if not settings.enable_tta:
        return ViewPlan(side, (anchor,), (1.0,), settings.framing)
    counts = Counter(
        PlannedView(tile, scaled, crop)
        for tile in _tiles(whole.size, settings.panorama_max_ratio)
        for scaled in (_scaled_size(tile.size, factor, settings) for factor in settings.scale_factors)
        for crop in _five_crops(scaled, settings.crop_size)
    )
    crops_share = 1.0 - settings.anchor_weight
    weights = {cut: crops_share * count / counts.total() for cut, count in counts.items()}
    weights[anchor] = weights.get(anchor, 0.0) + settings.anchor_weight
    kept = {cut: weight for cut, weight in weights.items() if weight > 0.0}
    return ViewPlan(side, tuple(kept), tuple(kept.values()), settings.framing)


def find_reduction(width: int, height: int, settings: ViewSettings) -> int:
    """The factor by which a picture may be reduced before its views are cut, 1 if it may not.

    Each tile keeps at least REDUCTION_MARGIN times the pixels, in each direction, of what it is scaled to. It is the
    same for the picture turned on its side.
    """
    views = plan_views(width, height, settings).views
    sides = ((side, scaled) for view in views for side, scaled in zip(view.tile.size, view.scaled, strict=True))
    return max(1, min(side // (REDUCTION_MARGIN * scaled) for side, scaled in sides))


def _whole_picture_view(whole: Box, side: int, framing: Framing) -> PlannedView:
    """The whole picture as open_clip's transform frames it, with the rounding of torchvision and open_clip.

    It differs only where those fail: if the short side of a very thin picture rounds to 0, one pixel is kept.
    """
    width, height = whole.size
    long, short = max(width, height), min(width, height)
    if framing.resize_mode == "squash":
        return PlannedView(whole, Size(side, side), Box(0, 0, side, side))
    if framing.resize_mode == "shortest":
        other = int(side * long / short)
        scaled = Size(side, other) if width <= height else Size(other, side)
        left, top = round((scaled.width - side) / 2), round((scaled.height - side) / 2)
        return PlannedView(whole, scaled, Box(left, top, left + side, top + side))
    ratio = long / side
    scaled = Size(max(1, round(width / ratio)), max(1, round(height / ratio)))
    left, top = -((side - scaled.width) // 2), -((side - scaled.height) // 2)
    return PlannedView(whole, scaled, Box(left, top, left + side, top + side))


def _tiles(picture: Size, max_ratio: float) -> list[Box]:
    """The whole picture, or overlapping tiles along the long side of a panorama, wide or tall."""
    long, short = max(picture), min(picture)
    ratio = long / short
    count = min(math.ceil(ratio / TILE_RATIO), MAX_TILES)
    # With a maximum ratio below 1.5 even a picture no longer than a single tile counts as a panorama.
    if ratio <= max_ratio or count < 2:
        return [Box(0, 0, *picture)]
    length = max(round(TILE_RATIO * short), math.ceil(long / count))
    starts = [round(i * (long - length) / (count - 1)) for i in range(count)]
    if picture.width >= picture.height:
        return [Box(start, 0, start + length, short) for start in starts]
    return [Box(0, start, short, start + length) for start in starts]


def _scaled_size(tile: Size, factor: float, settings: ViewSettings) -> Size:
    """The size of a tile at a scale factor, limited by `max_scaled_dim`, but at least `crop_size` on each side."""
    crop_size, max_dim = settings.crop_size, settings.max_scaled_dim
    long, short = max(tile), min(tile)
    scale = short_side(factor, crop_size) / short
    if long * scale > max_dim:
        scale = max(max_dim / long, crop_size / short)
    width, height = (max(crop_size, round(length * scale)) for length in tile)
    # Five crops as high as the tile cover three times their own length. A longer tile is squashed to that length, as
    # the model's own transform squashes all pictures.
    longest = MAX_SEEN_RATIO * crop_size if min(width, height) == crop_size else max(width, height)
    return Size(min(width, longest), min(height, longest))


def short_side(factor: float, crop_size: int) -> int:
    """Short side in pixels of a tile scaled by `factor`: at least `crop_size`, so that a crop fits."""
    return round(max(crop_size, crop_size * factor))


def _five_crops(scaled: Size, side: int) -> list[Box]:
    """Top left, top right, bottom left, bottom right, centre."""
    right, bottom = scaled.width - side, scaled.height - side
    corners = [(0, 0), (right, 0), (0, bottom), (right, bottom), (right // 2, bottom // 2)]
    return [Box(left, top, left + side, top + side) for left, top in corners]


def canonical_view_settings(settings: ViewSettings) -> dict[str, object]:
    """The canonical form of the settings, as JSON: equal exactly if all pictures get the same views and weights.

    The order of the views is ignored: it affects the mean of their vectors by rounding only.
    """
    whole: dict[str, object] = {"view_size": settings.view_size, "whole": _canonical_framing(settings.framing)}
    if not settings.enable_tta or settings.anchor_weight == 1.0:
        return whole
    crops: dict[str, object] = {
        "view_size": settings.view_size,
        "interpolation": settings.framing.interpolation,
        "crop_size": settings.crop_size,
        "short_sides": _short_sides(settings),
        "panorama_max_ratio": max(settings.panorama_max_ratio, TILE_RATIO),
    }
    if any(side > settings.crop_size for side, _ in _short_sides(settings)):
        # A tile scaled to the crop's own size is never scaled down for its length: the crop would no longer fit.
        crops["max_scaled_dim"] = settings.max_scaled_dim
    return crops if settings.anchor_weight == 0.0 else {**whole, **crops, "anchor_weight": settings.anchor_weight}


def _canonical_framing(framing: Framing) -> dict[str, object]:
    described = asdict(framing)
    if framing.resize_mode != "longest":
        del described["fill_color"]
    return described


def _short_sides(settings: ViewSettings) -> list[tuple[int, int]]:
    """The distinct short sides that the scale factors give, each with its relative frequency.

    Short sides above `max_scaled_dim` are equivalent: they are reduced to it for a square picture, and for any other
    picture the limit alone determines the size.
    """
    longest = max(settings.max_scaled_dim, settings.crop_size)
    counts = Counter(min(short_side(factor, settings.crop_size), longest) for factor in settings.scale_factors)
    divisor = math.gcd(*counts.values())
    return sorted((side, count // divisor) for side, count in counts.items())

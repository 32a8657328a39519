"""Which views are cut from a picture of a given size. Pure arithmetic.

The plan is part of the fingerprint: another plan is another vector space, so golden tests pin it. Halves are rounded
to even, as Python's `round` does.
"""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import asdict, dataclass
from typing import NamedTuple

from sidecar.pictures.views.settings import SQUASHED, Framing, ViewSettings

MAX_TILES = 8
TILE_RATIO = 1.5
"""A tile of a panorama is this many times as long as the picture's short side."""


MAX_SEEN_RATIO = 3
"""Of a tile that is this many times as long as it is high, the crops at factor 1 see all; a longer one is squashed."""


class Size(NamedTuple):
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
    """One view: `tile` of the picture is resized to `scaled`, and `crop` of that to the view's size.

    A crop that reaches beyond `scaled`, as only that of a padded whole picture does, is filled up there.
    """

    tile: Box
    scaled: Size
    crop: Box


@dataclass(frozen=True, slots=True)
class ViewPlan:
    """The views of one picture, `view_size` pixels square, in the order of encoding; `weights` sum to one."""

    view_size: int
    views: tuple[PlannedView, ...]
    weights: tuple[float, ...]
    framing: Framing = SQUASHED


def plan_views(width: int, height: int, settings: ViewSettings) -> ViewPlan:
    """Plan the views of a picture of `width` x `height` pixels: five crops per tile and scale, equal ones once.

    Without TTA it is one view: the whole picture as the model was trained to see it. With an anchor weight that view is
    added (or, where a crop already equals it, made heavier).
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


def _whole_picture_view(whole: Box, side: int, framing: Framing) -> PlannedView:
    """The whole picture as open_clip's transform makes it; the rounding is that of torchvision and of open_clip.

    It differs where they fail: a line so thin that its short side would be rounded to nothing keeps a pixel.
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
    # A maximum ratio below 1.5 calls pictures panoramas that are no longer than a single tile.
    if ratio <= max_ratio or count < 2:
        return [Box(0, 0, *picture)]
    length = max(round(TILE_RATIO * short), math.ceil(long / count))
    starts = [round(i * (long - length) / (count - 1)) for i in range(count)]
    if picture.width >= picture.height:
        return [Box(start, 0, start + length, short) for start in starts]
    return [Box(0, start, short, start + length) for start in starts]


def _scaled_size(tile: Size, factor: float, settings: ViewSettings) -> Size:
    crop_size, max_dim = settings.crop_size, settings.max_scaled_dim
    long, short = max(tile), min(tile)
    scale = short_side(factor, crop_size) / short
    if long * scale > max_dim:
        scale = max(max_dim / long, crop_size / short)
    width, height = (max(crop_size, round(length * scale)) for length in tile)
    # Five crops that are as high as the tile see three of their own lengths of it: what is longer is squashed to that,
    # as the model's own transform squashes all pictures.
    longest = MAX_SEEN_RATIO * crop_size if min(width, height) == crop_size else max(width, height)
    return Size(min(width, longest), min(height, longest))


def short_side(factor: float, crop_size: int) -> int:
    """What a factor scales the short side of a tile to, in pixels: never less than a crop, which must fit."""
    return round(max(crop_size, crop_size * factor))


def _five_crops(scaled: Size, side: int) -> list[Box]:
    """Top left, top right, bottom left, bottom right, centre."""
    right, bottom = scaled.width - side, scaled.height - side
    corners = [(0, 0), (right, 0), (0, bottom), (right, bottom), (right // 2, bottom // 2)]
    return [Box(left, top, left + side, top + side) for left, top in corners]


def canonical_view_settings(settings: ViewSettings) -> dict[str, object]:
    """JSON that is equal for two settings exactly if every picture gets the same views with the same weights.

    Equal up to the order of the views, which the mean of their vectors does not depend on but for rounding.
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
        # Nothing that is scaled to the crop's own size is scaled down for being long: the crop would not fit any more.
        crops["max_scaled_dim"] = settings.max_scaled_dim
    return crops if settings.anchor_weight == 0.0 else {**whole, **crops, "anchor_weight": settings.anchor_weight}


def _canonical_framing(framing: Framing) -> dict[str, object]:
    described = asdict(framing)
    if framing.resize_mode != "longest":
        del described["fill_color"]
    return described


def _short_sides(settings: ViewSettings) -> list[tuple[int, int]]:
    """The length that each factor gives the short side, and how often relative to the others.

    Beyond the longest side that is allowed, the side is that of a square picture, and for others decided by it alone.
    """
    longest = max(settings.max_scaled_dim, settings.crop_size)
    counts = Counter(min(short_side(factor, settings.crop_size), longest) for factor in settings.scale_factors)
    divisor = math.gcd(*counts.values())
    return sorted((side, count // divisor) for side, count in counts.items())

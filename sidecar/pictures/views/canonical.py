"""View settings → what of them decides a view: two settings that cut the same views of every picture are one."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import asdict

from sidecar.pictures.picture import Framing, ViewSettings
from sidecar.pictures.views.plan import TILE_RATIO, short_side


def views_in_force(settings: ViewSettings) -> dict[str, object]:
    """JSON that is equal for two settings exactly if every picture gets the same views with the same weights.

    Equal up to the order of the views, which the mean of their vectors does not depend on but for rounding.
    """
    whole: dict[str, object] = {"view_size": settings.view_size, "whole": _framing_in_force(settings.framing)}
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


def _framing_in_force(framing: Framing) -> dict[str, object]:
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

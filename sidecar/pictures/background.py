"""Chooses the background of a transparent picture: white, unless the picture would be invisible on it.

Nearly all transparent pictures are made for white pages, but a white logo for dark pages would vanish there. The choice
depends on the edges of the visible part. Each edge pixel is weighted by how much more opaque it is than its neighbours,
and counts as hidden by the largest difference of a channel to the background: fully up to 16 levels, not at all from 48
on. If more than half of the edge is hidden on white, the background is black or mid grey, whichever hides less.
"""

from __future__ import annotations

from PIL import Image, ImageChops, ImageFilter

WHITE, GREY, BLACK = 255, 128, 0

_SIDE = 256
"""Longest side in pixels of the reduced copy in which edges are found."""

_SAMPLED_SIDE = 1024

_HIDDEN_WITHIN, _VISIBLE_FROM = 16, 48
_MOST_HIDDEN = 0.5


def choose_background(rgba: Image.Image) -> int:
    """The grey level of the background for a picture of mode RGBA."""
    sampled = _sample(rgba)
    small = sampled.reduce(max(1, -(-max(sampled.size) // _SIDE)))
    edge = _edges(small.getchannel("A"))
    weight = sum(level * count for level, count in enumerate(edge.histogram()))
    if weight == 0 or _hidden_weight(small, edge, WHITE) <= _MOST_HIDDEN * weight:
        return WHITE
    return min((BLACK, GREY), key=lambda level: _hidden_weight(small, edge, level))


def _sample(rgba: Image.Image) -> Image.Image:
    """Every n-th pixel of a large picture: averaging all would take longer than decoding some formats."""
    step = -(-max(rgba.size) // _SAMPLED_SIDE)
    size = (max(1, rgba.width // step), max(1, rgba.height // step))
    return rgba if step == 1 else rgba.resize(size, Image.Resampling.NEAREST)


def _edges(alpha: Image.Image) -> Image.Image:
    """How much more opaque each pixel is than its most transparent neighbour; if nowhere, the opacity itself."""
    # Pillow's filters skip the outermost pixels. The frame is opaque, so that the picture's border is no edge.
    framed = Image.new("L", (alpha.width + 2, alpha.height + 2), 255)
    framed.paste(alpha, (1, 1))
    lowest = framed.filter(ImageFilter.MinFilter(3)).crop((1, 1, alpha.width + 1, alpha.height + 1))
    edge = ImageChops.subtract(alpha, lowest)
    return edge if edge.getextrema() != (0, 0) else alpha


def _hidden_weight(rgba: Image.Image, edge: Image.Image, level: int) -> float:
    """How much of the weight of `edge` is invisible on a background of the grey `level`."""
    distances = [band.point(lambda value: abs(value - level)) for band in rgba.convert("RGB").split()]
    farthest = ImageChops.lighter(ImageChops.lighter(*distances[:2]), distances[2])
    hidden = farthest.point([round(255 * _share_hidden(distance)) for distance in range(256)])
    product = ImageChops.multiply(edge, hidden)
    return float(sum(value * count for value, count in enumerate(product.histogram())))


def _share_hidden(distance: int) -> float:
    return min(1.0, max(0.0, (_VISIBLE_FROM - distance) / (_VISIBLE_FROM - _HIDDEN_WITHIN)))

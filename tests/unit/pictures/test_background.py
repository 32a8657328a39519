"""Transparent pictures get a background on which they are visible: white if possible."""

from __future__ import annotations

import io
from collections.abc import Callable
from itertools import pairwise

import numpy as np
import pytest
from PIL import Image, ImageDraw

from sidecar.pictures.background import BLACK, GREY, WHITE, choose_background
from sidecar.pictures.pixels import to_rgb
from tests.unit.pictures.pictures import encode, pixels, worst_difference

Colour = tuple[int, int, int]
SIZE = (120, 80)


def logo(*shapes: tuple[str, tuple[int, int, int, int], Colour], size: tuple[int, int] = SIZE) -> Image.Image:
    picture = Image.new("RGBA", size)
    draw = ImageDraw.Draw(picture)
    for kind, box, colour in shapes:
        (draw.rectangle if kind == "box" else draw.ellipse)(box, fill=(*colour, 255))
    return picture


BOX, DISC = (20, 20, 70, 60), (60, 10, 110, 70)
PALE, RED, INK = (255, 255, 255), (200, 30, 30), (20, 20, 20)


def test_two_white_logos_are_two_pictures() -> None:
    box, disc = to_rgb(logo(("box", BOX, PALE))), to_rgb(logo(("disc", DISC, PALE)))

    assert worst_difference(box, disc) == 255
    assert box.getpixel((0, 0)) == (0, 0, 0)
    assert box.getpixel((40, 40)) == (255, 255, 255)


ORDINARY: dict[str, Image.Image] = {
    "dark": logo(("box", BOX, INK)),
    "coloured": logo(("disc", DISC, RED)),
    "yellow": logo(("disc", DISC, (255, 230, 0))),
    "light blue": logo(("disc", DISC, (150, 210, 255))),
    "white inside of a dark rim": logo(("box", BOX, INK), ("box", (24, 24, 66, 56), PALE)),
    "mostly dark, some white": logo(("disc", DISC, INK), ("box", (0, 30, 20, 50), PALE)),
    "half opaque and dark": Image.new("RGBA", SIZE, (0, 0, 0, 128)),
    "all transparent": Image.new("RGBA", SIZE),
}


@pytest.mark.parametrize("picture", ORDINARY.values(), ids=ORDINARY)
def test_a_picture_visible_on_white_gets_a_white_background(picture: Image.Image) -> None:
    on_white = Image.new("RGB", picture.size, "white")
    on_white.paste(picture, mask=picture)

    assert choose_background(picture) == WHITE
    assert worst_difference(to_rgb(picture), on_white) == 0


PALE_PICTURES: dict[str, Image.Image] = {
    "white": logo(("box", BOX, PALE)),
    "nearly white": logo(("box", BOX, (245, 245, 245))),
    "white writing beside a small mark": logo(("box", BOX, PALE), ("disc", (90, 30, 100, 40), RED)),
    "white and half opaque": Image.new("RGBA", SIZE, (255, 255, 255, 128)),
    "a thin line": logo(("box", (10, 40, 110, 40), PALE)),
    "large": logo(("disc", (100, 100, 1900, 900), PALE), size=(2000, 1000)),
}


@pytest.mark.parametrize("picture", PALE_PICTURES.values(), ids=PALE_PICTURES)
def test_a_picture_invisible_on_white_gets_a_black_background(picture: Image.Image) -> None:
    assert choose_background(picture) == BLACK


def test_white_with_some_black_gets_a_grey_background() -> None:
    picture = logo(("box", BOX, PALE), ("box", (80, 20, 110, 60), (0, 0, 0)))

    assert choose_background(picture) == GREY


def test_colours_of_fully_transparent_pixels_are_ignored() -> None:
    dark, pale = (Image.new("RGBA", SIZE, (*colour, 0)) for colour in ((0, 0, 0), (255, 255, 255)))
    for canvas in (dark, pale):
        canvas.paste((255, 255, 255, 255), BOX)

    assert worst_difference(to_rgb(dark), to_rgb(pale)) == 0


def test_soft_edges_and_glows_are_recognised() -> None:
    alpha = Image.radial_gradient("L").point(lambda distance: 255 - distance)
    glow = Image.new("RGBA", alpha.size, (255, 255, 255, 0))
    glow.putalpha(alpha)

    assert pixels(to_rgb(glow)).std() > 30


@pytest.mark.parametrize("scale", [1, 3, 8])
def test_the_background_does_not_depend_on_the_size_of_the_picture(scale: int) -> None:
    for pictures, level in ((ORDINARY, WHITE), (PALE_PICTURES, BLACK)):
        for name in ("white", "dark", "coloured", "white writing beside a small mark"):
            if name in pictures:
                size = (SIZE[0] * scale, SIZE[1] * scale)
                assert choose_background(pictures[name].resize(size, Image.Resampling.NEAREST)) == level


def test_the_background_changes_once_from_dark_to_white() -> None:
    levels = [choose_background(logo(("disc", DISC, (level,) * 3))) for level in range(0, 256, 3)]

    assert [one for one, following in pairwise(levels) if one != following] == [WHITE]
    assert levels[-1] == BLACK
    assert levels.index(BLACK) * 3 in range(215, 240)


MODES: dict[str, Callable[[], bytes]] = {
    "grey and alpha": lambda: encode(logo(("box", BOX, PALE)).convert("LA"), "PNG"),
    "palette": lambda: encode(logo(("box", BOX, PALE)).quantize(4), "PNG"),
    "a transparent colour": lambda: encode(_on_magenta(), "PNG", transparency=(255, 0, 255)),
    "WebP": lambda: encode(logo(("box", BOX, PALE)), "WEBP", lossless=True),
    "GIF": lambda: encode(logo(("box", BOX, PALE)), "GIF"),
    "TIFF": lambda: encode(logo(("box", BOX, PALE)), "TIFF"),
}


def _on_magenta() -> Image.Image:
    picture = Image.new("RGB", SIZE, (255, 0, 255))
    picture.paste((255, 255, 255), BOX)
    return picture


@pytest.mark.parametrize("make_image", MODES.values(), ids=MODES)
def test_every_kind_of_transparency_is_composited(make_image: Callable[[], bytes]) -> None:
    picture = Image.open(io.BytesIO(make_image()))
    picture.load()

    decoded = np.asarray(to_rgb(picture))

    assert decoded[0, 0].max() == 0
    assert decoded[40, 40].min() == 255

"""Large pictures are reduced before their views are cut, and nothing else changes: neither views nor rejections."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from sidecar.errors import PictureRejected
from sidecar.pictures.decode import decode_pixels, keep_size
from sidecar.pictures.pixels import Pixels
from sidecar.pictures.views.cutting import cut_rgb_views
from sidecar.pictures.views.plan import find_reduction, plan_views
from sidecar.pictures.views.settings import Framing, ViewSettings
from tests.unit.pictures import profiles
from tests.unit.pictures.pictures import encode, make_picture

MAX_PIXELS = 10_000_000
ORIENTATION = 0x0112
VIEWS = ViewSettings(
    view_size=32,
    enable_tta=True,
    crop_size=32,
    scale_factors=(1.0, 1.35),
    max_scaled_dim=128,
    panorama_max_ratio=2.6,
)
ONE_VIEW = replace(VIEWS, enable_tta=False)


def decode(image: bytes, views: ViewSettings, *, fast: bool = True) -> Pixels:
    return decode_pixels(image, MAX_PIXELS, partial(find_reduction, settings=views) if fast else keep_size)


def cut(pixels: Pixels, views: ViewSettings) -> NDArray[np.int16]:
    plan = plan_views(*pixels.geometry.size, views)
    return np.stack([np.asarray(view) for view in cut_rgb_views(pixels, plan)]).astype(np.int16)


def draw_marks(width: int, height: int) -> Image.Image:
    """Hard edges at irregular places, which show a shift by a fraction of a pixel."""
    picture = Image.new("RGB", (width, height), "white")
    draw = ImageDraw.Draw(picture)
    rng = np.random.default_rng(0)
    for _ in range(60):
        x, y, size = (int(rng.integers(low, high)) for low, high in ((0, width), (0, height), (20, 90)))
        draw.rectangle((x, y, x + size, y + size), fill=tuple(int(part) for part in rng.integers(0, 256, 3)))
    return picture


LARGE = make_picture(640, 480)
FILES: dict[str, Callable[[], bytes]] = {
    "baseline": lambda: encode(LARGE, "JPEG"),
    "progressive": lambda: encode(LARGE, "JPEG", progressive=True),
    "without subsampling": lambda: encode(LARGE, "JPEG", subsampling=0),
    "grey": lambda: encode(LARGE.convert("L"), "JPEG"),
    "CMYK": lambda: encode(LARGE.convert("CMYK"), "JPEG"),
    "of several pictures": lambda: encode(LARGE, "MPO", save_all=True, append_images=[make_picture(640, 480, seed=1)]),
    "with a profile": lambda: encode(LARGE, "JPEG", icc_profile=profiles.prophoto()),
}


@pytest.mark.parametrize("make_file", FILES.values(), ids=FILES)
def test_a_large_jpeg_is_reduced_while_it_is_decoded(make_file: Callable[[], bytes]) -> None:
    image = make_file()

    pixels, exact = decode(image, VIEWS), decode(image, VIEWS, fast=False)

    assert pixels.picture.size == (160, 120)
    assert pixels.geometry.size == exact.picture.size == (640, 480)
    assert pixels.picture.mode == exact.picture.mode
    assert np.abs(cut(pixels, VIEWS) - cut(exact, VIEWS)).mean() < 1.0


@pytest.mark.parametrize("picture_format", ["PNG", "WEBP", "TIFF", "BMP"])
def test_a_large_picture_of_another_format_is_reduced_after_it_was_decoded(picture_format: str) -> None:
    image = encode(LARGE, picture_format)

    pixels, exact = decode(image, VIEWS), decode(image, VIEWS, fast=False)

    assert pixels.picture.size == (128, 96)
    assert pixels.geometry.size == (640, 480)
    assert np.abs(cut(pixels, VIEWS) - cut(exact, VIEWS)).mean() < 1.0


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_reduced_jpeg_is_turned_without_a_shift(orientation: int) -> None:
    """An eighth of 513 x 577 pixels ends with an eighth of a pixel, which turning brings to the left or the top."""
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    image = encode(draw_marks(513, 577), "JPEG", exif=exif, quality=95)

    pixels, exact = decode(image, ONE_VIEW), decode(image, ONE_VIEW, fast=False)

    assert pixels.geometry.factor == 8
    assert pixels.geometry.size == exact.picture.size
    difference = np.abs(cut(pixels, ONE_VIEW) - cut(exact, ONE_VIEW)).mean()
    stretched = np.abs(cut(Pixels(pixels.picture), ONE_VIEW) - cut(exact, ONE_VIEW)).mean()
    assert difference < 1.3
    assert stretched > 1.5 * difference  # negative control: as if all of the last pixels were of the picture


def test_tiles_of_a_reduced_panorama_contain_nothing_of_their_neighbours() -> None:
    views = replace(VIEWS, view_size=16, crop_size=16, scale_factors=(1.0,))
    plan = plan_views(2560, 160, views)
    picture = Image.new("RGB", (2560, 160), "black")
    picture.paste("white", plan.views[0].tile)

    pixels = decode(encode(picture, "PNG"), views)

    assert pixels.geometry.factor == 5
    is_first = [view.tile == plan.views[0].tile for view in plan.views]
    cuts = cut(pixels, views)
    assert cuts[is_first].min() == 255
    assert cuts[np.invert(is_first)].max() == 0


@pytest.mark.parametrize("resize_mode", ["squash", "shortest", "longest"])
def test_a_reduced_picture_is_framed_as_a_whole_one(resize_mode: str) -> None:
    views = replace(ONE_VIEW, framing=Framing(resize_mode, fill_color=127))  # type: ignore[arg-type]
    image = encode(draw_marks(641, 301), "JPEG", quality=95)

    pixels = decode(image, views)

    assert pixels.geometry.factor > 1
    assert np.abs(cut(pixels, views) - cut(decode(image, views, fast=False), views)).mean() < 2.0


def test_a_picture_is_not_reduced_below_twice_the_pixels_of_its_views() -> None:
    """Scaled to 43 pixels at factor 1.35, so 172 are twice as many after a reduction by 2."""
    reduced, kept = (decode(encode(make_picture(200, height), "JPEG"), VIEWS) for height in (172, 171))

    assert reduced.picture.size == (100, 86)
    assert kept.reduced is None
    assert kept.picture.size == (200, 171)


@pytest.mark.parametrize("size", [(4032, 3024), (5000, 400), (640, 641), (9000, 9000), (20, 3), (1, 5000)])
@pytest.mark.parametrize("views", [VIEWS, ONE_VIEW, replace(VIEWS, anchor_weight=0.5)])
def test_a_picture_on_its_side_is_reduced_alike(size: tuple[int, int], views: ViewSettings) -> None:
    width, height = size
    factor = find_reduction(width, height, views)

    assert factor == find_reduction(height, width, views) >= 1
    for view in plan_views(width, height, views).views:
        for side, scaled in zip(view.tile.size, view.scaled, strict=True):
            assert factor == 1 or side / factor >= 2 * scaled


def outcome(image: bytes, factor: int) -> str:
    """What is said of a file when a reduction by `factor` is chosen for it."""
    try:
        decode_pixels(image, MAX_PIXELS, lambda _width, _height: factor)
    except PictureRejected as error:
        return f"{error.code}: {error.message}"
    return "read"


SMALL = make_picture(163, 121)
JPEGS: dict[str, Callable[[], bytes]] = {
    "baseline": lambda: encode(SMALL, "JPEG"),
    "progressive": lambda: encode(SMALL, "JPEG", progressive=True),
    "grey": lambda: encode(SMALL.convert("L"), "JPEG"),
    "CMYK": lambda: encode(SMALL.convert("CMYK"), "JPEG"),
    "with restarts": lambda: encode(SMALL, "JPEG", restart_marker_rows=1),
    "noise": lambda: encode(Image.effect_noise((165, 147), 90), "JPEG", quality=100),
}


@pytest.mark.parametrize("make_file", JPEGS.values(), ids=JPEGS)
def test_the_same_jpegs_are_rejected_for_the_same_reason(make_file: Callable[[], bytes]) -> None:
    image = make_file()
    cut_off = [image[:-missing] for missing in (1, 2, 3, 4, 5, 6, 7, 8, 20, 200, 2000)]
    zeroed = image[: len(image) // 2] + bytes(len(image) // 2)
    rng = np.random.default_rng(0)
    damaged = [bytearray(image) for _ in range(20)]
    for file in damaged:
        file[rng.integers(2, len(file))] = rng.integers(256)

    files = [*cut_off, zeroed, *(bytes(file) for file in damaged)]
    whole, half, eighth = ([outcome(file, factor) for file in files] for factor in (1, 2, 8))

    assert whole == half == eighth
    assert {"read", *(said.partition(":")[0] for said in whole)} >= {"read", "truncated_picture"}
    assert whole[1] == "read"  # only the end marker is missing
    assert whole[-22].startswith("truncated_picture")  # 2000 bytes are missing


def test_pixels_are_counted_before_they_are_reduced() -> None:
    image = encode(make_picture(320, 240), "JPEG")

    with pytest.raises(PictureRejected) as caught:
        decode_pixels(image, 320 * 240 - 1, lambda _width, _height: 8)

    assert caught.value.code == "too_many_pixels"
    assert "320 x 240 = 76,800 pixels" in caught.value.message


def test_a_profile_is_applied_to_a_reduced_picture() -> None:
    red = Image.new("RGB", (640, 480), (200, 30, 30))
    image = encode(red, "JPEG", quality=95, icc_profile=profiles.prophoto())

    view = cut(decode(image, ONE_VIEW), ONE_VIEW)[0]

    assert np.abs(view - cut(decode(image, ONE_VIEW, fast=False), ONE_VIEW)[0]).max() <= 2
    assert view[0, 0, 0] > 220  # more red than stored: ProPhoto's red is a stronger one

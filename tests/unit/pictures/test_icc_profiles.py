"""A picture in another colour space has the same pixels after conversion."""

from __future__ import annotations

import io
import zlib
from collections.abc import Callable

import numpy as np
import pytest
from PIL import Image, ImageCms

from sidecar.pictures.decode import decode_pixels, decode_rgb
from sidecar.pictures.icc_profiles import find_conversion
from sidecar.pictures.views.cutting import cut_rgb_views
from sidecar.pictures.views.plan import plan_views
from tests.unit.pictures import profiles
from tests.unit.pictures.decoder.pools import VIEWS
from tests.unit.pictures.files import png_with, write_heic
from tests.unit.pictures.pictures import encode, make_picture, pixels, worst_difference

MAX_PIXELS = 20_000_000
WIDE = {"Adobe RGB": profiles.adobe_rgb, "Display P3": profiles.display_p3, "ProPhoto": profiles.prophoto}


def muted(width: int = 96, height: int = 64) -> Image.Image:
    """Colours within the gamut of all profiles."""
    hue, saturation, value = make_picture(width, height).convert("HSV").split()
    return Image.merge("HSV", (hue, saturation.point(lambda level: level * 0.7), value)).convert("RGB")


@pytest.mark.parametrize("make_profile", WIDE.values(), ids=WIDE)
def test_colours_of_a_wider_space_become_those_of_srgb(make_profile: Callable[[], bytes]) -> None:
    picture, profile = muted(), make_profile()
    stored = profiles.convert(picture, profile)

    decoded = decode_rgb(encode(stored, "PNG", icc_profile=profile), MAX_PIXELS)

    assert worst_difference(stored, picture) > 20
    assert worst_difference(decoded, picture) <= 5
    assert np.abs(pixels(decoded) - pixels(picture)).mean() < 0.5


@pytest.mark.parametrize("picture_format", ["JPEG", "WEBP", "TIFF", "AVIF", "HEIC"])
def test_profiles_are_read_in_every_format_that_has_them(picture_format: str) -> None:
    picture, profile = Image.new("RGB", (32, 32), (60, 160, 90)), profiles.adobe_rgb()
    stored = profiles.convert(picture, profile)
    options = {"lossless": True} if picture_format == "WEBP" else {"quality": 95}
    if picture_format == "HEIC":
        stored.info["icc_profile"] = profile
        image = write_heic(stored, quality=95)
    else:
        image = encode(stored, picture_format, icc_profile=profile, **options)

    assert worst_difference(decode_rgb(image, MAX_PIXELS), picture) <= 6
    assert worst_difference(stored, picture) > 20


@pytest.mark.parametrize("make_profile", [profiles.srgb, profiles.srgb_of_another_maker])
def test_a_profile_of_srgb_changes_no_pixel_and_needs_no_conversion(make_profile: Callable[[], bytes]) -> None:
    picture = make_picture(64, 48)

    decoded = decode_pixels(encode(picture, "PNG", icc_profile=make_profile()), MAX_PIXELS)

    assert decoded.to_srgb is None
    assert worst_difference(decoded.picture, picture) == 0


def test_cmyk_with_a_profile_has_the_colours_of_its_inks() -> None:
    cyan = Image.new("CMYK", (8, 8), (255, 0, 0, 0))

    with_profile = decode_rgb(encode(cyan, "TIFF", icc_profile=profiles.cmyk_profile()), MAX_PIXELS)
    without = decode_rgb(encode(cyan, "TIFF"), MAX_PIXELS)

    assert np.abs(pixels(with_profile)[0, 0] - (0, 151, 218)).max() <= 3
    assert without.getpixel((0, 0)) == (0, 255, 255)


def test_white_paper_and_black_ink_stay_white_and_black() -> None:
    picture = Image.new("CMYK", (2, 1))
    picture.putpixel((1, 0), (255, 255, 255, 255))

    decoded = decode_rgb(encode(picture, "TIFF", icc_profile=profiles.cmyk_profile()), MAX_PIXELS)

    assert decoded.getpixel((0, 0)) == (255, 255, 255)
    assert pixels(decoded)[0, 1].max() <= 30


@pytest.mark.parametrize("mode", ["L", "LA", "I;16"])
def test_grey_with_a_profile_is_converted(mode: str) -> None:
    grey = Image.new("L", (8, 8), 128).convert("L" if mode == "I;16" else mode)
    picture = Image.fromarray(np.full((8, 8), 128 * 257, dtype=np.uint16)) if mode == "I;16" else grey

    decoded = decode_rgb(encode(picture, "PNG", icc_profile=profiles.grey_profile(1.0)), MAX_PIXELS)

    assert decoded.getpixel((0, 0)) == (188, 188, 188)


def test_transparent_pictures_and_palettes_are_converted() -> None:
    profile = profiles.adobe_rgb()
    stored = profiles.convert(Image.new("RGB", (16, 16), (60, 160, 90)), profile)
    transparent = stored.convert("RGBA")
    transparent.paste((0, 0, 0, 0), (8, 0, 16, 16))

    for picture in (transparent, stored.quantize(4)):
        decoded = decode_rgb(encode(picture, "PNG", icc_profile=profile), MAX_PIXELS)
        assert np.abs(pixels(decoded)[4, 4] - (60, 160, 90)).max() <= 3
    assert decode_rgb(encode(transparent, "PNG", icc_profile=profile), MAX_PIXELS).getpixel((12, 4)) == (255, 255, 255)


WRONG = {
    "no profile at all": b"not a profile" * 20,
    "cut off": profiles.adobe_rgb()[:200],
    "its tags are damaged": profiles.adobe_rgb()[:150] + b"\xff" * 194,
    "for grey": profiles.grey_profile(1.0),
    "for CMYK": profiles.cmyk_profile(),
    "a link between devices": profiles.adobe_rgb()[:12] + b"link" + profiles.adobe_rgb()[16:],
    "empty": b"",
    "short": b"\0",
}


@pytest.mark.parametrize("profile", WRONG.values(), ids=WRONG)
def test_a_profile_that_cannot_be_used_is_ignored(profile: bytes) -> None:
    picture = make_picture(32, 24)

    assert worst_difference(decode_rgb(encode(picture, "TIFF", icc_profile=profile), MAX_PIXELS), picture) == 0


def test_a_profile_for_colours_is_ignored_on_grey() -> None:
    grey = make_picture(32, 24).convert("L")

    decoded = decode_rgb(encode(grey, "PNG", icc_profile=profiles.prophoto()), MAX_PIXELS)

    assert worst_difference(decoded, grey.convert("RGB")) == 0


def test_a_profile_that_inflates_without_end_is_ignored() -> None:
    picture = make_picture(32, 24)
    bomb = (b"iCCP", b"n\0\0" + zlib.compress(bytes(40 << 20)))

    assert worst_difference(decode_rgb(png_with(encode(picture, "PNG"), bomb), MAX_PIXELS), picture) == 0


def test_a_conversion_is_made_once_for_all_pictures_with_the_profile() -> None:
    profile = profiles.display_p3()

    assert find_conversion(profile, "RGB") is find_conversion(bytes(bytearray(profile)), "RGB") is not None


def test_converting_the_views_equals_converting_the_picture() -> None:
    """A large picture is converted after scaling, when it has fewer pixels."""
    picture, profile = muted(1200, 900), profiles.adobe_rgb()
    stored = profiles.convert(picture, profile)
    stored_pixels = decode_pixels(encode(stored, "PNG", icc_profile=profile), MAX_PIXELS)
    plan = plan_views(*stored.size, VIEWS)
    assert stored_pixels.to_srgb is not None
    assert stored.width * stored.height > len(plan.views) * plan.view_size**2

    views = list(cut_rgb_views(stored_pixels, plan))

    before = list(cut_rgb_views(type(stored_pixels)(stored_pixels.rgb()), plan))
    assert len(views) == len(before) == 8
    for view, other in zip(views, before, strict=True):
        assert view.mode == "RGB"
        assert np.abs(pixels(view) - pixels(other)).mean() < 0.7
        assert worst_difference(view, other) <= 8


def test_lcms_reads_the_profiles_of_these_tests_as_intended() -> None:
    for make_profile in (*WIDE.values(), profiles.srgb_of_another_maker, profiles.cmyk_profile):
        ImageCms.ImageCmsProfile(io.BytesIO(make_profile()))

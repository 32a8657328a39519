from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from PIL import Image
from torchvision.transforms import Resize
from torchvision.transforms.functional import InterpolationMode

from sidecar.pictures.pixels import to_rgb
from sidecar.pictures.views.cutting import cut_views
from sidecar.pictures.views.plan import plan_views
from sidecar.pictures.views.settings import ViewSettings
from tests.unit.pictures.pictures import make_picture, pixels, worst_difference

BICUBIC = Image.Resampling.BICUBIC

SETTINGS = ViewSettings(
    view_size=96,
    enable_tta=True,
    crop_size=96,
    scale_factors=(1.0, 1.35),
    max_scaled_dim=384,
    panorama_max_ratio=2.6,
)


def cut(picture: Image.Image, settings: ViewSettings) -> list[Image.Image]:
    return list(cut_views(picture, plan_views(picture.width, picture.height, settings)))


@pytest.mark.parametrize("size", [(320, 240), (96, 96), (50, 31), (1000, 100), (1, 7)])
def test_without_tta_pixels_equal_those_of_torchvision(size: tuple[int, int]) -> None:
    picture = make_picture(*size)
    resized: Image.Image = Resize((96, 96), InterpolationMode.BICUBIC)(picture)

    [view] = cut(picture, replace(SETTINGS, enable_tta=False))

    assert np.array_equal(np.asarray(view), np.asarray(resized))
    bilinear: Image.Image = Resize((96, 96), InterpolationMode.BILINEAR)(picture)
    assert size == (96, 96) or not np.array_equal(np.asarray(view), np.asarray(bilinear))  # negative control


@pytest.mark.parametrize(("mode", "worst"), [("L", 0), ("RGBA", 0), ("CMYK", 2)])
def test_converting_to_rgb_before_resizing_equals_open_clip_that_converts_after(mode: str, worst: int) -> None:
    picture = make_picture().convert(mode)
    resized: Image.Image = Resize((96, 96), InterpolationMode.BICUBIC)(picture)

    [view] = cut(to_rgb(picture), replace(SETTINGS, enable_tta=False))

    assert worst_difference(view, resized.convert("RGB")) <= worst


def test_crops_are_cut_from_the_resized_picture() -> None:
    picture = make_picture(320, 240)

    views = cut(picture, SETTINGS)

    small, large = (picture.resize(size, BICUBIC) for size in ((128, 96), (173, 130)))
    boxes = [(small, left, 0) for left in (0, 32, 16)]
    boxes += [(large, left, top) for left, top in ((0, 0), (77, 0), (0, 34), (77, 34), (38, 17))]
    assert len(views) == len(boxes)
    for view, (source, left, top) in zip(views, boxes, strict=True):
        assert worst_difference(view, source.crop((left, top, left + 96, top + 96))) == 0


def test_tiles_of_a_panorama_contain_nothing_of_their_neighbours() -> None:
    picture = Image.new("RGB", (600, 100), "black")
    picture.paste("white", (0, 0, 150, 100))

    views = cut(picture, replace(SETTINGS, scale_factors=(1.0,)))

    assert len(views) == 4 * 3
    assert all(pixels(view).min() == 255 for view in views[:3])  # the first tile is exactly the white part
    assert all(pixels(view).max() == 0 for view in views[3:])


def test_a_crop_of_another_size_is_resized_to_the_view() -> None:
    picture = make_picture(320, 240)

    views = cut(picture, replace(SETTINGS, crop_size=64, scale_factors=(1.0,)))

    crop = picture.resize((85, 64), BICUBIC).crop((21, 0, 85, 64))
    assert {view.size for view in views} == {(96, 96)}
    assert worst_difference(views[1], crop.resize((96, 96), BICUBIC)) == 0


@pytest.mark.parametrize("size", [(997, 113), (113, 997), (500, 31)])
def test_crops_of_a_large_scaled_tile_equal_those_of_the_whole_resized_tile(size: tuple[int, int]) -> None:
    picture = make_picture(*size)
    plan = plan_views(*size, replace(SETTINGS, scale_factors=(4.0,), max_scaled_dim=1000))

    views = list(cut_views(picture, plan))

    for view, planned in zip(views, plan.views, strict=True):
        tile, scaled = picture.crop(planned.tile), planned.scaled
        assert scaled.width * scaled.height > 5 * 96 * 96
        # Pillow resizes in two passes, the cheaper one first, and rounds in between.
        first_passes = [(scaled.width, tile.height), (tile.width, scaled.height)]
        wholes = [tile.resize(size, BICUBIC).resize(scaled, BICUBIC) for size in first_passes]
        assert min(worst_difference(view, whole.crop(planned.crop)) for whole in wholes) <= 1


def test_a_line_of_pixels_needs_little_memory() -> None:
    views = cut(Image.new("RGB", (65_000, 1), "red"), replace(SETTINGS, max_scaled_dim=1536))

    assert len(views) == 8 * 3
    assert all(np.array_equal(np.asarray(view), np.full((96, 96, 3), (255, 0, 0))) for view in views)

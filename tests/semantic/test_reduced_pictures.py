"""A picture that is reduced while it is decoded has nearly the vector of the whole one."""

from __future__ import annotations

import io
from importlib.resources import files

import numpy as np
import pytest
from PIL import Image

from tests.semantic.demo_model import DemoModel
from tests.unit.pictures.pictures import encode

SAME = 0.999
PHOTOS = (("china.jpg", 620), ("flower.jpg", 620), ("china.jpg", 960))
"""Photographs, and the short side in pixels to which they are enlarged: the default settings reduce them by 2 and 3."""


@pytest.fixture(scope="module")
def photos() -> list[Image.Image]:
    """With the noise of a camera."""
    random = np.random.default_rng(0)
    enlarged = []
    for name, side in PHOTOS:
        with Image.open(io.BytesIO(files("sklearn.datasets.images").joinpath(name).read_bytes())) as photo:
            large = np.asarray(photo.resize((photo.width * side // photo.height, side)), dtype=np.int16)
        noisy = large + random.integers(-7, 8, large.shape, dtype=np.int16)
        enlarged.append(Image.fromarray(noisy.clip(0, 255).astype(np.uint8)))
    return enlarged


@pytest.mark.parametrize(("picture_format", "enable_tta"), [("JPEG", True), ("JPEG", False), ("BMP", True)])
def test_fast_preprocessing_gives_nearly_the_same_vectors(
    model: DemoModel, photos: list[Image.Image], picture_format: str, enable_tta: bool
) -> None:
    pictures = [encode(photo, picture_format) for photo in photos]

    exact = model.embed_pictures(pictures, enable_tta=enable_tta)
    fast = model.embed_pictures(pictures, enable_tta=enable_tta, fast=True)

    nearness = (exact * fast).sum(axis=1)
    assert nearness.min() >= SAME
    assert nearness.max() < 1.0 - 1e-6  # each is reduced


def draw_screen(photo: Image.Image, side: int, period: float) -> Image.Image:
    """`photo` as a screen of black dots, `side` pixels high, with a dot every `period` pixels."""
    width = photo.width * side // photo.height
    brightness = np.asarray(photo.convert("L").resize((width, side)), dtype=np.float64) / 255
    y, x = np.mgrid[:side, :width] * (2 * np.pi / period)
    return Image.fromarray(((brightness > (np.cos(x) + np.cos(y)) / 4 + 0.5) * 255).astype(np.uint8))


@pytest.mark.parametrize(
    ("picture_format", "side", "period"), [("BMP", 912, 3.3), ("JPEG", 2430, 8.5)], ids=["reduced by 3", "by 8"]
)
def test_the_screen_of_a_print_leaves_a_moire(
    model: DemoModel, photos: list[Image.Image], picture_format: str, side: int, period: float
) -> None:
    """Averages of whole pixels alias what is nearly as fine as they are; the page of pictures says by how much."""
    pictures = [encode(draw_screen(photos[0], side, period), picture_format)]

    exact = model.embed_pictures(pictures, enable_tta=True)
    fast = model.embed_pictures(pictures, enable_tta=True, fast=True)

    assert 0.98 < (exact * fast).sum() < SAME

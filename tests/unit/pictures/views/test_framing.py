"""Whole pictures are framed exactly as by open_clip's own transform, pixel for pixel."""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

import numpy as np
import open_clip
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from open_clip.transform import PreprocessCfg
from PIL import Image

from sidecar.pictures.views.cutting import cut_views
from sidecar.pictures.views.plan import Size, plan_views
from sidecar.pictures.views.settings import Framing, ViewSettings
from tests.unit.pictures.pictures import make_picture

SIDE = 56
VIEWS = ViewSettings(SIDE, False, SIDE, (1.0, 1.35), 256, 2.6)

ResizeMode = Literal["squash", "shortest", "longest"]
Interpolation = Literal["bicubic", "bilinear"]
RESIZE_MODES: tuple[ResizeMode, ...] = ("squash", "shortest", "longest")
INTERPOLATIONS: tuple[Interpolation, ...] = ("bicubic", "bilinear")


def cut(picture: Image.Image, views: ViewSettings) -> list[NDArray[np.uint8]]:
    return [np.asarray(view) for view in cut_views(picture, plan_views(*picture.size, views))]


def open_clips(picture: Image.Image, framing: Framing) -> NDArray[np.uint8]:
    config = PreprocessCfg(
        SIDE, mean=(0.0,) * 3, std=(1.0,) * 3, interpolation=framing.interpolation,
        resize_mode=framing.resize_mode, fill_color=framing.fill_color,
    )  # fmt: skip
    pixels = open_clip.transform.image_transform_v2(config, is_train=False)(picture)
    whole: NDArray[np.uint8] = np.rint(pixels.permute(1, 2, 0).numpy() * 255).astype(np.uint8)
    return whole


@pytest.mark.parametrize("resize_mode", RESIZE_MODES)
@pytest.mark.parametrize("interpolation", INTERPOLATIONS)
@given(width=st.integers(1, 400), height=st.integers(1, 400), fill_color=st.sampled_from((0, 127, 255)))
def test_a_whole_picture_has_the_pixels_of_open_clips_transform(
    resize_mode: ResizeMode, interpolation: Interpolation, width: int, height: int, fill_color: int
) -> None:
    framing = Framing(resize_mode, interpolation, fill_color)
    picture = make_picture(width, height)
    if resize_mode == "longest" and round(min(width, height) * SIDE / max(width, height)) == 0:
        return  # open_clip fails on such a thin picture

    [view] = cut(picture, replace(VIEWS, framing=framing))

    expected = open_clips(picture, framing)
    if resize_mode == "shortest" and max(width, height) > 31 * min(width, height):
        ours, theirs = view.astype(float).ravel(), expected.astype(float).ravel()
        assert ours @ theirs >= 0.9999 * np.linalg.norm(ours) * np.linalg.norm(theirs)
    else:
        assert np.array_equal(view, expected)


def test_a_single_line_of_padding_is_filled() -> None:
    """The padding is on the right or bottom, without a shift."""
    for size in ((400, 395), (395, 400)):
        picture, framing = make_picture(*size), Framing("longest", fill_color=127)
        [view] = cut(picture, replace(VIEWS, framing=framing))
        assert np.array_equal(view, open_clips(picture, framing))
        assert np.array_equal(view[-1, -1], (127,) * 3)


@pytest.mark.parametrize("resize_mode", RESIZE_MODES)
def test_the_thinnest_pictures_have_a_view(resize_mode: ResizeMode) -> None:
    for picture in (make_picture(1, 20_000), make_picture(20_000, 1)):
        [view] = cut(picture, replace(VIEWS, framing=Framing(resize_mode)))
        assert view.shape == (SIDE, SIDE, 3)


def test_resize_modes_give_different_views() -> None:
    picture = make_picture(320, 200)
    views = [cut(picture, replace(VIEWS, framing=Framing(mode)))[0] for mode in RESIZE_MODES]
    views += [cut(picture, replace(VIEWS, framing=Framing("longest", fill_color=9)))[0]]
    assert len({view.tobytes() for view in views}) == 4


@pytest.mark.parametrize("resize_mode", RESIZE_MODES)
def test_with_tta_the_anchor_is_the_models_own_view(resize_mode: ResizeMode) -> None:
    picture, framing = make_picture(320, 200), Framing(resize_mode, "bilinear", 7)
    anchored = replace(VIEWS, enable_tta=True, anchor_weight=0.25, framing=framing)

    plan = plan_views(*picture.size, anchored)

    assert plan.weights[-1] == 0.25
    assert np.array_equal(cut(picture, anchored)[-1], open_clips(picture, framing))
    crops = plan_views(*picture.size, replace(anchored, anchor_weight=0.0)).views
    assert plan.views[:-1] == crops == plan_views(*picture.size, replace(anchored, framing=Framing())).views[:-1]


def test_crops_are_resized_as_the_model_was_trained() -> None:
    picture, bilinear = make_picture(320, 200), Framing("squash", "bilinear")
    views = replace(VIEWS, enable_tta=True, scale_factors=(1.0,), framing=bilinear)

    resized = picture.resize(Size(90, SIDE), Image.Resampling.BILINEAR)

    assert np.array_equal(cut(picture, views)[0], np.asarray(resized.crop((0, 0, SIDE, SIDE))))

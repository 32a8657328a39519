"""View settings have equal canonical forms exactly if they give equal views."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.pictures.views.plan import PlannedView, canonical_view_settings, plan_views
from sidecar.pictures.views.settings import Framing, ViewSettings

DEFAULTS = ViewSettings(64, True, 64, (1.0, 1.35), 256, 2.6)
SIZES = [
    *((64, 64), (100, 80), (640, 480), (480, 640), (130, 100), (151, 100), (149, 100), (300, 100), (100, 261)),
    *((1000, 350), (2000, 50), (3000, 20), (20, 3000), (259, 100), (401, 100), (130, 101), (90, 61), (777, 333)),
]

view_settings = st.builds(
    ViewSettings,
    view_size=st.just(64),
    enable_tta=st.booleans(),
    crop_size=st.sampled_from((48, 64)),
    scale_factors=st.lists(st.sampled_from((0.3, 0.9, 1.0, 1.004, 1.35, 2.0)), min_size=1, max_size=3).map(tuple),
    max_scaled_dim=st.sampled_from((64, 128, 256)),
    panorama_max_ratio=st.sampled_from((1.01, 1.4, 1.5, 2.6, 4.0)),
    anchor_weight=st.sampled_from((0.0, 0.5, 1.0)),
    framing=st.sampled_from(
        (
            Framing(),
            Framing("shortest"),
            Framing("longest"),
            Framing("longest", fill_color=9),
            Framing("squash", "bilinear"),
        )
    ),
)


def views_of_every_size(views: ViewSettings) -> list[tuple[dict[PlannedView, float], object]]:
    """The views and weights for many sizes of pictures, and how they are resized and padded."""
    seen: list[tuple[dict[PlannedView, float], object]] = []
    for width, height in SIZES:
        plan = plan_views(width, height, views)
        weights = {cut: round(weight, 9) for cut, weight in zip(plan.views, plan.weights, strict=True)}
        is_filled = any(cut.crop.left < 0 or cut.crop.top < 0 for cut in weights)
        seen.append((weights, (plan.framing.interpolation, plan.framing.fill_color if is_filled else None)))
    return seen


@given(one=view_settings, other=view_settings)
def test_two_settings_have_one_form_exactly_if_they_cut_the_same_views(one: ViewSettings, other: ViewSettings) -> None:
    same_form = canonical_view_settings(one) == canonical_view_settings(other)
    assert same_form == (views_of_every_size(one) == views_of_every_size(other))


@given(one=view_settings)
def test_a_change_of_a_single_setting_is_distinguished_exactly_if_it_changes_views(one: ViewSettings) -> None:
    """Independently drawn settings nearly always differ; here they differ in one setting only."""
    for change in (
        {"scale_factors": (*one.scale_factors, 1.0)},
        {"scale_factors": one.scale_factors[::-1]},
        {"max_scaled_dim": 128},
        {"panorama_max_ratio": 1.4},
        {"anchor_weight": 0.0},
        {"anchor_weight": 1.0},
        {"crop_size": 64},
        {"framing": Framing("shortest")},
        {"framing": replace(one.framing, fill_color=3)},
    ):
        other = replace(one, **change)
        same_form = canonical_view_settings(one) == canonical_view_settings(other)
        assert same_form == (views_of_every_size(one) == views_of_every_size(other)), change


@pytest.mark.parametrize("factors", [(0.5, 1.35), (1.35, 1.0), (1.0, 1.35, 1.0, 1.35), (1.0, 1.351)])
def test_factors_that_scale_to_the_same_sizes_are_the_same(factors: tuple[float, ...]) -> None:
    assert canonical_view_settings(replace(DEFAULTS, scale_factors=factors)) == canonical_view_settings(DEFAULTS)

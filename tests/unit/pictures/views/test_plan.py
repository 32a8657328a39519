"""Golden view plans. A change of a golden value here changes every stored vector."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from sidecar.pictures.views.plan import MAX_TILES, Box, PlannedView, Size, ViewPlan, plan_views
from sidecar.pictures.views.settings import ViewSettings

DEFAULTS = ViewSettings(
    view_size=384,
    enable_tta=True,
    crop_size=384,
    scale_factors=(1.0, 1.35),
    max_scaled_dim=1536,
    panorama_max_ratio=2.6,
)


def square(left: int, top: int, side: int = 384) -> Box:
    return Box(left, top, left + side, top + side)


def tiles_of(plan: ViewPlan) -> list[Box]:
    return list(dict.fromkeys(cut.tile for cut in plan.views))


def sizes_of(plan: ViewPlan) -> list[Size]:
    return list(dict.fromkeys(cut.scaled for cut in plan.views))


def test_golden_square_picture_has_6_views_of_10() -> None:
    plan = plan_views(500, 500, DEFAULTS)

    whole = Box(0, 0, 500, 500)
    assert plan.views == (
        PlannedView(whole, Size(384, 384), square(0, 0)),
        PlannedView(whole, Size(518, 518), square(0, 0)),
        PlannedView(whole, Size(518, 518), square(134, 0)),
        PlannedView(whole, Size(518, 518), square(0, 134)),
        PlannedView(whole, Size(518, 518), square(134, 134)),
        PlannedView(whole, Size(518, 518), square(67, 67)),
    )
    assert plan.weights == pytest.approx([0.5, 0.1, 0.1, 0.1, 0.1, 0.1])


def test_golden_landscape_picture_has_8_views_of_10() -> None:
    plan = plan_views(640, 480, DEFAULTS)

    whole = Box(0, 0, 640, 480)
    assert plan.views == (
        PlannedView(whole, Size(512, 384), square(0, 0)),
        PlannedView(whole, Size(512, 384), square(128, 0)),
        PlannedView(whole, Size(512, 384), square(64, 0)),
        PlannedView(whole, Size(691, 518), square(0, 0)),
        PlannedView(whole, Size(691, 518), square(307, 0)),
        PlannedView(whole, Size(691, 518), square(0, 134)),
        PlannedView(whole, Size(691, 518), square(307, 134)),
        PlannedView(whole, Size(691, 518), square(153, 67)),
    )
    assert plan.weights == pytest.approx([0.2, 0.2, 0.1, 0.1, 0.1, 0.1, 0.1, 0.1])


def test_a_portrait_picture_is_the_landscape_one_turned() -> None:
    plan = plan_views(480, 640, DEFAULTS)

    assert sizes_of(plan) == [Size(384, 512), Size(518, 691)]
    assert [cut.crop for cut in plan.views[:3]] == [square(0, 0), square(0, 128), square(0, 64)]


def test_golden_wide_panorama() -> None:
    plan = plan_views(4000, 1000, DEFAULTS)

    assert tiles_of(plan) == [Box(0, 0, 1500, 1000), Box(1250, 0, 2750, 1000), Box(2500, 0, 4000, 1000)]
    assert sizes_of(plan) == [Size(576, 384), Size(777, 518)]
    assert len(plan.views) == 3 * 8
    assert sum(plan.weights) == pytest.approx(1.0)


def test_golden_tall_panorama() -> None:
    plan = plan_views(1000, 4000, DEFAULTS)

    assert tiles_of(plan) == [Box(0, 0, 1000, 1500), Box(0, 1250, 1000, 2750), Box(0, 2500, 1000, 4000)]
    assert sizes_of(plan) == [Size(384, 576), Size(518, 777)]


def test_a_very_long_panorama_has_8_longer_tiles() -> None:
    plan = plan_views(16_001, 1000, DEFAULTS)

    tiles = tiles_of(plan)
    assert len(tiles) == 8
    assert {tile.size for tile in tiles} == {Size(2001, 1000)}
    assert [tile.left for tile in tiles] == [0, 2000, 4000, 6000, 8000, 10_000, 12_000, 14_000]


def test_a_picture_just_as_long_as_the_limit_is_no_panorama() -> None:
    assert tiles_of(plan_views(2600, 1000, DEFAULTS)) == [Box(0, 0, 2600, 1000)]
    assert tiles_of(plan_views(2601, 1000, DEFAULTS)) == [Box(0, 0, 1500, 1000), Box(1101, 0, 2601, 1000)]


def test_a_limit_below_the_length_of_a_tile_leaves_short_pictures_whole() -> None:
    plan = plan_views(1400, 1000, replace(DEFAULTS, panorama_max_ratio=1.2))

    assert tiles_of(plan) == [Box(0, 0, 1400, 1000)]


def test_a_line_of_pixels_is_tiled_and_its_tiles_are_squashed() -> None:
    plan = plan_views(100, 1, DEFAULTS)

    assert [tile.left for tile in tiles_of(plan)] == [0, 12, 25, 37, 50, 62, 75, 87]
    # The crop's size takes precedence over the cap, for both factors: one size, whose three distinct boxes count twice.
    assert sizes_of(plan) == [Size(3 * 384, 384)]
    assert len(plan.views) == 8 * 3
    assert plan.weights[:3] == pytest.approx([0.4 / 8, 0.4 / 8, 0.2 / 8])


def test_a_panorama_longer_than_eight_tiles_of_three_crops_is_squashed() -> None:
    just, longer = plan_views(24_000, 1000, DEFAULTS), plan_views(48_000, 1000, DEFAULTS)

    assert sizes_of(just) == [Size(1152, 384), Size(1536, 512)]
    assert sizes_of(longer) == [Size(1152, 384)]


def test_a_single_tile_of_a_long_picture_is_squashed_too() -> None:
    plan = plan_views(10_000, 1000, replace(DEFAULTS, panorama_max_ratio=20.0))

    assert sizes_of(plan) == [Size(1152, 384)]
    assert [cut.crop.left for cut in plan.views] == [0, 768, 384]


def test_a_single_pixel_becomes_a_square() -> None:
    assert sizes_of(plan_views(1, 1, DEFAULTS)) == [Size(384, 384), Size(518, 518)]


def test_the_cap_limits_the_long_side() -> None:
    plan = plan_views(2000, 1000, replace(DEFAULTS, max_scaled_dim=900))

    assert sizes_of(plan) == [Size(768, 384), Size(900, 450)]


def test_the_cap_never_makes_the_short_side_smaller_than_the_crop() -> None:
    plan = plan_views(2000, 1000, replace(DEFAULTS, max_scaled_dim=500))

    assert sizes_of(plan) == [Size(768, 384)]
    assert plan.weights == pytest.approx([0.4, 0.4, 0.2])


def test_a_factor_below_one_equals_one() -> None:
    assert sizes_of(plan_views(640, 480, replace(DEFAULTS, scale_factors=(0.5, 1.0)))) == [Size(512, 384)]


def test_crops_may_differ_from_the_view_in_size() -> None:
    plan = plan_views(640, 480, replace(DEFAULTS, crop_size=224))

    assert plan.view_size == 384
    assert sizes_of(plan) == [Size(299, 224), Size(403, 302)]
    assert plan.views[-1].crop == square(89, 39, side=224)


def test_a_single_scale_has_three_views() -> None:
    plan = plan_views(640, 480, replace(DEFAULTS, scale_factors=(1.0,)))

    assert [cut.crop.left for cut in plan.views] == [0, 128, 64]
    assert plan.weights == pytest.approx([0.4, 0.4, 0.2])


def test_without_tta_the_whole_picture_is_squashed() -> None:
    plan = plan_views(4000, 1000, replace(DEFAULTS, enable_tta=False, anchor_weight=0.3))

    assert plan.views == (PlannedView(Box(0, 0, 4000, 1000), Size(384, 384), square(0, 0)),)
    assert plan.weights == (1.0,)


def test_an_anchor_is_one_more_view() -> None:
    plan = plan_views(640, 480, replace(DEFAULTS, anchor_weight=0.5))

    assert len(plan.views) == 9
    assert plan.views[-1] == PlannedView(Box(0, 0, 640, 480), Size(384, 384), square(0, 0))
    assert plan.weights == pytest.approx([0.1, 0.1, 0.05, 0.05, 0.05, 0.05, 0.05, 0.05, 0.5])


def test_an_anchor_that_equals_a_crop_only_makes_it_heavier() -> None:
    plan = plan_views(500, 500, replace(DEFAULTS, anchor_weight=0.5))

    assert len(plan.views) == 6
    assert plan.weights == pytest.approx([0.75, 0.05, 0.05, 0.05, 0.05, 0.05])


def test_an_anchor_of_full_weight_is_the_only_view() -> None:
    plan = plan_views(640, 480, replace(DEFAULTS, anchor_weight=1.0))

    assert [cut.scaled for cut in plan.views] == [Size(384, 384)]
    assert plan.weights == (1.0,)


side_lengths = st.integers(1, 70_000)
view_settings = st.builds(
    ViewSettings,
    view_size=st.integers(16, 512),
    enable_tta=st.just(True),
    crop_size=st.integers(16, 512),
    scale_factors=st.lists(st.floats(0.1, 8.0), min_size=1, max_size=4).map(tuple),
    max_scaled_dim=st.integers(16, 4096),
    panorama_max_ratio=st.floats(1.0, 100.0, exclude_min=True),
    anchor_weight=st.floats(0.0, 1.0),
)


@given(width=side_lengths, height=side_lengths, settings=view_settings)
@example(width=1, height=70_000, settings=DEFAULTS)
@example(width=70_000, height=1, settings=DEFAULTS)
def test_every_box_lies_inside(width: int, height: int, settings: ViewSettings) -> None:
    for cut in plan_views(width, height, settings).views:
        assert 0 <= cut.tile.left < cut.tile.right <= width
        assert 0 <= cut.tile.top < cut.tile.bottom <= height
        assert 0 <= cut.crop.left < cut.crop.right <= cut.scaled.width
        assert 0 <= cut.crop.top < cut.crop.bottom <= cut.scaled.height


@given(width=side_lengths, height=side_lengths, settings=view_settings)
@example(width=48_000, height=1000, settings=DEFAULTS)
@example(width=10_000, height=1000, settings=replace(DEFAULTS, panorama_max_ratio=20.0))
def test_views_cover_the_whole_picture(width: int, height: int, settings: ViewSettings) -> None:
    plan = plan_views(width, height, replace(settings, scale_factors=(1.0,), anchor_weight=0.0))

    for tile in tiles_of(plan):
        crops = [cut.crop for cut in plan.views if cut.tile == tile]
        scaled = next(cut.scaled for cut in plan.views if cut.tile == tile)
        assert min(scaled) == settings.crop_size
        along = sorted((crop.left + crop.top, crop.right + crop.bottom - settings.crop_size) for crop in crops)
        assert (along[0][0], along[-1][1]) == (0, max(scaled))
        assert all(following[0] <= one[1] for one, following in pairwise(along))


@given(width=side_lengths, height=side_lengths, settings=view_settings)
def test_views_are_distinct_and_their_weights_sum_to_one(width: int, height: int, settings: ViewSettings) -> None:
    plan = plan_views(width, height, settings)

    assert len(set(plan.views)) == len(plan.views) == len(plan.weights)
    assert min(plan.weights) > 0.0
    assert sum(plan.weights) == pytest.approx(1.0)


@given(width=side_lengths, height=side_lengths, max_ratio=st.floats(1.0, 100.0, exclude_min=True))
def test_tiles_cover_the_whole_picture(width: int, height: int, max_ratio: float) -> None:
    tiles = tiles_of(plan_views(width, height, replace(DEFAULTS, panorama_max_ratio=max_ratio)))

    assert 1 <= len(tiles) <= MAX_TILES
    if width < height:
        tiles = [Box(tile.top, tile.left, tile.bottom, tile.right) for tile in tiles]
    assert {(tile.top, tile.bottom) for tile in tiles} == {(0, min(width, height))}
    assert (tiles[0].left, tiles[-1].right) == (0, max(width, height))
    assert all(tile.left < following.left <= tile.right for tile, following in pairwise(tiles))


@given(width=side_lengths, height=side_lengths, settings=view_settings)
def test_turning_a_picture_turns_its_plan(width: int, height: int, settings: ViewSettings) -> None:
    def turn(box: Box) -> Box:
        return Box(box.top, box.left, box.bottom, box.right)

    plan, turned = plan_views(width, height, settings), plan_views(height, width, settings)

    assert dict(zip(turned.views, turned.weights, strict=True)) == {
        PlannedView(turn(cut.tile), Size(cut.scaled.height, cut.scaled.width), turn(cut.crop)): weight
        for cut, weight in zip(plan.views, plan.weights, strict=True)
    }

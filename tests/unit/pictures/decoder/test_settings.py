from __future__ import annotations

import pytest

from sidecar.config import Settings, load_settings
from sidecar.pictures.decoder.settings import DecoderSettings
from sidecar.pictures.views.settings import ViewSettings


def test_unset_sizes_are_those_of_the_model() -> None:
    views = ViewSettings.from_settings(Settings(), native_size=160)

    assert (views.view_size, views.crop_size) == (160, 160)
    assert views.enable_tta
    assert views.scale_factors == (1.0, 1.35)
    assert (views.max_scaled_dim, views.panorama_max_ratio, views.anchor_weight) == (1536, 2.6, 0.0)


@pytest.mark.parametrize(
    ("settings", "sizes"),
    [
        (Settings(vision_size=224), (224, 224)),
        (Settings(tta_crop_size=128), (160, 128)),
        (Settings(vision_size=224, tta_crop_size=128), (224, 128)),
    ],
)
def test_sizes_in_the_settings_override_those_of_the_model(settings: Settings, sizes: tuple[int, int]) -> None:
    views = ViewSettings.from_settings(settings, native_size=160)

    assert (views.view_size, views.crop_size) == sizes


def test_a_single_scale_ignores_the_factors() -> None:
    settings = Settings(enable_multi_scale=False, multi_scale_factors=(1.0, 2.0))

    assert ViewSettings.from_settings(settings, native_size=160).scale_factors == (1.0,)


def test_all_other_settings_are_copied() -> None:
    settings = Settings(
        enable_tta=False,
        multi_scale_factors=(1.0, 2.0),
        multi_scale_max_dim=999,
        panorama_max_ratio=3.5,
        tta_anchor_weight=0.25,
    )

    assert ViewSettings.from_settings(settings, native_size=160) == ViewSettings(
        view_size=160,
        enable_tta=False,
        crop_size=160,
        scale_factors=(1.0, 2.0),
        max_scaled_dim=999,
        panorama_max_ratio=3.5,
        anchor_weight=0.25,
    )


def test_large_pictures_are_reduced_unless_exact_pixels_are_asked_for() -> None:
    by_default = DecoderSettings.from_settings(Settings(), view_size=160)
    exact = DecoderSettings.from_settings(load_settings({"PREPROCESS": "Exact"}), view_size=160)

    assert (by_default.preprocess, exact.preprocess) == ("fast", "exact")
    assert DecoderSettings.from_json(exact.to_json()) == exact


def test_decoder_settings_survive_serialisation() -> None:
    views = ViewSettings.from_settings(Settings(multi_scale_factors=(1.0, 1.1)), native_size=160)
    settings = DecoderSettings(
        views=views, processes=2, timeout_s=2.5, max_image_bytes=1, max_image_pixels=2, memory_bytes=3
    )

    assert DecoderSettings.from_json(settings.to_json()) == settings

"""The rows of the example, as packed in the package."""

from __future__ import annotations

from importlib.resources import files
from io import BytesIO

import pytest
from PIL import Image

from sidecar.demo.emoji import Emoji, read_emoji


@pytest.fixture(scope="module")
def emoji() -> list[Emoji]:
    return read_emoji()


def test_characters_names_and_pictures_of_the_emoji_are_unique(emoji: list[Emoji]) -> None:
    assert 1_800 <= len(emoji) <= 1_900
    assert [row.id for row in emoji] == list(range(1, len(emoji) + 1))
    for field in ("emoji", "name", "picture"):
        assert len({getattr(row, field) for row in emoji}) == len(emoji), field


def test_the_pictures_are_complete_opaque_squares(emoji: list[Emoji]) -> None:
    for row in emoji[::50]:
        with Image.open(BytesIO(row.picture)) as picture:
            picture.load()
            assert (picture.format, picture.mode, picture.size) == ("WEBP", "RGB", (128, 128))
            assert picture.getpixel((0, 0)) == (255, 255, 255)


def test_popular_emoji_come_first_and_flags_last(emoji: list[Emoji]) -> None:
    categories = [row.category for row in emoji]
    assert "sad but relieved face" in [row.name for row in emoji[:200]]
    assert categories[categories.index("Flags") :] == ["Flags"] * categories.count("Flags")


def test_a_small_part_of_the_emoji_is_held_out_from_training(emoji: list[Emoji]) -> None:
    held_out = [row for row in emoji if row.held_out]
    assert 0.05 < len(held_out) / len(emoji) < 0.12
    assert all(set(row.held_out_keywords) <= set(row.keywords) for row in emoji)
    assert any(row.held_out_keywords for row in emoji if not row.held_out)


def test_data_and_model_stay_within_their_size_limits_and_name_their_licences() -> None:
    data = files("sidecar.demo") / "data"
    sizes_bytes = {path.name: len(path.read_bytes()) for path in data.iterdir()}
    assert set(sizes_bytes) == {"emoji.zip", "LICENSES.md"}
    assert sum(sizes_bytes.values()) <= 6_000_000
    assert sum(len(path.read_bytes()) for path in (files("sidecar.demo") / "model").iterdir()) <= 12_000_000
    licences = (data / "LICENSES.md").read_text(encoding="utf-8")
    assert all(source in licences for source in ("SIL OPEN FONT LICENSE", "UNICODE INC.'S", "Noto Color Emoji", "CLDR"))

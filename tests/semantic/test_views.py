"""The benefit of several views of a picture."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from io import BytesIO
from typing import TypeAlias

import numpy as np
import pytest
from PIL import Image

from sidecar.demo.emoji import Emoji
from tests.semantic.demo_model import DemoModel, Vectors
from tests.semantic.ranking import ranks, recall

Report: TypeAlias = Callable[[str, object], None]

SAMPLE = 32
STRIPS, ON_A_STRIP = 24, 8
SIDE, EXTENT = 128, 110


def test_several_views_find_more_on_long_strips(
    model: DemoModel, rows: list[Emoji], name_vectors: Vectors, record_property: Report
) -> None:
    """Eight emoji side by side, which are slivers when squashed to one square."""
    off, on = _recall_on_strips(model, rows, name_vectors, ON_A_STRIP)
    record_property("strips of 1:8, names find their strip among 24 first: one view, several", (off, on))
    assert on > off


def test_several_views_of_a_small_object_do_not_lower_recall(
    model: DemoModel, rows: list[Emoji], name_vectors: Vectors, record_property: Report
) -> None:
    """An emoji of a fifth of the picture's side, at a random position."""
    random = np.random.default_rng(7)
    chosen = _choose_page(rows, SAMPLE, random)
    pictures = [_place(rows[index].picture, random) for index in chosen]
    off, on = (
        recall(ranks(model.embed_pictures(pictures, enable_tta=tta), name_vectors, [{index} for index in chosen]), 5)
        for tta in (False, True)
    )
    record_property("small objects, their name among the first 5: one view, several", (off, on))
    assert on >= off - 0.05


@pytest.mark.parametrize("change", ["jpeg", "shrunk", "framed"])
def test_a_near_duplicate_finds_its_original(
    model: DemoModel, rows: list[Emoji], picture_vectors: Vectors, change: str
) -> None:
    sample = range(5, len(rows), len(rows) // SAMPLE)
    altered = model.embed_pictures([_alter(rows[index].picture, change) for index in sample], enable_tta=False)
    found = ranks(altered, picture_vectors, [{index} for index in sample])
    assert recall(found, 1) >= 0.9


def _recall_on_strips(model: DemoModel, rows: list[Emoji], name_vectors: Vectors, length: int) -> tuple[float, float]:
    random = np.random.default_rng(7)
    chosen = _choose_page(rows, STRIPS * length, random)
    strips = [chosen[start : start + length] for start in range(0, len(chosen), length)]
    pictures = [_lay_side_by_side([rows[index].picture for index in strip]) for strip in strips]
    relevant = [{number} for number, strip in enumerate(strips) for _ in strip]
    off, on = (
        recall(ranks(name_vectors[chosen], model.embed_pictures(pictures, enable_tta=tta), relevant), 1)
        for tta in (False, True)
    )
    return off, on


def _choose_page(rows: list[Emoji], count: int, random: np.random.Generator) -> list[int]:
    trained = [index for index, row in enumerate(rows) if not row.held_out]
    return [int(index) for index in random.choice(trained, count, replace=False)]


def _lay_side_by_side(pictures: Sequence[bytes]) -> bytes:
    canvas = Image.new("RGB", (SIDE * len(pictures), SIDE), "white")
    margin = (SIDE - EXTENT) // 2
    for number, picture in enumerate(pictures):
        canvas.paste(_resized(picture, EXTENT), (number * SIDE + margin, margin))
    return _save(canvas, "PNG")


def _place(picture: bytes, random: np.random.Generator) -> bytes:
    canvas = Image.new("RGB", (4 * SIDE, 4 * SIDE), "white")
    across, down = (int(at) for at in random.integers(0, 4 * SIDE - EXTENT, 2))
    canvas.paste(_resized(picture, EXTENT), (across, down))
    return _save(canvas, "PNG")


def _resized(picture: bytes, side: int) -> Image.Image:
    with Image.open(BytesIO(picture)) as emoji:
        return emoji.resize((side, side), Image.Resampling.LANCZOS)


def _alter(picture: bytes, change: str) -> bytes:
    with Image.open(BytesIO(picture)) as original:
        if change == "jpeg":
            return _save(original, "JPEG", quality=50)
        if change == "shrunk":
            return _save(original.resize((72, 72), Image.Resampling.BILINEAR), "PNG")
        framed = Image.new("RGB", (144, 140), "white")
        framed.paste(original, (10, 6))
        return _save(framed, "PNG")


def _save(picture: Image.Image, name: str, **options: int) -> bytes:
    file = BytesIO()
    picture.save(file, name, **options)
    return file.getvalue()

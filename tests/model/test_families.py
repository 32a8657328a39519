"""Every family of open_clip's models gives the vectors of open_clip."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import open_clip
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image

from sidecar.model.open_clip_encoder import OpenClipEncoder
from sidecar.model.selftest import run_self_test
from sidecar.pictures.views.cutting import cut_views
from sidecar.pictures.views.plan import plan_views
from sidecar.pictures.views.settings import ViewSettings
from tests.model.families import FAMILIES, write_model
from tests.model.variants import load_on_cpu, settings_for
from tests.unit.pictures.pictures import make_picture

SAME = 0.9999
DIFFERENT = 0.999

TEXTS = [
    "a photo of a cat",
    "Two DOGS run along the beach!",
    "naïve café &amp; 50% off",
    "a very long caption " * 40,
    "",
]
SIZES = [(320, 240), (97, 400), (64, 64), (31, 17), (900, 40)]

Vectors = NDArray[np.float32]


def unit(raw: torch.Tensor) -> Vectors:
    vectors: Vectors = torch.nn.functional.normalize(raw.float(), dim=-1).numpy()
    return vectors


def cosines(ours: Vectors, theirs: Vectors) -> Vectors:
    products: Vectors = np.sum(ours * theirs, axis=1)
    return products


def our_views(encoder: OpenClipEncoder, directory: Path, pictures: list[Image.Image], **variables: str) -> Vectors:
    """The views of the decoder processes with TTA off."""
    settings = settings_for(directory, **{"ENABLE_TTA": "0", **variables})
    views = ViewSettings.from_settings(settings, encoder.view_size, encoder.framing)
    cut = [list(cut_views(picture, plan_views(*picture.size, views))) for picture in pictures]
    assert {len(of_one) for of_one in cut} == {1}
    return encoder.encode_views(np.stack([np.asarray(view) for [view] in cut]))


def upstream(directory: Path, **options: Any) -> tuple[Any, Callable[[Image.Image], torch.Tensor], Any]:
    """open_clip's own model, transform and tokenizer."""
    name = f"local-dir:{directory}"
    model, transform = open_clip.create_model_from_pretrained(name, **options)
    return model.eval(), transform, open_clip.get_tokenizer(name)


def check_against_open_clip(directory: Path) -> None:
    encoder = load_on_cpu(directory)
    run_self_test(encoder, None)
    model, transform, tokenizer = upstream(directory)
    pictures = [make_picture(*size, seed=number) for number, size in enumerate(SIZES)]
    with torch.inference_mode():
        their_texts = unit(model.encode_text(tokenizer(TEXTS)))
        their_pictures = unit(model.encode_image(torch.stack([transform(picture) for picture in pictures])))
    ours = encoder.encode_texts(encoder.prepare_texts(TEXTS))
    assert cosines(ours, their_texts).min() >= SAME
    assert cosines(ours, np.roll(their_texts, 1, axis=0)).max() < DIFFERENT  # negative control
    ours = our_views(encoder, directory, pictures)
    assert cosines(ours, their_pictures).min() >= SAME
    assert cosines(ours, np.roll(their_pictures, 1, axis=0)).max() < DIFFERENT


@pytest.mark.parametrize("family", FAMILIES)
def test_a_family_has_the_vectors_of_open_clip(family: str, tmp_path: Path) -> None:
    check_against_open_clip(write_model(tmp_path, FAMILIES[family]))


@pytest.mark.parametrize("family", FAMILIES)
def test_a_family_can_be_computed_in_bf16(family: str, tmp_path: Path) -> None:
    """open_clip's own casting leaves some towers with two number formats, in which they fail."""
    directory = write_model(tmp_path, FAMILIES[family])
    exact, rounded = load_on_cpu(directory), load_on_cpu(directory, "bf16")
    run_self_test(rounded, None)
    texts = exact.prepare_texts(TEXTS)
    assert cosines(exact.encode_texts(texts), rounded.encode_texts(texts)).min() >= 0.99
    views = np.stack([np.asarray(make_picture(exact.view_size, exact.view_size, seed=seed)) for seed in range(3)])
    assert cosines(exact.encode_views(views), rounded.encode_views(views)).min() >= 0.99

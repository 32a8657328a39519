"""Scores of texts and pictures equal those of open_clip's own model."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from sidecar.batching.encoder import pair_logits
from sidecar.errors import ModelError
from sidecar.model.probes import draw_probe_views
from tests.model.variants import copy_model, edit_weights, load_on_cpu

TEXTS = ["a cat", "two dogs on a beach", "red shoes"]


def test_logits_are_those_of_open_clip(tiny_model: Path, tmp_path: Path) -> None:
    copy_model(tiny_model, tmp_path)
    edit_weights(tmp_path, "logit_scale", lambda _: torch.tensor(4.7654))
    edit_weights(tmp_path, "logit_bias", lambda _: torch.tensor(-12.9317))
    encoder = load_on_cpu(tmp_path)
    texts, views = encoder.prepare_texts(TEXTS), draw_probe_views(encoder.view_size)
    cosines = encoder.encode_views(views) @ encoder.encode_texts(texts).T
    assert encoder.pair_scale is not None
    model = encoder._towers
    assert isinstance(model, torch.nn.Module)
    with torch.inference_mode():
        pixels = encoder._normalise(torch.from_numpy(views))
        token_ids = torch.from_numpy(np.stack([text.token_ids for text in texts]))
        expected, _ = model.get_logits(pixels, token_ids)  # type: ignore[operator]
    np.testing.assert_allclose(pair_logits(encoder.pair_scale, cosines), expected.numpy(), atol=1e-3)
    assert np.ptp(expected.numpy()) > 1


@pytest.mark.parametrize("name", ["logit_scale", "logit_bias"])
@pytest.mark.parametrize("number", [float("nan"), float("inf"), float("-inf")])
def test_an_unusable_scale_is_refused(tiny_model: Path, tmp_path: Path, name: str, number: float) -> None:
    copy_model(tiny_model, tmp_path)
    edit_weights(tmp_path, name, lambda _: torch.tensor(number))
    with pytest.raises(ModelError, match=rf"{name}=-?(nan|inf).* are no scale and bias"):
        load_on_cpu(tmp_path)


def test_a_scale_too_large_for_fp32_is_refused(tiny_model: Path, tmp_path: Path) -> None:
    copy_model(tiny_model, tmp_path)
    edit_weights(tmp_path, "logit_scale", lambda _: torch.tensor(1000.0))
    with pytest.raises(ModelError, match="logit_scale=1000"):
        load_on_cpu(tmp_path)

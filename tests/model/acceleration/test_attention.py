from __future__ import annotations

import logging
import re
from pathlib import Path

import numpy as np
import pytest
import torch

from sidecar.model.acceleration.attention import Timing, choose_backend, with_fastest_attention
from sidecar.model.acceleration.tower import Inputs, Tower
from tests.model.variants import load_on_cpu
from tests.unit.pictures.pictures import make_picture

VIEWS = np.stack([np.asarray(make_picture(160, 160, seed)) for seed in range(3)])
DEFAULT = Timing(0.010, 1.0)


@pytest.mark.parametrize(
    ("timings", "chosen"),
    [
        ({"flash": Timing(0.009, 0.999), "cudnn": Timing(0.008, 0.999)}, "cudnn"),
        ({"flash": Timing(0.009, 0.999), "cudnn": Timing(0.008, 0.9)}, "flash"),
        ({"cudnn": Timing(0.008, float("nan"))}, None),
        ({"flash": Timing(0.0099, 0.999)}, None),
        ({}, None),
    ],
    ids=["the fastest", "exact enough", "finite", "not for noise", "none can be used"],
)
def test_attention_is_the_fastest_that_is_exact_enough(timings: dict[str, Timing], chosen: str | None) -> None:
    assert choose_backend({"default": DEFAULT, **timings}, "bf16") == chosen


def test_each_implementation_that_runs_is_timed_and_the_vectors_stay_the_same(
    tiny_model: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """On a CPU, which has two of them; a GPU has more."""
    encoder = load_on_cpu(tiny_model)
    prepared = encoder.prepare_texts(["a cat", "a dog"])
    texts, views = encoder.encode_texts(prepared), encoder.encode_views(VIEWS)

    def choose(tower: Tower, example: torch.Tensor, inputs: Inputs) -> Tower:
        return with_fastest_attention(tower, example, inputs, "fp32")

    with caplog.at_level(logging.INFO, "sidecar"):
        encoder.accelerate(choose)
    (of_texts, of_pictures) = [each for each in caplog.messages if each.startswith("Attention for ")]
    assert of_texts.startswith("Attention for texts: ")
    assert of_pictures.startswith("Attention for pictures: ")
    for message in (of_texts, of_pictures):
        assert re.search(r"\(for \d: default [\d.]+ ms, ", message)
    assert np.abs(encoder.encode_texts(prepared) - texts).max() < 1e-6
    assert np.abs(encoder.encode_views(VIEWS) - views).max() < 1e-6


def test_attention_that_cannot_be_timed_stays_pytorchs_choice_and_the_log_says_why(
    caplog: pytest.LogCaptureFixture,
) -> None:
    def fill_memory(_batch: torch.Tensor) -> torch.Tensor:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB.")

    assert with_fastest_attention(fill_memory, torch.zeros(2, 4), "pictures", "bf16") is fill_memory
    (message,) = caplog.messages
    assert message == (
        "DEVICE_ATTENTION=auto: pictures keep PyTorch's choice: "
        "OutOfMemoryError: CUDA out of memory. Tried to allocate 20.00 GiB."
    )

"""Distances as bars and probabilities."""

from __future__ import annotations

import io
import sys

import pytest

from sidecar.batching.encoder import PairScale as ModelsScale
from sidecar.batching.encoder import pair_logits, sigmoid
from sidecar.cli.embedding_client import PairScale
from sidecar.cli.nearness import draw_bar, is_nothing_near, match_probability, show_probability


def test_the_probability_is_that_of_the_service() -> None:
    import numpy as np

    for distance in (0.0, 0.65, 0.8, 1.0, 2.0):
        logits = pair_logits(ModelsScale(54.07, -10.98), np.array([1 - distance], np.float32))
        expected = float(sigmoid(logits)[0])
        assert match_probability(PairScale(54.07, -10.98), distance) == pytest.approx(expected, rel=1e-4)


def test_nothing_is_near_if_the_best_row_has_less_than_one_percent() -> None:
    assert is_nothing_near([0.009, 0.001])
    assert not is_nothing_near([0.009, 0.011])
    assert not is_nothing_near([])


@pytest.mark.parametrize(
    ("distance", "probability", "bar"),
    [
        (0.0, None, "████████"),
        (0.5, None, "████    "),
        (1.7, None, "        "),
        (0.8, 0.75, "██████  "),
        (0.0, 0.01, "▏       "),
    ],
)
def test_a_bar_is_filled_by_the_probability_or_the_similarity(
    monkeypatch: pytest.MonkeyPatch, distance: float, probability: float | None, bar: str
) -> None:
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(io.BytesIO(), encoding="utf-8"))
    assert draw_bar(distance, probability) == bar


def test_where_blocks_cannot_be_printed_a_bar_is_of_number_signs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(io.BytesIO(), encoding="ascii"))
    assert draw_bar(0.5, None) == "####    "


def test_no_probability_is_shown_as_certain() -> None:
    assert [show_probability(p) for p in (0, 0.009, 0.01, 0.526, 0.99, 0.9999)] == [
        *("<1 %", "<1 %", "1 %", "53 %", "99 %", ">99 %")
    ]

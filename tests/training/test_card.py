from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.training.emoji_set import TINY_OPTIONS
from training.card import CARD_NAME, read_log, write_card
from training.evaluation import Figure
from training.export import export_model
from training.run import CHECKPOINT_NAME, LOG_NAME
from training.trainer import load_average

PRECISIONS = [Figure(f"least cosine of bf16 and fp32, {what}", 0.9995, 3) for what in ("pictures", "texts")]
GROUPS = ("names, trained emoji", "names, held-out emoji", "keywords, trained")
HELD_OUT = ("keywords, held out, of known words", "keywords, held out, with a new word")


@pytest.fixture
def model(finished_run: Path, tmp_path: Path) -> Path:
    export_model(load_average(finished_run / CHECKPOINT_NAME, TINY_OPTIONS), TINY_OPTIONS.shape, finished_run, tmp_path)
    return tmp_path


def test_the_card_shows_the_figures_and_the_hardware(finished_run: Path, model: Path) -> None:
    clean = [
        Figure(f"clean pictures, {group}: recall@10, TTA on", 0.5 + number / 1000, 10 + number)
        for number, group in enumerate((*GROUPS, *HELD_OUT))
    ]
    write_card(model, TINY_OPTIONS, [*clean, *PRECISIONS], read_log(finished_run / LOG_NAME))
    card = (model / CARD_NAME).read_text()
    assert "| **names of held-out emoji** | 11 |  |  | 0.501 |  |" in card
    assert "| bf16, texts | 0.9995 |" in card
    assert "Trained on\na CPU in 0 minutes" in card
    assert "$" not in card


def test_the_packaged_model_is_the_evaluated_one() -> None:
    root = Path(__file__).parents[2]
    card = (root / "sidecar/demo/model" / CARD_NAME).read_text()
    figures = [Figure(**figure) for figure in json.loads((root / "training/figures.json").read_text())]
    for figure in figures:
        if "TTA on" in figure.name and "recall@10" in figure.name and "anchor" not in figure.name:
            assert f"{figure.value:.3f}" in card

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from tests.training.emoji_set import TINY_OPTIONS
from training.corpus import Emoji
from training.dataset import Dataset
from training.evaluation import evaluate, save_figures
from training.export import export_model
from training.holdout import Holdout
from training.queries import Query, keyword_queries, name_queries, recall, share_found
from training.run import CHECKPOINT_NAME
from training.trainer import load_average

CORPUS = (
    Emoji("1", "cat", ("pet", "soft fur", "zonk")),
    Emoji("2", "dog", ("pet", "fur")),
    Emoji("3", "cow", ("farm", "pet")),
)
HOLDOUT = Holdout(frozenset({2}), frozenset({"soft fur", "zonk"}))
RANKING = np.array([[0, 1, 2], [2, 1, 0]])
QUERIES = [Query("a", frozenset({0})), Query("b", frozenset({0, 1}))]


def test_names_of_held_out_emoji_are_a_separate_group() -> None:
    groups = name_queries(CORPUS, HOLDOUT)
    assert [query.text for query in groups["trained emoji"]] == ["cat", "dog"]
    assert groups["held-out emoji"] == [Query("cow", frozenset({2}))]


def test_held_out_keywords_are_separate_groups() -> None:
    groups = {name: [query.text for query in queries] for name, queries in keyword_queries(CORPUS, HOLDOUT).items()}
    assert groups == {
        "trained": ["fur", "pet"],
        "held out, of known words": [],
        "held out, with a new word": ["soft fur", "zonk"],
    }


def test_all_emoji_with_a_keyword_answer_it() -> None:
    pet = next(query for query in keyword_queries(CORPUS, HOLDOUT)["trained"] if query.text == "pet")
    assert pet.answers == {0, 1, 2}


@pytest.mark.parametrize(("first", "answered", "found"), [(1, 0.5, 0.5), (2, 1.0, 0.75), (3, 1.0, 1.0)])
def test_recall_is_the_share_of_answered_queries(first: int, answered: float, found: float) -> None:
    assert recall(QUERIES, RANKING, first) == answered
    assert share_found(QUERIES, RANKING, first) == found


@pytest.mark.long
def test_a_model_is_measured_through_the_products_pipeline(
    finished_run: Path, emoji_set: Dataset, tmp_path: Path
) -> None:
    model = tmp_path / "model"
    export_model(load_average(finished_run / CHECKPOINT_NAME, TINY_OPTIONS), TINY_OPTIONS.shape, finished_run, model)
    figures = evaluate(model, emoji_set)
    save_figures(figures, tmp_path / "figures.json")
    values = {figure["name"]: figure["value"] for figure in json.loads((tmp_path / "figures.json").read_text())}
    assert len(values) == len(figures)
    assert all(0 <= value <= 1.0001 for value in values.values())
    assert values["least cosine of bf16 and fp32, texts"] > 0.99
    assert "panoramas of four emoji: recall@5, TTA on" in values

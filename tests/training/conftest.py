from __future__ import annotations

from pathlib import Path

import pytest
import torch
from open_clip.tokenizer import HFTokenizer

from tests.training.emoji_set import TINY_OPTIONS, TINY_SHAPE, make_emoji_set
from training.dataset import Dataset
from training.holdout import Holdout, draw_holdout
from training.phrases import Phrases, collect_phrases
from training.run import TrainingRun
from training.tokenizer import write_tokenizer


@pytest.fixture(scope="session")
def emoji_set() -> Dataset:
    return make_emoji_set()


@pytest.fixture(scope="session")
def holdout(emoji_set: Dataset) -> Holdout:
    return draw_holdout(emoji_set.emoji)


@pytest.fixture(scope="session")
def phrases(emoji_set: Dataset, holdout: Holdout) -> Phrases:
    return collect_phrases(emoji_set.emoji, holdout)


@pytest.fixture(scope="session")
def tokenizer(emoji_set: Dataset, tmp_path_factory: pytest.TempPathFactory) -> HFTokenizer:
    directory = tmp_path_factory.mktemp("tokenizer")
    write_tokenizer(directory, emoji_set.emoji, TINY_SHAPE.vocabulary_size, TINY_SHAPE.context_length)
    return HFTokenizer(str(directory), context_length=TINY_SHAPE.context_length, clean="canonicalize")


@pytest.fixture(scope="session")
def finished_run(emoji_set: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run of four steps."""
    folder = tmp_path_factory.mktemp("run")
    TINY_OPTIONS.save(folder / "options.json")
    emoji_set.save(folder / "dataset.npz")
    TrainingRun(folder, emoji_set, TINY_OPTIONS, torch.device("cpu")).finish()
    return folder

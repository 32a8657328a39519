from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch.nn import functional

from sidecar.model.golden import find_golden
from sidecar.model.selftest import run_self_test
from tests.model.variants import load_on_cpu
from tests.training.emoji_set import TINY_OPTIONS
from training.dataset import Dataset
from training.export import WEIGHTS_NAME, export_model, fold_projection_bias
from training.optimisation import learning_rate_at
from training.options import TrainingOptions
from training.run import CHECKPOINT_NAME, LOG_NAME, TrainingRun
from training.trainer import load_average

CPU = torch.device("cpu")
TEXTS = ["red disc", "a photo of a blue ring", "something never heard of " * 9]


def state_of(run: Path) -> dict[str, torch.Tensor]:
    state: dict[str, torch.Tensor] = torch.load(run / CHECKPOINT_NAME, weights_only=True)["towers"]
    return state


@pytest.fixture(scope="module")
def exported(finished_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    model = tmp_path_factory.mktemp("model")
    export_model(load_average(finished_run / CHECKPOINT_NAME, TINY_OPTIONS), TINY_OPTIONS.shape, finished_run, model)
    return model


def test_an_interrupted_run_ends_with_the_same_weights(finished_run: Path, emoji_set: Dataset, tmp_path: Path) -> None:
    TrainingRun(tmp_path, emoji_set, TINY_OPTIONS, CPU).finish(until_step=2)
    halfway = state_of(tmp_path)
    TrainingRun(tmp_path, emoji_set, TINY_OPTIONS, CPU).finish()
    straight, resumed = state_of(finished_run), state_of(tmp_path)
    assert all(torch.equal(straight[name], resumed[name]) for name in straight)
    assert any(not torch.equal(straight[name], halfway[name]) for name in straight)
    for name in ("average", "optimizer"):
        one, other = (
            str(torch.load(run / CHECKPOINT_NAME, weights_only=True)[name]) for run in (finished_run, tmp_path)
        )
        assert one == other


def test_another_seed_gives_other_weights(finished_run: Path, emoji_set: Dataset, tmp_path: Path) -> None:
    TrainingRun(tmp_path, emoji_set, replace(TINY_OPTIONS, seed=5), CPU).finish(until_step=1)
    assert not torch.equal(state_of(tmp_path)["visual.conv1.weight"], state_of(finished_run)["visual.conv1.weight"])


def test_every_step_draws_another_batch(emoji_set: Dataset, tmp_path: Path) -> None:
    trainer = TrainingRun(tmp_path, emoji_set, replace(TINY_OPTIONS, learning_rate=0.0), CPU).trainer
    assert len({trainer.step().item() for _ in range(3)}) == 3


def test_a_run_writes_a_log(finished_run: Path) -> None:
    entries = [json.loads(line) for line in (finished_run / LOG_NAME).read_text().splitlines()]
    assert entries[-1]["step"] == TINY_OPTIONS.steps
    assert entries[-1]["loss"] > 0
    assert 0 <= entries[-1]["trained names recall@5"] <= 1


@pytest.mark.long
def test_a_model_learns(emoji_set: Dataset, tmp_path: Path) -> None:
    options = replace(TINY_OPTIONS, steps=60, batch_size=24, learning_rate=3e-3, average_decay=0.8)
    run = TrainingRun(tmp_path, emoji_set, options, CPU)
    losses = [run.trainer.step().item() for _ in range(options.steps)]
    assert np.mean(losses[-10:]) < 0.7 * np.mean(losses[:10])


def test_options_survive_their_file(tmp_path: Path) -> None:
    TINY_OPTIONS.save(tmp_path / "options.json")
    assert TrainingOptions.load(tmp_path / "options.json") == TINY_OPTIONS


def test_the_learning_rate_rises_and_falls() -> None:
    options = replace(TINY_OPTIONS, steps=100, warmup_steps=10, learning_rate=1.0)
    rates = [learning_rate_at(step, options) for step in range(100)]
    assert rates[0] == pytest.approx(0.1)
    assert max(rates) == rates[10] == 1.0
    assert rates[99] < 0.001
    assert sorted(rates[10:], reverse=True) == rates[10:]


def test_the_product_loads_an_exported_model_with_the_same_vectors(finished_run: Path, exported: Path) -> None:
    encoder = load_on_cpu(exported)
    run_self_test(encoder, find_golden(encoder.model_id, None))
    towers: Any = load_average(finished_run / CHECKPOINT_NAME, TINY_OPTIONS)
    views = np.random.default_rng(0).integers(0, 256, (5, 32, 32, 3), dtype=np.uint8)
    prepared = encoder.prepare_texts(TEXTS)
    with torch.inference_mode():
        pixels = torch.from_numpy(views).permute(0, 3, 1, 2).float() / 127.5 - 1
        pictures = towers.encode_image(pixels, normalize=True).numpy()
        texts = towers.encode_text(torch.tensor(np.stack([one.token_ids for one in prepared])), normalize=True).numpy()
    assert np.sum(encoder.encode_views(views) * pictures, axis=1).min() > 0.99999
    assert np.sum(encoder.encode_texts(prepared) * texts, axis=1).min() > 0.99999


def test_folding_the_bias_does_not_change_vectors() -> None:
    generator = torch.Generator().manual_seed(0)
    gain, offset = torch.randn(64, generator=generator), torch.randn(64, generator=generator)
    norm = {"text.ln_final.weight": gain, "text.ln_final.bias": offset}
    weight, bias = torch.randn(1152, 64, generator=generator), torch.randn(1152, generator=generator)
    inputs = torch.randn(5, 64, generator=generator)
    folded = fold_projection_bias({**norm, "text.text_projection.weight": weight, "text.text_projection.bias": bias})
    before = functional.layer_norm(inputs, (64,), gain, offset) @ weight.T + bias
    after = functional.layer_norm(inputs, (64,), folded["text.ln_final.weight"], folded["text.ln_final.bias"])
    assert torch.allclose(after @ folded["text.text_projection"], before, atol=1e-3)
    assert folded.keys() == {*norm, "text.text_projection"}


def test_an_exported_model_is_stored_in_fp16_and_loads_in_bf16(exported: Path) -> None:
    assert {tensor.dtype for tensor in load_file(exported / WEIGHTS_NAME).values()} == {torch.float16}
    exact, rounded = load_on_cpu(exported), load_on_cpu(exported, "bf16")
    prepared = exact.prepare_texts(TEXTS)
    assert np.sum(exact.encode_texts(prepared) * rounded.encode_texts(prepared), axis=1).min() > 0.999

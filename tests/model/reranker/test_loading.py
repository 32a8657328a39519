"""Unusable cross-encoders are refused with the reason."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import RobertaConfig, RobertaForSequenceClassification

from sidecar.config import Settings, load_settings
from sidecar.errors import ModelError
from sidecar.model.reranker.loading import load_cross_encoder
from tests.model.variants import edit_json
from tests.tiny_models.cross_encoder import make_tiny_cross_encoder

WEIGHTS_NAME = "model.safetensors"


def settings_for(model_id: str | Path) -> Settings:
    named = f"local-dir:{model_id}" if isinstance(model_id, Path) else model_id
    return load_settings({"RERANK_MODEL_ID": named, "REQUIRE_CUDA": "0", "MODEL_PRECISION": "fp32"})


def forget_the_head(folder: Path) -> None:
    state = load_file(folder / WEIGHTS_NAME)
    save_file({name: value for name, value in state.items() if "classifier" not in name}, folder / WEIGHTS_NAME)


def remove_weights(folder: Path) -> None:
    (folder / WEIGHTS_NAME).unlink()


def cut_off_weights(folder: Path) -> None:
    whole = (folder / WEIGHTS_NAME).read_bytes()
    (folder / WEIGHTS_NAME).write_bytes(whole[: len(whole) // 2])


def remove_config(folder: Path) -> None:
    (folder / "config.json").unlink()


def garble_config(folder: Path) -> None:
    (folder / "config.json").write_text("{")


def remove_tokenizer(folder: Path) -> None:
    (folder / "tokenizer.json").unlink()


def another_tokenizer(folder: Path) -> None:
    def shift(content: dict[str, object]) -> None:
        model = content["model"]
        assert isinstance(model, dict)
        model["vocab"]["people"] = 5000

    edit_json(folder / "tokenizer.json", shift)


def another_architecture(folder: Path) -> None:
    edit_json(folder / "config.json", lambda config: config.update(hidden_size=16))


def code_of_its_own(folder: Path) -> None:
    """Remote code, which would be run, or confirmed on a terminal that does not exist."""
    names = {"AutoConfig": "own.Config", "AutoModelForSequenceClassification": "own.Model"}
    edit_json(folder / "config.json", lambda config: config.update(model_type="own", auto_map=names))
    (folder / "own.py").write_text("raise SystemExit('run')")


def broken_numbers(folder: Path) -> None:
    state = load_file(folder / WEIGHTS_NAME)
    state["classifier.weight"] = torch.full_like(state["classifier.weight"], float("nan"))
    save_file(state, folder / WEIGHTS_NAME)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (forget_the_head, r"lacks the weights classifier.bias, classifier.weight: is it a cross-encoder"),
        (remove_weights, "cannot be loaded"),
        (cut_off_weights, "cannot be loaded"),
        (remove_config, "holds no config.json"),
        (garble_config, "cannot be loaded"),
        (remove_tokenizer, "holds no tokenizer"),
        (another_tokenizer, "the tokenizer is not this model's: it gives token 5000"),
        (another_architecture, "cannot be loaded"),
        (code_of_its_own, "cannot be loaded.*custom code"),
        (broken_numbers, "scores are not finite; try MODEL_PRECISION=fp32"),
    ],
)
def test_an_incomplete_model_is_an_error_that_says_what_is_wrong(
    tmp_path: Path, damage: Callable[[Path], None], message: str
) -> None:
    damage(make_tiny_cross_encoder(tmp_path))
    with pytest.raises(ModelError, match=message):
        load_cross_encoder(settings_for(tmp_path))


def test_a_model_with_several_labels_is_refused(tmp_path: Path) -> None:
    make_tiny_cross_encoder(tmp_path, labels=3)
    with pytest.raises(ModelError, match="gives 3 labels for a pair, a reranker gives one score: name one in RERANK_M"):
        load_cross_encoder(settings_for(tmp_path))


def test_a_directory_that_does_not_exist_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"RERANK_MODEL_ID=local-dir:.*nowhere: there is no such directory"):
        load_cross_encoder(settings_for(tmp_path / "nowhere"))


def test_a_missing_model_is_an_error_that_says_what_to_do_offline() -> None:
    with pytest.raises(ModelError, match="is not on this machine") as caught:
        load_cross_encoder(settings_for("our/reranker"))
    assert "set RERANK_MODEL_ID=local-dir:/path/to/folder" in str(caught.value)


def test_positions_counted_from_behind_the_padding_are_not_exceeded(tmp_path: Path) -> None:
    """RoBERTa's family: 64 of 66 positions are usable, which the tokenizer does not state."""
    make_tiny_cross_encoder(tmp_path)
    vocabulary = RobertaConfig.from_pretrained(tmp_path).vocab_size
    config = RobertaConfig(  # type: ignore[call-arg]  # which transformers take by name
        vocab_size=vocabulary,
        hidden_size=32,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=64,
        max_position_embeddings=66,
        type_vocab_size=2,
        pad_token_id=1,
        num_labels=1,
    )
    RobertaForSequenceClassification(config).save_pretrained(tmp_path)
    edit_json(tmp_path / "tokenizer_config.json", lambda tokenizer: tokenizer.update(model_max_length=10**9))
    scorer = load_cross_encoder(settings_for(tmp_path))
    (pair,) = scorer.prepare_pairs("a dog", ["a dog " * 100])
    assert len(pair.token_ids) == 64
    assert scorer.score_pairs([pair]).shape == (1,)


def test_the_log_says_what_was_loaded(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    make_tiny_cross_encoder(tmp_path)
    with caplog.at_level(logging.INFO, "sidecar.model"):
        load_cross_encoder(settings_for(tmp_path))
    assert f"Loaded local-dir:{tmp_path} to rerank on {'cuda' if torch.cuda.is_available() else 'cpu'}" in caplog.text

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import open_clip
import pytest

from sidecar.errors import ModelError
from sidecar.model.open_clip_encoder import OpenClipEncoder
from tests.model.variants import copy_model, edit_config, load_on_cpu

TEXTS = [
    "a photo of a cat",
    "Don't panic: C++ &amp; 50% off!",
    "  UPPER\tcase\n ",
    "naïve café 猫 кот",
    "one " * 62,
    "one " * 63,
    "one " * 64,
    "word " * 500,
    "",
]


def test_ids_are_those_of_open_clip(tiny_model: Path, tiny_encoder: OpenClipEncoder) -> None:
    expected = open_clip.get_tokenizer(f"local-dir:{tiny_model}")(TEXTS).numpy()
    prepared = tiny_encoder.prepare_texts(TEXTS)
    assert np.array_equal(np.stack([text.token_ids for text in prepared]), expected)


def test_every_text_is_padded_with_the_end_token_to_the_context_length(tiny_encoder: OpenClipEncoder) -> None:
    prepared = tiny_encoder.prepare_texts(TEXTS)
    assert {(text.token_ids.shape, text.token_ids.dtype) for text in prepared} == {((64,), np.dtype(np.int64))}
    assert prepared[0].token_ids[5:].tolist() == [1] * 59
    assert all(text.token_ids[-1] == 1 for text in prepared)


@pytest.mark.parametrize(("words", "truncated"), [(1, False), (62, False), (63, False), (64, True), (500, True)])
def test_a_text_counts_as_truncated_only_if_a_token_is_lost(
    tiny_encoder: OpenClipEncoder, words: int, truncated: bool
) -> None:
    short, text = tiny_encoder.prepare_texts(["short", "one " * words])
    assert text.truncated is truncated
    assert short.truncated is False


def test_tokens_are_counted_without_padding_up_to_the_context_length(tiny_encoder: OpenClipEncoder) -> None:
    texts = ["a photo of a cat", "", "one " * 62, "one " * 63, "one " * 500]
    assert [text.tokens for text in tiny_encoder.prepare_texts(texts)] == [5, 0, 62, 63, 63]


@pytest.mark.parametrize("text", ["", "   ", "\n\t", "!?!", "&quot;...&quot;"])
def test_a_text_empty_after_cleaning_is_blank(tiny_encoder: OpenClipEncoder, text: str) -> None:
    (prepared,) = tiny_encoder.prepare_texts([text])
    assert prepared.blank


@pytest.mark.parametrize("mark", ["</s>", "<pad>", "<unk>", "&lt;/s&gt;", "＜/s＞", "<extra_id_0>"])
def test_a_special_token_inside_a_text_is_text(tiny_encoder: OpenClipEncoder, mark: str) -> None:
    word = mark.strip("<>＜＞/&ltg;").replace("_", " ")
    marked, plain = tiny_encoder.prepare_texts([f"a cat {mark} a dog", f"a cat {word} a dog"])
    assert np.array_equal(marked.token_ids, plain.token_ids)


@pytest.mark.parametrize("text", ["a", "0", "猫", "C++", "\ud800", "nul \0 inside"])
def test_a_text_not_empty_after_cleaning_is_not_blank(tiny_encoder: OpenClipEncoder, text: str) -> None:
    (prepared,) = tiny_encoder.prepare_texts([text])
    assert not prepared.blank
    assert np.isfinite(tiny_encoder.encode_texts([prepared])).all()


def test_concurrent_threads_get_the_right_ids(tiny_encoder: OpenClipEncoder) -> None:
    expected = [text.token_ids.tolist() for text in tiny_encoder.prepare_texts(TEXTS)]

    def prepare(index: int) -> bool:
        texts = TEXTS[index % len(TEXTS) :] + TEXTS[: index % len(TEXTS)]
        rotated = expected[index % len(TEXTS) :] + expected[: index % len(TEXTS)]
        return [text.token_ids.tolist() for text in tiny_encoder.prepare_texts(texts)] == rotated

    with ThreadPoolExecutor(8) as threads:
        assert all(threads.map(prepare, range(200)))


def test_no_texts_give_no_prepared_texts(tiny_encoder: OpenClipEncoder) -> None:
    assert tiny_encoder.prepare_texts([]) == []


def test_another_models_tokenizer_is_refused(tiny_model: Path, tmp_path: Path) -> None:
    """Without hf_tokenizer_name open_clip would use CLIP's tokenizer, whose ids exceed the embedding."""
    copy_model(tiny_model, tmp_path)
    edit_config(tmp_path, lambda config: config["model_cfg"]["text_cfg"].pop("hf_tokenizer_name"))
    with pytest.raises(ModelError, match="tokenizer is not this model's"):
        load_on_cpu(tmp_path)


def test_a_missing_tokenizer_is_an_error(tiny_model: Path, tmp_path: Path) -> None:
    copy_model(tiny_model, tmp_path)
    (tmp_path / "tokenizer.json").unlink()
    with pytest.raises(ModelError, match=r"no tokenizer: tokenizer\.json"):
        load_on_cpu(tmp_path)


def test_a_damaged_tokenizer_is_an_error(tiny_model: Path, tmp_path: Path) -> None:
    copy_model(tiny_model, tmp_path)
    (tmp_path / "tokenizer.json").write_text('{"version": "1.0", "model": {}}')
    with pytest.raises(ModelError, match="cannot be loaded"):
        load_on_cpu(tmp_path)

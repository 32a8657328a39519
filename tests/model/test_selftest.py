from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch

from sidecar.errors import ModelError
from sidecar.model.golden import GOLDEN_NAME, find_golden, read_golden, write_golden
from sidecar.model.open_clip_encoder import OpenClipEncoder
from sidecar.model.precision import Precision
from sidecar.model.selftest import run_self_test
from tests.model.variants import copy_model, edit_config, edit_json, edit_weights, load_on_cpu

TEXT_PROJECTION = "text.text_projection.weight"
IMAGE_PROJECTION = "visual.head.proj.weight"


def run_with_golden(directory: Path, precision: Precision = "fp32", **variables: str) -> None:
    encoder = load_on_cpu(directory, precision, **variables)
    golden = find_golden(encoder.model_id, None)
    assert golden == directory / GOLDEN_NAME
    run_self_test(encoder, golden)


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_an_intact_model_passes_in_every_precision(tiny_model: Path, precision: Precision) -> None:
    run_with_golden(tiny_model, precision)


def test_an_intact_model_passes_without_golden_vectors(tiny_encoder: OpenClipEncoder) -> None:
    run_self_test(tiny_encoder, None)


@pytest.mark.parametrize("name", [TEXT_PROJECTION, IMAGE_PROJECTION, "visual.trunk.blocks.4.attn.qkv.weight"])
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_corrupted_weights_are_found(tiny_model: Path, tmp_path: Path, name: str, precision: Precision) -> None:
    copy_model(tiny_model, tmp_path)

    def flip_a_block(weights: torch.Tensor) -> torch.Tensor:
        weights[: len(weights) // 2] *= -1.0
        return weights

    edit_weights(tmp_path, name, flip_a_block)
    with pytest.raises(ModelError, match="golden vectors"):
        run_with_golden(tmp_path, precision)


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_padding_with_another_token_is_found(tiny_model: Path, tmp_path: Path, precision: Precision) -> None:
    copy_model(tiny_model, tmp_path)
    edit_json(tmp_path / "tokenizer_config.json", lambda config: config.update(pad_token="<pad>"))
    with pytest.raises(ModelError, match="texts and the golden vectors"):
        run_with_golden(tmp_path, precision)


def test_padding_to_another_length_is_found(tiny_model: Path, tmp_path: Path) -> None:
    copy_model(tiny_model, tmp_path)
    edit_config(tmp_path, lambda config: config["model_cfg"]["text_cfg"].update(context_length=32))
    with pytest.raises(ModelError, match="texts and the golden vectors"):
        run_with_golden(tmp_path)


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_a_wrong_mean_is_found(tiny_model: Path, tmp_path: Path, precision: Precision) -> None:
    copy_model(tiny_model, tmp_path)
    clip_mean = [0.48145466, 0.4578275, 0.40821073]
    edit_config(tmp_path, lambda config: config["preprocess_cfg"].update(mean=clip_mean))
    with pytest.raises(ModelError, match="pictures and the golden vectors"):
        run_with_golden(tmp_path, precision)


def test_weights_that_are_not_numbers_are_found_without_golden_vectors(tiny_model: Path, tmp_path: Path) -> None:
    copy_model(tiny_model, tmp_path)
    edit_weights(tmp_path, IMAGE_PROJECTION, lambda weights: weights.fill_(float("nan")))
    with pytest.raises(ModelError, match="not finite"):
        run_self_test(load_on_cpu(tmp_path), None)


def test_a_model_that_ignores_its_input_is_found_without_golden_vectors(tiny_model: Path, tmp_path: Path) -> None:
    copy_model(tiny_model, tmp_path)
    edit_weights(tmp_path, "text.token_embedding.weight", torch.zeros_like)
    with pytest.raises(ModelError, match="different texts give the same vector"):
        run_self_test(load_on_cpu(tmp_path), None)


def test_an_image_size_that_the_network_lacks_is_found(tiny_model: Path, tmp_path: Path) -> None:
    """The configuration's image_size alone does not change the network."""
    copy_model(tiny_model, tmp_path)
    edit_config(tmp_path, lambda config: config["model_cfg"]["vision_cfg"].update(image_size=192))
    with pytest.raises(ModelError, match="192"):
        run_self_test(load_on_cpu(tmp_path), None)


def test_golden_vectors_of_another_view_size_still_check_the_texts(tiny_model: Path, tmp_path: Path) -> None:
    run_with_golden(tiny_model, VISION_SIZE="192")
    copy_model(tiny_model, tmp_path)
    edit_weights(tmp_path, TEXT_PROJECTION, lambda weights: weights.flip(0).contiguous())
    with pytest.raises(ModelError, match="texts and the golden vectors"):
        run_with_golden(tmp_path, VISION_SIZE="192")


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 cut off", b"not a zip file"])
def test_unreadable_golden_vectors_are_an_error(tiny_encoder: OpenClipEncoder, tmp_path: Path, content: bytes) -> None:
    (tmp_path / GOLDEN_NAME).write_bytes(content)
    with pytest.raises(ModelError, match="cannot be read"):
        run_self_test(tiny_encoder, tmp_path / GOLDEN_NAME)


def test_golden_vectors_without_their_texts_are_an_error(tmp_path: Path, tiny_model: Path) -> None:
    with (
        zipfile.ZipFile(tiny_model / GOLDEN_NAME) as whole,
        zipfile.ZipFile(tmp_path / GOLDEN_NAME, "w") as part,
    ):
        for name in set(whole.namelist()) - {"texts.npy"}:
            part.writestr(name, whole.read(name))
    with pytest.raises(ModelError, match="texts"):
        read_golden(tmp_path / GOLDEN_NAME)


def test_golden_vectors_are_read_back_unchanged(tiny_encoder: OpenClipEncoder, tmp_path: Path) -> None:
    write_golden(tiny_encoder, tmp_path / GOLDEN_NAME)
    golden = read_golden(tmp_path / GOLDEN_NAME)
    vectors = tiny_encoder.encode_texts(tiny_encoder.prepare_texts(golden.texts))
    assert np.array_equal(golden.text_vectors, vectors)
    assert (golden.view_size, golden.view_vectors.shape) == (160, (2, 1152))


def test_only_a_local_folder_has_golden_vectors(tmp_path: Path) -> None:
    assert find_golden("hf-hub:timm/ViT-SO400M-14-SigLIP-384", None) is None
    assert find_golden(f"local-dir:{tmp_path}", None) is None

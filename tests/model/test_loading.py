from __future__ import annotations

import copy
import logging
import math
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import open_clip
import pytest
import torch
import torchvision
from safetensors.torch import load_file, save_file

from sidecar.config import load_settings
from sidecar.errors import ConfigurationError, ModelError
from sidecar.model.checkpoints.checkpoint import find_checkpoint
from sidecar.model.device import ComputeDevice
from sidecar.model.loading import load_encoder
from sidecar.model.open_clip_encoder import OpenClipEncoder
from sidecar.model.probes import draw_probe_views
from sidecar.model.selftest import run_self_test
from tests.model.families import CLIP_MEAN, CLIP_STD, FAMILIES, write_model
from tests.model.variants import WEIGHTS_NAME, copy_model, edit_config, edit_weights, load_on_cpu, settings_for
from tests.unit.pictures.pictures import make_picture


def remove_weights(directory: Path) -> None:
    (directory / WEIGHTS_NAME).unlink()


def cut_off_weights(directory: Path) -> None:
    whole = (directory / WEIGHTS_NAME).read_bytes()
    (directory / WEIGHTS_NAME).write_bytes(whole[: len(whole) // 2])


def exchange_weights(directory: Path) -> None:
    edit_config(directory, lambda config: config["model_cfg"]["text_cfg"].update(layers=3))


def remove_config(directory: Path) -> None:
    (directory / "open_clip_config.json").unlink()


def garble_config(directory: Path) -> None:
    (directory / "open_clip_config.json").write_text("{")


def forget_preprocessing(directory: Path) -> None:
    edit_config(directory, lambda config: config.pop("preprocess_cfg"))


def stretch(directory: Path) -> None:
    edit_config(directory, lambda config: config["preprocess_cfg"].update(resize_mode="stretch"))


def resize_to_the_nearest(directory: Path) -> None:
    edit_config(directory, lambda config: config["preprocess_cfg"].update(interpolation="nearest"))


def pad_with_a_name(directory: Path) -> None:
    edit_config(directory, lambda config: config["preprocess_cfg"].update(fill_color="white"))


def read_grey(directory: Path) -> None:
    edit_config(directory, lambda config: config["preprocess_cfg"].update(mode="L"))


def mean_of_clip_for_siglip(directory: Path) -> None:
    edit_config(directory, lambda config: config["preprocess_cfg"].update(mean=[0.48, 0.46, 0.41]))
    siglip = "vit_so400m_patch14_siglip_384"
    edit_config(directory, lambda config: config["model_cfg"]["vision_cfg"].update(timm_model_name=siglip))


def name_no_channels(directory: Path) -> None:
    edit_config(directory, lambda config: config["preprocess_cfg"].update(std=0.5))


def add_two_weights_files(directory: Path) -> None:
    (directory / WEIGHTS_NAME).rename(directory / "epoch_1.safetensors")
    (directory / "epoch_2.safetensors").write_bytes(b"")


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (remove_weights, "holds no weights: a file named open_clip_model.safetensors is expected"),
        (cut_off_weights, "damaged or cut off"),
        (exchange_weights, "cannot be loaded"),
        (remove_config, "does not exist"),
        (garble_config, "cannot be read"),
        (forget_preprocessing, "lacks 'preprocess_cfg'"),
        (stretch, "resize_mode is 'stretch': one of squash, shortest, longest is expected"),
        (resize_to_the_nearest, "interpolation is 'nearest': one of bicubic, bilinear, random is expected"),
        (pad_with_a_name, "fill_color is 'white': a whole number from 0 to 255"),
        (read_grey, "mode is 'L': one of RGB is expected"),
        (mean_of_clip_for_siglip, "was trained with 0.5"),
        (name_no_channels, "preprocess_cfg.std is 0.5: three numbers"),
        (add_two_weights_files, r"several weights files \(epoch_1.safetensors, epoch_2.safetensors\)"),
    ],
)
def test_an_incomplete_model_is_an_error_that_says_what_is_wrong(
    tiny_model: Path, tmp_path: Path, damage: Callable[[Path], None], message: str
) -> None:
    copy_model(tiny_model, tmp_path)
    damage(tmp_path)
    with pytest.raises(ModelError, match=message):
        load_encoder(settings_for(tmp_path))


def test_a_directory_that_does_not_exist_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"nowhere: there is no such directory"):
        load_encoder(settings_for(tmp_path / "nowhere"))


def test_the_weights_that_are_digested_are_those_that_open_clip_loads(
    tiny_model: Path, tiny_encoder: OpenClipEncoder, tmp_path: Path
) -> None:
    copy_model(tiny_model, tmp_path)
    for name in ("a_first.safetensors", "model.safetensors", "open_clip_pytorch_model.bin"):
        (tmp_path / name).write_bytes(b"damaged")
    encoder = load_on_cpu(tmp_path)
    assert encoder.fingerprint == tiny_encoder.fingerprint
    views = draw_probe_views(160)
    assert np.array_equal(encoder.encode_views(views), tiny_encoder.encode_views(views))


def test_a_single_weights_file_of_any_name_is_used(
    tiny_model: Path, tiny_encoder: OpenClipEncoder, tmp_path: Path
) -> None:
    copy_model(tiny_model, tmp_path)
    (tmp_path / WEIGHTS_NAME).rename(tmp_path / "epoch_30.safetensors")
    assert load_on_cpu(tmp_path).fingerprint == tiny_encoder.fingerprint


def test_scale_and_bias_are_the_stored_ones_in_every_precision(tiny_model: Path, tmp_path: Path) -> None:
    copy_model(tiny_model, tmp_path)
    edit_weights(tmp_path, "logit_scale", lambda _: torch.tensor(4.7654, dtype=torch.float32))
    edit_weights(tmp_path, "logit_bias", lambda _: torch.tensor(-12.9317, dtype=torch.float32))
    for precision in ("fp32", "bf16"):
        scale = load_on_cpu(tmp_path, precision).pair_scale
        assert scale is not None
        assert scale.scale == pytest.approx(math.exp(4.7654), rel=1e-6)
        assert scale.bias == pytest.approx(-12.9317, rel=1e-6)


def test_a_model_trained_with_a_softmax_has_no_scale_and_bias(tiny_model: Path, tmp_path: Path) -> None:
    copy_model(tiny_model, tmp_path)
    edit_config(tmp_path, lambda config: config["model_cfg"].pop("init_logit_bias"))
    state = load_file(tmp_path / WEIGHTS_NAME)
    del state["logit_bias"]
    save_file(state, tmp_path / WEIGHTS_NAME)
    assert load_on_cpu(tmp_path).pair_scale is None


@pytest.mark.parametrize("stored", [torch.float32, torch.float16, torch.bfloat16])
@pytest.mark.parametrize(("family", "size"), [("clip", 96), ("convnext", 128), ("nllb", 224)])
def test_another_vision_size_gives_the_vectors_of_open_clip_for_weights_of_any_precision(
    family: str, size: int, stored: torch.dtype, tmp_path: Path
) -> None:
    """open_clip resamples position embeddings in their stored precision, which CPUs cannot below fp32."""
    directory = write_model(tmp_path, FAMILIES[family])
    state = {name: tensor.to(stored) for name, tensor in load_file(directory / WEIGHTS_NAME).items()}
    save_file({name: tensor.float() for name, tensor in state.items()}, directory / WEIGHTS_NAME)
    model = open_clip.create_model_from_pretrained(f"local-dir:{directory}", force_image_size=size)[0].eval()
    save_file(state, directory / WEIGHTS_NAME)
    encoder = load_on_cpu(directory, VISION_SIZE=str(size))
    assert encoder.view_size == size
    views = np.stack([np.asarray(make_picture(size, size, seed=seed)) for seed in range(2)])
    pixels = torch.from_numpy(views).permute(0, 3, 1, 2) / 255
    with torch.inference_mode():
        raw = model.encode_image(torchvision.transforms.functional.normalize(pixels, CLIP_MEAN, CLIP_STD))
    theirs = torch.nn.functional.normalize(raw, dim=-1).numpy()
    assert np.sum(encoder.encode_views(views) * theirs, axis=1).min() >= 0.9999


@pytest.mark.parametrize("stored", [torch.float16, torch.bfloat16])
def test_weights_for_another_size_than_configured_are_resampled(stored: torch.dtype, tmp_path: Path) -> None:
    directory = write_model(tmp_path, FAMILIES["clip"])
    edit_config(directory, lambda config: config["model_cfg"]["vision_cfg"].update(image_size=96))
    edit_config(directory, lambda config: config["model_cfg"]["text_cfg"].update(context_length=60))
    state = load_file(directory / WEIGHTS_NAME)
    save_file({name: tensor.to(stored) for name, tensor in state.items()}, directory / WEIGHTS_NAME)
    assert load_on_cpu(directory).view_size == 96


def test_an_unsupported_vision_size_is_an_error_that_names_it(tmp_path: Path) -> None:
    directory = write_model(tmp_path, FAMILIES["resnet"])
    with pytest.raises(ModelError, match=r"cannot be loaded with VISION_SIZE=96: .*size mismatch"):
        load_on_cpu(directory, VISION_SIZE="96")


def test_a_vision_tower_of_another_size_than_configured_is_an_error_that_says_what_to_set(
    tiny_model: Path, tmp_path: Path
) -> None:
    copy_model(tiny_model, tmp_path)
    edit_config(tmp_path, lambda config: config["model_cfg"]["vision_cfg"].update(image_size=128))
    with pytest.raises(ModelError, match=r"names 128 pixels, but its vision tower reads 160: set VISION_SIZE=160"):
        load_on_cpu(tmp_path)
    assert load_on_cpu(tmp_path, VISION_SIZE="160").view_size == 160


@pytest.mark.parametrize("mask", ["simple", "random", "shuffle", "syntax"])
def test_a_tokenizer_that_drops_words_at_random_is_refused(mask: str, tmp_path: Path) -> None:
    """It is for training: the same text would have a different vector each time."""
    directory = write_model(tmp_path, FAMILIES["clip"])
    options = {"reduction_mask": mask}
    edit_config(directory, lambda config: config["model_cfg"]["text_cfg"].update(tokenizer_kwargs=options))
    with pytest.raises(ModelError, match=f"reduction_mask is '{mask}': .* is for training"):
        load_on_cpu(directory)


def test_an_inconsistent_configuration_fails_the_self_test_with_its_reason(tmp_path: Path) -> None:
    """CoCa's towers must output tokens too, without which open_clip fails while encoding."""
    config = copy.deepcopy(FAMILIES["coca"])
    config["text_cfg"]["output_tokens"] = False
    encoder = load_on_cpu(write_model(tmp_path, config))
    with pytest.raises(ModelError, match=r"self-test of .*: the model cannot encode: ValueError"):
        run_self_test(encoder, None)


def test_dropout_is_off(tiny_model: Path, tiny_encoder: OpenClipEncoder, tmp_path: Path) -> None:
    copy_model(tiny_model, tmp_path)
    edit_config(tmp_path, lambda config: config["model_cfg"]["vision_cfg"].update(timm_drop=0.5))
    views = draw_probe_views(160)
    assert np.array_equal(load_on_cpu(tmp_path).encode_views(views), tiny_encoder.encode_views(views))


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a GPU")
def test_a_missing_gpu_is_an_error_before_anything_is_loaded(tmp_path: Path) -> None:
    settings = load_settings({"VISION_MODEL_ID": f"local-dir:{tmp_path}/nowhere"})
    with pytest.raises(ConfigurationError) as caught:
        load_encoder(settings)
    assert caught.value.problems[0].startswith("REQUIRE_CUDA=1: ")
    assert "run on the CPU with REQUIRE_CUDA=0" in caught.value.problems[0]


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a GPU")
def test_a_cpu_computes_in_fp32_by_default(tiny_model: Path) -> None:
    assert load_encoder(settings_for(tiny_model)).precision == "fp32"


def test_the_matmul_precision_is_set(tiny_model: Path) -> None:
    before = torch.get_float32_matmul_precision()
    try:
        load_encoder(settings_for(tiny_model, MATMUL_PRECISION="medium"))
        assert torch.get_float32_matmul_precision() == "medium"
    finally:
        torch.set_float32_matmul_precision(before)


def test_the_log_says_what_was_loaded(tiny_model: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG, "sidecar.model"):
        encoder = load_encoder(settings_for(tiny_model))
    where = f"cpu ({encoder.device_name}) in {encoder.precision}"
    assert f"Loaded {encoder.model_id} as {encoder.fingerprint} on {where}" in caplog.text


@pytest.mark.parametrize(
    ("name", "problem"),
    [
        ("no-such-model", "open_clip knows no such model"),
        ("ViT-B-32", "open_clip knows several weights for it (openai, "),
        ("ViT-B-32/openai", "QuickGELU, and ViT-B-32 computes without it"),
    ],
)
def test_a_name_with_several_sets_of_weights_is_refused(name: str, problem: str) -> None:
    with pytest.raises(ModelError) as caught:
        find_checkpoint(name, None)
    assert problem in str(caught.value)
    assert re.search("hf-hub:org/name or local-dir:/path|name ViT-B-32-quickgelu/openai$", str(caught.value))


def test_a_name_with_one_set_of_weights_is_searched_in_its_repository() -> None:
    with pytest.raises(ModelError, match="'timm/ViT-SO400M-14-SigLIP-384' is not on this machine"):
        find_checkpoint("ViT-SO400M-14-SigLIP-384", None)


def test_a_copy_has_the_same_vectors_and_none_of_the_same_memory(tiny_model: Path) -> None:
    first = load_encoder(settings_for(tiny_model))
    assert isinstance(first, OpenClipEncoder)
    second = first.copy_to(ComputeDevice(torch.device("cpu"), first.precision))
    assert second.fingerprint == first.fingerprint
    texts = first.prepare_texts(["a cat", "a dog"])
    np.testing.assert_array_equal(second.encode_texts(texts), first.encode_texts(texts))
    weights = [{p.data_ptr() for p in each._towers.parameters()} for each in (first, second)]  # type: ignore[attr-defined]
    assert not weights[0] & weights[1]

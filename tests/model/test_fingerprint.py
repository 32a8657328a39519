from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from open_clip.factory import load_state_dict
from safetensors.torch import load_file

from sidecar.model.fingerprint import VectorSpace, digest_weights
from sidecar.model.preprocessing import Preprocessing
from sidecar.model.siglip import SiglipEncoder
from sidecar.pictures.picture import ViewSettings
from tests.model.variants import WEIGHTS_NAME, copy_model, edit_config, edit_json, edit_weights, load_on_cpu

SPACE = VectorSpace(
    architecture="vit_example",
    model_cfg={
        "embed_dim": 4,
        "vision_cfg": {"timm_model_name": "vit_example"},
        "text_cfg": {"hf_tokenizer_name": "a"},
    },
    weights_digest="00ff",
    preprocessing=Preprocessing((0.5, 0.5, 0.5), (0.5, 0.5, 0.5)),
    views=ViewSettings(384, True, 384, (1.0, 1.35), 1536, 2.6, 0.0),
    probe_token_ids=((5, 6, 1), (1, 1, 1)),
)


def test_it_stays_the_same_from_release_to_release() -> None:
    """If this fails, every vector in every user's database counts as foreign: was that meant?"""
    assert SPACE.fingerprint() == "vit_example-30314fad38f8a49f"


def test_it_is_the_same_after_every_start(tiny_model: Path, tiny_encoder: SiglipEncoder) -> None:
    assert load_on_cpu(tiny_model).fingerprint == tiny_encoder.fingerprint
    assert tiny_encoder.fingerprint.startswith("test_vit3-")
    assert len(tiny_encoder.fingerprint) == len("test_vit3-") + 16


def test_precision_does_not_change_it(tiny_model: Path, tiny_encoder: SiglipEncoder) -> None:
    assert load_on_cpu(tiny_model, "bf16").fingerprint == tiny_encoder.fingerprint


def test_neither_do_the_place_and_the_container_of_the_weights(
    tiny_model: Path, tiny_encoder: SiglipEncoder, tmp_path: Path
) -> None:
    copy_model(tiny_model, tmp_path)
    torch.save(load_file(tmp_path / WEIGHTS_NAME), tmp_path / "open_clip_pytorch_model.bin")
    (tmp_path / WEIGHTS_NAME).unlink()
    edit_config(tmp_path, lambda config: config["model_cfg"]["text_cfg"].update(hf_tokenizer_name="another/name"))
    assert load_on_cpu(tmp_path).fingerprint == tiny_encoder.fingerprint


def test_a_single_other_weight_changes_it(tiny_model: Path, tiny_encoder: SiglipEncoder, tmp_path: Path) -> None:
    copy_model(tiny_model, tmp_path)

    def nudge(weights: torch.Tensor) -> torch.Tensor:
        weights[3, 5] = torch.nextafter(weights[3, 5], torch.tensor(9.0))
        return weights

    edit_weights(tmp_path, "visual.head.proj.weight", nudge)
    assert load_on_cpu(tmp_path).fingerprint != tiny_encoder.fingerprint


def test_the_digest_covers_names_types_and_shapes(tmp_path: Path) -> None:
    values = torch.arange(6, dtype=torch.float32)
    files: dict[str, dict[str, torch.Tensor]] = {
        "base": {"a": values, "b": values + 1},
        "names": {"a": values + 1, "b": values},
        "shape": {"a": values.view(2, 3), "b": values + 1},
        "type": {"a": values.view(torch.int32), "b": values + 1},
        "scalar": {"a": values, "b": values + 1, "c": torch.tensor(0.0, dtype=torch.bfloat16)},
    }
    for name, state in files.items():
        torch.save(state, tmp_path / f"{name}.bin")
    assert len({digest_weights(load_state_dict(str(tmp_path / f"{name}.bin"))) for name in files}) == len(files)


def change_padding(directory: Path) -> None:
    edit_json(directory / "tokenizer_config.json", lambda config: config.update(pad_token="<pad>"))


def change_cleaning(directory: Path) -> None:
    edit_config(
        directory, lambda config: config["model_cfg"]["text_cfg"]["tokenizer_kwargs"].update(clean="whitespace")
    )


def change_heads(directory: Path) -> None:
    edit_config(directory, lambda config: config["model_cfg"]["text_cfg"].update(heads=4))


def change_std(directory: Path) -> None:
    edit_config(directory, lambda config: config["preprocess_cfg"].update(std=[0.5, 0.5, 0.4]))


@pytest.mark.parametrize("change", [change_padding, change_cleaning, change_heads, change_std])
def test_what_a_model_makes_of_its_input_changes_it(
    tiny_model: Path, tiny_encoder: SiglipEncoder, tmp_path: Path, change: Callable[[Path], None]
) -> None:
    copy_model(tiny_model, tmp_path)
    change(tmp_path)
    assert load_on_cpu(tmp_path).fingerprint != tiny_encoder.fingerprint


@pytest.mark.parametrize(
    "variables",
    [
        {"VISION_SIZE": "192"},
        {"ENABLE_TTA": "0"},
        {"TTA_CROP_SIZE": "128"},
        {"ENABLE_MULTI_SCALE": "0"},
        {"MULTI_SCALE_FACTORS": "1.0,1.5"},
        {"MULTI_SCALE_MAX_DIM": "1024"},
        {"PANORAMA_MAX_RATIO": "3"},
        {"TTA_ANCHOR_WEIGHT": "0.5"},
    ],
)
def test_what_views_are_cut_changes_it(
    tiny_model: Path, tiny_encoder: SiglipEncoder, variables: dict[str, str]
) -> None:
    assert load_on_cpu(tiny_model, **variables).fingerprint != tiny_encoder.fingerprint


def test_with_tta_off_its_parameters_do_not_matter(tiny_model: Path) -> None:
    without = load_on_cpu(tiny_model, ENABLE_TTA="0").fingerprint
    others = {"MULTI_SCALE_FACTORS": "1.0,1.5", "TTA_CROP_SIZE": "128", "PANORAMA_MAX_RATIO": "3"}
    assert load_on_cpu(tiny_model, ENABLE_TTA="0", **others).fingerprint == without
    assert load_on_cpu(tiny_model, ENABLE_TTA="0", VISION_SIZE="192").fingerprint != without


def test_the_models_own_size_is_the_same_named_or_not(tiny_model: Path, tiny_encoder: SiglipEncoder) -> None:
    assert load_on_cpu(tiny_model, VISION_SIZE="160").fingerprint == tiny_encoder.fingerprint


@pytest.mark.parametrize(
    "other",
    [
        {"weights_digest": "00fe"},
        {"preprocessing": Preprocessing((0.5, 0.5, 0.4), (0.5, 0.5, 0.5))},
        {"probe_token_ids": ((5, 6, 1), (1, 1, 0))},
        {"architecture": "vit_other"},
    ],
)
def test_every_part_changes_it(other: dict[str, Any]) -> None:
    assert dataclasses.replace(SPACE, **other).fingerprint() != SPACE.fingerprint()

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from open_clip.factory import load_state_dict
from safetensors.torch import load_file, save_file

from sidecar.model.fingerprint import VectorSpace, digest_weights
from sidecar.model.open_clip_encoder import OpenClipEncoder
from sidecar.model.preprocessing import Preprocessing, read_preprocessing
from sidecar.model.probes import FINGERPRINT_TEXTS
from sidecar.model.text.digest import digest_tokenizer
from sidecar.pictures.views.settings import ViewSettings
from tests.model.families import FAMILIES, write_model
from tests.model.text.strange_texts import load_slow
from tests.model.variants import WEIGHTS_NAME, copy_model, edit_config, edit_json, edit_weights, load_on_cpu

SWAPPED = ("\u2581river", "\u2581sunset")

SPACE = VectorSpace(
    architecture="vit_example",
    model_cfg={
        "embed_dim": 4,
        "vision_cfg": {"timm_model_name": "vit_example"},
        "text_cfg": {"hf_tokenizer_name": "a"},
    },
    text_config=None,
    weights_digest="00ff",
    tokenizer_digest="ff00",
    preprocessing=Preprocessing((0.5, 0.5, 0.5), (0.5, 0.5, 0.5)),
    views=ViewSettings(384, True, 384, (1.0, 1.35), 1536, 2.6, 0.0),
    probe_token_ids=((5, 6, 1), (1, 1, 1)),
)


def test_the_fingerprint_is_the_same_in_every_release() -> None:
    """If this fails, all vectors in users' databases become outdated: is that intended?"""
    assert SPACE.fingerprint() == "vit_example-05ec0c2427401198"


def test_the_fingerprint_is_the_same_at_every_start(tiny_model: Path, tiny_encoder: OpenClipEncoder) -> None:
    assert load_on_cpu(tiny_model).fingerprint == tiny_encoder.fingerprint
    assert tiny_encoder.fingerprint.startswith("test_vit3-")
    assert len(tiny_encoder.fingerprint) == len("test_vit3-") + 16


def test_precision_does_not_change_it(tiny_model: Path, tiny_encoder: OpenClipEncoder) -> None:
    assert load_on_cpu(tiny_model, "bf16").fingerprint == tiny_encoder.fingerprint


def test_fast_preprocessing_does_not_change_it(tiny_model: Path, tiny_encoder: OpenClipEncoder) -> None:
    """Its vectors are as near as those of another precision: tests/semantic/test_reduced_pictures.py."""
    exact, fast = (load_on_cpu(tiny_model, PREPROCESS=preprocess).fingerprint for preprocess in ("exact", "fast"))
    assert exact == fast == tiny_encoder.fingerprint


def test_the_folder_and_format_of_the_weights_do_not_change_it(
    tiny_model: Path, tiny_encoder: OpenClipEncoder, tmp_path: Path
) -> None:
    copy_model(tiny_model, tmp_path)
    torch.save(load_file(tmp_path / WEIGHTS_NAME), tmp_path / "open_clip_pytorch_model.bin")
    (tmp_path / WEIGHTS_NAME).unlink()
    edit_config(tmp_path, lambda config: config["model_cfg"]["text_cfg"].update(hf_tokenizer_name="another/name"))
    assert load_on_cpu(tmp_path).fingerprint == tiny_encoder.fingerprint


def test_a_change_of_a_single_weight_changes_it(
    tiny_model: Path, tiny_encoder: OpenClipEncoder, tmp_path: Path
) -> None:
    copy_model(tiny_model, tmp_path)

    def nudge(weights: torch.Tensor) -> torch.Tensor:
        weights[3, 5] = torch.nextafter(weights[3, 5], torch.tensor(9.0))
        return weights

    edit_weights(tmp_path, "visual.head.proj.weight", nudge)
    assert load_on_cpu(tmp_path).fingerprint != tiny_encoder.fingerprint


def test_the_digest_covers_names_shapes_and_values(tmp_path: Path) -> None:
    values = torch.arange(6, dtype=torch.float32)
    files: dict[str, dict[str, torch.Tensor]] = {
        "base": {"a": values, "b": values + 1},
        "names": {"a": values + 1, "b": values},
        "shape": {"a": values.view(2, 3), "b": values + 1},
        "type": {"a": values.view(torch.int32), "b": values + 1},
        "scalar": {"a": values, "b": values + 1, "c": torch.tensor(0.0)},
    }
    for name, state in files.items():
        torch.save(state, tmp_path / f"{name}.bin")
    assert len({digest_weights(load_state_dict(str(tmp_path / f"{name}.bin"))) for name in files}) == len(files)


def test_weights_stored_exactly_in_fewer_bits_have_the_same_digest(tmp_path: Path) -> None:
    exact = {"a": torch.arange(6, dtype=torch.float32) / 4}
    for name, dtype in (("half", torch.float16), ("brain", torch.bfloat16)):
        torch.save({"a": exact["a"].to(dtype)}, tmp_path / f"{name}.bin")
        assert digest_weights(load_state_dict(str(tmp_path / f"{name}.bin"))) == digest_weights(exact)
    assert digest_weights({"a": (exact["a"] / 3).to(torch.float16)}) != digest_weights({"a": exact["a"] / 3})


@pytest.mark.parametrize(
    "idle", ["logit_scale", "logit_bias", "text_decoder.ln.weight", "visual.bn.num_batches_tracked"]
)
def test_weights_that_affect_no_vector_are_ignored(idle: str) -> None:
    weights = {"a": torch.arange(3.0)}
    assert digest_weights({**weights, idle: torch.tensor(4.0)}) == digest_weights(weights)
    assert digest_weights({**weights, f"visual.{idle}s": torch.tensor(4.0)}) != digest_weights(weights)


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


def swap_two_pieces(directory: Path) -> None:
    """Swaps the pieces of two words outside the probes, which changes the vectors of texts with them."""

    def swap(content: dict[str, Any]) -> None:
        pieces = content["model"]["vocab"]
        one, other = (next(i for i, piece in enumerate(pieces) if piece[0] == word) for word in SWAPPED)
        pieces[one], pieces[other] = pieces[other], pieces[one]

    edit_json(directory / "tokenizer.json", swap)


def change_a_score(directory: Path) -> None:
    edit_json(directory / "tokenizer.json", lambda content: content["model"]["vocab"][500].__setitem__(1, -0.5))


def truncate_from_the_left(directory: Path) -> None:
    edit_json(directory / "tokenizer_config.json", lambda config: config.update(truncation_side="left"))


@pytest.mark.parametrize(
    "change",
    [
        *(change_padding, change_cleaning, change_heads, change_std, swap_two_pieces, change_a_score),
        truncate_from_the_left,
    ],
)
def test_the_handling_of_inputs_changes_it(
    tiny_model: Path, tiny_encoder: OpenClipEncoder, tmp_path: Path, change: Callable[[Path], None]
) -> None:
    copy_model(tiny_model, tmp_path)
    change(tmp_path)
    assert load_on_cpu(tmp_path).fingerprint != tiny_encoder.fingerprint


def store_otherwise(directory: Path) -> None:
    """Rewrites JSON with another order of keys, other spaces, and the line ends of Windows."""
    for name in ("tokenizer.json", "tokenizer_config.json"):
        content = json.loads((directory / name).read_text(encoding="utf-8"))
        text = json.dumps(dict(reversed(content.items())), indent=3, ensure_ascii=True)
        (directory / name).write_bytes(text.replace("\n", "\r\n").encode())


def write_defaults_out(directory: Path) -> None:
    def edit(config: dict[str, Any]) -> None:
        config["model_cfg"]["vision_cfg"].update(timm_drop=0.0, timm_drop_path=0.1, timm_proj_bias=False, layers=3)
        config["model_cfg"]["text_cfg"].update(mlp_ratio=4, proj_type="linear", hf_tokenizer_name="other/name")
        config["model_cfg"].update(quick_gelu=False, init_logit_bias=-9.0, nonscalar_logit_scale=False)
        config["preprocess_cfg"].update(size=[99, 99], mode="RGB", fill_color=200)

    edit_config(directory, edit)


@pytest.mark.parametrize("change", [store_otherwise, write_defaults_out])
def test_options_that_affect_no_vector_do_not_change_it(
    tiny_model: Path, tiny_encoder: OpenClipEncoder, tmp_path: Path, change: Callable[[Path], None]
) -> None:
    copy_model(tiny_model, tmp_path)
    change(tmp_path)
    changed = load_on_cpu(tmp_path)
    assert changed.fingerprint == tiny_encoder.fingerprint
    texts = changed.prepare_texts(FINGERPRINT_TEXTS)
    assert np.array_equal(changed.encode_texts(texts), tiny_encoder.encode_texts(texts))


def test_swapped_pieces_change_vectors_of_texts_outside_the_probes(
    tiny_model: Path, tiny_encoder: OpenClipEncoder, tmp_path: Path
) -> None:
    """A fingerprint of the probes' ids alone would not notice it."""
    copy_model(tiny_model, tmp_path)
    swap_two_pieces(tmp_path)
    swapped = load_on_cpu(tmp_path)
    for texts, alike in ((FINGERPRINT_TEXTS, True), (["a river at sunset"], False)):
        ids = [
            [text.token_ids.tolist() for text in encoder.prepare_texts(texts)] for encoder in (swapped, tiny_encoder)
        ]
        assert (ids[0] == ids[1]) is alike


def test_it_covers_the_normaliser(tiny_model: Path, tmp_path: Path) -> None:
    """For a tokenizer loaded from its file: T5's class builds its own normaliser."""
    copy_model(tiny_model, tmp_path)
    edit_json(
        tmp_path / "tokenizer_config.json", lambda config: config.update(tokenizer_class="PreTrainedTokenizerFast")
    )
    fingerprints = []
    for normaliser in (None, {"type": "NFKC"}, {"type": "NFC"}, strips_accents(None), strips_accents(False)):
        edit_json(tmp_path / "tokenizer.json", partial(dict.update, normalizer=normaliser))
        fingerprints.append(load_on_cpu(tmp_path).fingerprint)
    assert len(set(fingerprints)) == len(fingerprints)


def strips_accents(answer: bool | None) -> dict[str, object]:
    """None: the same as `lowercase`."""
    options = {"clean_text": True, "handle_chinese_chars": True, "lowercase": True, "strip_accents": answer}
    return {"type": "BertNormalizer", **options}


def test_it_covers_the_text_tower_of_another_library(tmp_path: Path) -> None:
    directory = write_model(tmp_path, FAMILIES["roberta"])
    config = directory / "text_tower" / "config.json"
    before = load_on_cpu(directory).fingerprint
    edit_json(config, lambda content: content.update(transformers_version="9.9", _name_or_path="/elsewhere"))
    edit_json(config, lambda content: content.update(attention_probs_dropout_prob=0.3, initializer_range=0.1))
    assert load_on_cpu(directory).fingerprint == before
    edit_json(config, lambda content: content.update(num_attention_heads=4))
    assert load_on_cpu(directory).fingerprint != before


def test_a_text_tower_in_a_separate_module_is_the_same(tmp_path: Path) -> None:
    """open_clip loads weights stored in the older form into either."""
    directory = write_model(tmp_path / "older", FAMILIES["clip"])
    custom = copy_model(directory, tmp_path / "newer")
    edit_config(custom, lambda config: config["model_cfg"].update(custom_text=True))
    before = load_on_cpu(directory)
    assert load_on_cpu(custom).fingerprint == before.fingerprint
    save_file(
        {
            name if name.startswith(("visual.", "logit_")) else f"text.{name}": tensor
            for name, tensor in load_file(directory / WEIGHTS_NAME).items()
        },
        custom / WEIGHTS_NAME,
    )
    after = load_on_cpu(custom)
    assert after.fingerprint == before.fingerprint
    texts = after.prepare_texts(FINGERPRINT_TEXTS)
    assert np.allclose(after.encode_texts(texts), before.encode_texts(texts), atol=1e-6)


def test_it_covers_whether_special_tokens_in_texts_are_recognised(
    tiny_model: Path, tiny_encoder: OpenClipEncoder, tmp_path: Path
) -> None:
    copy_model(tiny_model, tmp_path)
    edit_json(tmp_path / "tokenizer_config.json", lambda config: config.update(split_special_tokens=True))
    assert load_on_cpu(tmp_path).fingerprint != tiny_encoder.fingerprint


def test_it_covers_the_options_of_a_tokenizer_in_python(tmp_path: Path) -> None:
    """Such as words that are never split: they are in no file of pieces, and in none of the probes."""
    plain = digest_tokenizer(load_slow(tmp_path / "plain"))
    digests = [
        digest_tokenizer(load_slow(tmp_path / "lower", do_lower_case=True)),
        digest_tokenizer(load_slow(tmp_path / "never split", never_split=["a-b"])),
    ]

    assert len({plain, *digests}) == 3
    assert digest_tokenizer(load_slow(tmp_path / "spelled out", do_lower_case=False, never_split=None)) == plain


def test_it_covers_open_clips_own_tokenizer(tmp_path: Path) -> None:
    directory = write_model(tmp_path, FAMILIES["clip"])
    before = load_on_cpu(directory).fingerprint

    def set_options(**options: object) -> str:
        edit_config(directory, lambda config: config["model_cfg"]["text_cfg"].update(tokenizer_kwargs=options))
        return load_on_cpu(directory).fingerprint

    assert set_options(clean="lower") == before
    assert set_options(clean="whitespace") != before


def test_it_covers_how_whole_pictures_are_framed() -> None:
    def fingerprints(**preprocess_cfg: object) -> tuple[str, str]:
        """Fingerprints without TTA, where only the framing matters, and with TTA, where no view is a whole picture."""
        framing = read_preprocessing(SPACE.model_cfg, preprocess_cfg).framing
        with_tta = dataclasses.replace(SPACE.views, framing=framing)
        without = dataclasses.replace(with_tta, enable_tta=False)
        one, other = (dataclasses.replace(SPACE, views=views).fingerprint() for views in (without, with_tta))
        return one, other

    spaces = [
        fingerprints(resize_mode="shortest"),
        fingerprints(resize_mode="squash"),
        fingerprints(resize_mode="longest"),
        fingerprints(resize_mode="longest", fill_color=255),
    ]
    assert len({without for without, _ in spaces}) == 4
    assert len({with_tta for _, with_tta in spaces}) == 1
    bilinear = fingerprints(interpolation="bilinear")
    assert bilinear[0] != spaces[0][0]
    assert bilinear[1] != spaces[0][1]
    assert fingerprints(interpolation="random", fill_color=9) == spaces[0] == fingerprints()


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
def test_a_change_of_views_changes_it(
    tiny_model: Path, tiny_encoder: OpenClipEncoder, variables: dict[str, str]
) -> None:
    assert load_on_cpu(tiny_model, **variables).fingerprint != tiny_encoder.fingerprint


@pytest.mark.parametrize(
    ("variables", "others"),
    [
        ({"MULTI_SCALE_FACTORS": "0.5,0.75,1.35"}, {"MULTI_SCALE_FACTORS": "1.0,1.0,1.35"}),
        ({"MULTI_SCALE_FACTORS": "1.35,1.0"}, {}),
        ({"MULTI_SCALE_FACTORS": "0.9"}, {"ENABLE_MULTI_SCALE": "0"}),
        ({"MULTI_SCALE_FACTORS": "1.351,1.0"}, {}),
        ({"TTA_ANCHOR_WEIGHT": "1"}, {"ENABLE_TTA": "0"}),
        ({"TTA_ANCHOR_WEIGHT": "1", "PANORAMA_MAX_RATIO": "5"}, {"ENABLE_TTA": "0"}),
        ({"PANORAMA_MAX_RATIO": "1.2"}, {"PANORAMA_MAX_RATIO": "1.5"}),
        ({"ENABLE_MULTI_SCALE": "0", "MULTI_SCALE_MAX_DIM": "999"}, {"ENABLE_MULTI_SCALE": "0"}),
        ({"TTA_CROP_SIZE": "160"}, {}),
    ],
)
def test_settings_that_cut_the_same_views_do_not_change_it(
    tiny_model: Path, variables: dict[str, str], others: dict[str, str]
) -> None:
    assert load_on_cpu(tiny_model, **variables).fingerprint == load_on_cpu(tiny_model, **others).fingerprint


def test_with_tta_off_its_parameters_do_not_matter(tiny_model: Path) -> None:
    without = load_on_cpu(tiny_model, ENABLE_TTA="0").fingerprint
    others = {"MULTI_SCALE_FACTORS": "1.0,1.5", "TTA_CROP_SIZE": "128", "PANORAMA_MAX_RATIO": "3"}
    assert load_on_cpu(tiny_model, ENABLE_TTA="0", **others).fingerprint == without
    assert load_on_cpu(tiny_model, ENABLE_TTA="0", VISION_SIZE="192").fingerprint != without


def test_setting_the_models_own_size_does_not_change_it(tiny_model: Path, tiny_encoder: OpenClipEncoder) -> None:
    assert load_on_cpu(tiny_model, VISION_SIZE="160").fingerprint == tiny_encoder.fingerprint


@pytest.mark.parametrize(
    "other",
    [
        {"weights_digest": "00fe"},
        {"tokenizer_digest": "ff01"},
        {"text_config": {"num_hidden_layers": 1}},
        {"preprocessing": Preprocessing((0.5, 0.5, 0.4), (0.5, 0.5, 0.5))},
        {"probe_token_ids": ((5, 6, 1), (1, 1, 0))},
        {"architecture": "vit_other"},
    ],
)
def test_a_change_of_every_part_changes_it(other: dict[str, Any]) -> None:
    assert dataclasses.replace(SPACE, **other).fingerprint() != SPACE.fingerprint()

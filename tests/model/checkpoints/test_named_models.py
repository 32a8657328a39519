"""Every model name of open_clip gives what open_clip builds, or is refused with another name."""

from __future__ import annotations

import re

import open_clip
import pytest
from open_clip.pretrained import get_pretrained_cfg

from sidecar.errors import ModelError
from sidecar.model.checkpoints.named_models import find_named_model
from sidecar.model.fingerprint import canonical_model_config
from sidecar.model.preprocessing import read_preprocessing

PAIRS = open_clip.list_pretrained()


def has_other_activation(name: str, tag: str) -> bool:
    model_cfg = open_clip.get_model_config(name)
    return bool(get_pretrained_cfg(name, tag).get("quick_gelu")) != bool(model_cfg.get("quick_gelu"))


@pytest.mark.parametrize(("name", "tag"), [pair for pair in PAIRS if not has_other_activation(*pair)])
def test_a_name_gives_the_configuration_and_weights_of_open_clip(name: str, tag: str) -> None:
    found = find_named_model(f"{name}/{tag}")
    weights = get_pretrained_cfg(name, tag)
    assert (found.name, found.tag) == (name, tag)
    assert f"{found.repository}/{found.file}" == weights["hf_hub"]
    assert found.model_cfg == open_clip.get_model_config(name)
    preprocessing = read_preprocessing(found.model_cfg, found.preprocess_cfg)
    assert (preprocessing.mean, preprocessing.std) == (weights["mean"], weights["std"])
    framing = preprocessing.framing
    assert (framing.resize_mode, framing.interpolation) == (weights["resize_mode"], weights["interpolation"])


@pytest.mark.parametrize(("name", "tag"), [pair for pair in PAIRS if has_other_activation(*pair)])
def test_a_name_with_the_wrong_activation_is_refused_with_the_right_name(name: str, tag: str) -> None:
    """open_clip would only warn, and give meaningless vectors."""
    with pytest.raises(ModelError, match="QuickGELU") as caught:
        find_named_model(f"{name}/{tag}")
    told = re.search(r": name (\S+)$", str(caught.value))
    assert told is not None
    repository = get_pretrained_cfg(name, tag)["hf_hub"]
    if told[1].startswith("hf-hub:"):
        assert told[1] == f"hf-hub:{repository.rstrip('/')}"
    else:
        found = find_named_model(told[1])
        assert f"{found.repository}/{found.file}" == repository


def test_names_with_the_same_weights_and_different_sizes_are_two_models() -> None:
    """The repository's own configuration is that of the larger model."""
    small, large = (find_named_model(f"ViT-SO400M-14-SigLIP-{size}") for size in (378, 384))
    assert (small.repository, small.file) == (large.repository, large.file)
    assert [named.model_cfg["vision_cfg"]["image_size"] for named in (small, large)] == [378, 384]
    assert canonical_model_config(small.model_cfg, None) != canonical_model_config(large.model_cfg, None)


@pytest.mark.parametrize("name", open_clip.list_models())
def test_a_name_alone_is_enough_if_there_is_one_set_of_weights(name: str) -> None:
    tags = open_clip.list_pretrained_tags_by_model(name)
    if len(tags) == 1 and not has_other_activation(name, tags[0]):
        assert find_named_model(name) == find_named_model(f"{name}/{tags[0]}")
        return
    with pytest.raises(ModelError) as caught:
        find_named_model(name)
    expected = "several weights" if len(tags) > 1 else "QuickGELU" if tags else "no weights"
    assert expected in str(caught.value)


@pytest.mark.parametrize(
    ("model_id", "problem"),
    [
        ("no-such-model", "open_clip knows no such model"),
        ("no-such-model/openai", "open_clip knows no such model"),
        ("ViT-B-16/nothing", "no such weights of ViT-B-16: it knows openai, "),
        ("coca_base/nothing", "no such weights of coca_base: it knows none at all"),
        ("coca_base", "open_clip knows no weights for it"),
        ("ViT-B-16", "several weights for it (openai, "),
        (
            "ViT-B-16",
            "say which, for instance ViT-B-16/laion400m_e31, or name one as hf-hub:org/name or local-dir:/path",
        ),
    ],
)
def test_an_unknown_name_is_an_error_that_lists_the_valid_ones(model_id: str, problem: str) -> None:
    with pytest.raises(ModelError) as caught:
        find_named_model(model_id)
    assert f"VISION_MODEL_ID={model_id!r}" in str(caught.value)
    assert problem in str(caught.value)


def test_open_clips_older_spelling_of_names_is_accepted() -> None:
    assert find_named_model("ViT-B/16/laion2b_s34b_b88k") == find_named_model("ViT-B-16/laion2b_s34b_b88k")

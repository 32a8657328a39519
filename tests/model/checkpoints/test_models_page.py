"""The lists in docs/models.md of open_clip's models and of refused ones are complete."""

from __future__ import annotations

import re
from pathlib import Path

import open_clip
import pytest
from open_clip.pretrained import get_pretrained_cfg

from sidecar.errors import ModelError
from sidecar.model.checkpoints.named_models import find_named_model

PAGE = (Path(__file__).parents[3] / "docs" / "models.md").read_text(encoding="utf-8")


def is_refused(model_id: str) -> bool:
    try:
        find_named_model(model_id)
    except ModelError:
        return True
    return False


def test_the_configurations_without_weights_are_listed_by_name() -> None:
    [row] = [line for line in PAGE.splitlines() if line.startswith("| a configuration without weights")]
    without = {name for name in open_clip.list_models() if not open_clip.list_pretrained_tags_by_model(name)}
    assert set(re.findall(r"`([^`]+)`", row)) == without | {"local-dir:", "hf-hub:"}


def test_the_pairs_that_are_refused_are_counted() -> None:
    others = re.search(r"`ViT-B-32/openai`, and the other (\d+) pairs", PAGE)
    assert others is not None
    refused = [pair for pair in open_clip.list_pretrained() if is_refused("/".join(pair))]
    assert len(refused) == int(others[1]) + 1


@pytest.mark.parametrize(
    "name", ["ViT-B-16/laion2b_s34b_b88k", "ViT-SO400M-14-SigLIP-378", "ViT-B-32-quickgelu/openai", "ViTamin-XL-384"]
)
def test_the_names_in_the_examples_exist(name: str) -> None:
    assert f"`{name}`" in PAGE
    assert not is_refused(name)


def test_the_dimensions_are_those_of_the_table() -> None:
    said = {int(number) for number in re.findall(r"\b(384|512|640|768|1024|1152|1280|1536)\b", PAGE)}
    pairs = open_clip.list_pretrained()
    assert {open_clip.get_model_config(name)["embed_dim"] for name, _ in pairs} == said
    assert all("hf_hub" in get_pretrained_cfg(name, tag) for name, tag in pairs)

"""The models in docs/choosing-a-model.md exist in open_clip, with that length, size and context."""

from __future__ import annotations

import json
from typing import Any

import open_clip
import pytest

from sidecar.model.checkpoints.named_models import find_named_model
from tests.named_tests import ROOT, rows, sections_of

PAGE = (ROOT / "docs" / "choosing-a-model.md").read_text(encoding="utf-8")
DEMO = ROOT / "sidecar" / "demo" / "model" / "open_clip_config.json"
MODELS = {row[0].split("`")[1]: row for row in rows(sections_of(PAGE)["Candidates"])}


def _configuration(model_id: str) -> dict[str, Any]:
    """open_clip's configuration of a model."""
    if model_id == "demo":
        configuration: dict[str, Any] = json.loads(DEMO.read_text(encoding="utf-8"))["model_cfg"]
        return configuration
    name = model_id.partition("/")[0] if not model_id.startswith("hf-hub:timm/") else model_id.rpartition("/")[2]
    found: dict[str, Any] = open_clip.get_model_config(name)
    return found


@pytest.mark.parametrize("model_id", MODELS)
def test_a_candidate_has_the_length_size_and_context_of_the_table(model_id: str) -> None:
    configuration = _configuration(model_id)
    said = [int(cell) for cell in MODELS[model_id][2:5]]
    context = configuration["text_cfg"].get("context_length", 77)
    assert said == [configuration["embed_dim"], configuration["vision_cfg"]["image_size"], context]


@pytest.mark.parametrize("model_id", [name for name in MODELS if name != "demo" and not name.startswith("hf-hub:")])
def test_a_candidate_may_be_named_as_written(model_id: str) -> None:
    assert find_named_model(model_id).name == model_id.partition("/")[0]


def test_the_default_is_marked() -> None:
    [default] = [row for row in MODELS.values() if "(default)" in row[0]]
    assert default[5:] == ["878", "1", "1"]

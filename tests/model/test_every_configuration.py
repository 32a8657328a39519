"""A small model of every configuration of open_clip gives the vectors of open_clip."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import open_clip
import pytest
from open_clip.pretrained import get_pretrained_cfg

from tests.model.families import shrink, write_model
from tests.model.test_families import check_against_open_clip


def kinds() -> Iterator[Any]:
    """Names whose configurations differ only in size are one case, named after the first."""
    cases: dict[str, list[str]] = {}
    for name in open_clip.list_models():
        tags = open_clip.list_pretrained_tags_by_model(name)
        preprocess_cfg = get_pretrained_cfg(name, tags[0]) if tags else {}
        kept = {key: preprocess_cfg[key] for key in ("mean", "std", "interpolation", "resize_mode") if tags}
        key = json.dumps([shrink(open_clip.get_model_config(name)), kept], sort_keys=True)
        cases.setdefault(key, []).append(name)
    for key, names in cases.items():
        model_cfg, preprocess_cfg = json.loads(key)
        yield pytest.param(model_cfg, preprocess_cfg, id=f"{names[0]} and {len(names) - 1} more")


@pytest.mark.long
@pytest.mark.parametrize(("model_cfg", "preprocess_cfg"), list(kinds()))
def test_a_configuration_gives_the_vectors_of_open_clip(
    model_cfg: dict[str, Any], preprocess_cfg: dict[str, Any], tmp_path: Path
) -> None:
    check_against_open_clip(write_model(tmp_path, model_cfg, preprocess_cfg))

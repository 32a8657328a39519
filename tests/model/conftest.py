"""Fixtures of the tiny model, written once and loaded by the product's own code."""

from __future__ import annotations

from pathlib import Path

import pytest

from sidecar.model.open_clip_encoder import OpenClipEncoder
from tests.model.variants import load_on_cpu
from tests.tiny_models.open_clip_model import make_tiny_model


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the tiny model. Do not modify it; `variants.copy_model` makes a copy."""
    directory = tmp_path_factory.mktemp("tiny")
    make_tiny_model(directory)
    return directory


@pytest.fixture(scope="session")
def tiny_encoder(tiny_model: Path) -> OpenClipEncoder:
    return load_on_cpu(tiny_model)

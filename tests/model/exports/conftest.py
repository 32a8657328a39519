"""Exports of the tiny model, written once by the product's own code."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from sidecar.model.exports.exporting import ExportRequest, export_model
from sidecar.model.probes import draw_probe_views
from tests.model.variants import settings_for

TEXTS = [f"{colour} {thing}" for colour in ("red", "green", "blue") for thing in ("cat", "mug", "river", "beach")]


def draw_views(size: int) -> NDArray[np.uint8]:
    """Twelve different pictures."""
    first, second = draw_probe_views(size)
    turned = [np.rot90(picture, turns) for picture in (first, second) for turns in range(4)]
    return np.ascontiguousarray([*turned, 255 - first, 255 - second, first // 2, second // 2])


def make_request(directory: Path, **changes: object) -> ExportRequest:
    values = {"precision": "fp32", "texts": TEXTS, "draw_views": draw_views, "report": lambda _: None, **changes}
    return ExportRequest(directory=directory, **values)  # type: ignore[arg-type]


@pytest.fixture(scope="session")
def tiny_export(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An export in fp32. Do not modify it."""
    directory = tmp_path_factory.mktemp("exports") / "tiny"
    export_model(settings_for(tiny_model), make_request(directory))
    return directory

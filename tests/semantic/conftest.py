"""The demo's model and its vectors of the demo's rows, computed once: of all rows in `make faults`, else of every
fourth, which are easier to distinguish.
"""

from __future__ import annotations

import pytest

from sidecar.demo.emoji import Emoji, read_emoji
from tests.semantic.demo_model import DemoModel, Vectors, load_demo_encoder

ASKED_FOR = {"crying cat", "red heart", "pizza", "flag: Japan"}


@pytest.fixture(scope="session")
def model() -> DemoModel:
    return DemoModel(load_demo_encoder())


@pytest.fixture(scope="session", params=[pytest.param(1, marks=pytest.mark.long), 4], ids=["all", "every-4th"])
def rows(request: pytest.FixtureRequest) -> list[Emoji]:
    every = read_emoji()
    return [row for index, row in enumerate(every) if index % request.param == 0 or row.name in ASKED_FOR]


@pytest.fixture(scope="session")
def picture_vectors(model: DemoModel, rows: list[Emoji]) -> Vectors:
    """Vectors of the rows' pictures as one view each: six views would take six times as long."""
    return model.embed_pictures([row.picture for row in rows], enable_tta=False)


@pytest.fixture(scope="session")
def name_vectors(model: DemoModel, rows: list[Emoji]) -> Vectors:
    return model.embed_texts([row.name for row in rows])

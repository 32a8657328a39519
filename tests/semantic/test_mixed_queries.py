"""A picture and a text, added: "like this, but blue" finds the blue one, with the demo's model."""

from __future__ import annotations

import numpy as np
import pytest

from sidecar.demo.emoji import Emoji, read_emoji
from sidecar.http.search.query_vector import weighted_sum
from tests.semantic.demo_model import DemoModel, Vectors
from tests.semantic.ranking import ranks, recall

COLOURS = ("red", "orange", "yellow", "green", "blue", "purple", "brown", "black")


@pytest.fixture(scope="module")
def hearts(model: DemoModel) -> Vectors:
    """The pictures of a heart in each of COLOURS."""
    pictures = {each.name: each.picture for each in read_emoji()}
    return model.embed_pictures([pictures[f"{colour} heart"] for colour in COLOURS], enable_tta=False)


def found(hearts: Vectors, texts: Vectors, others: Vectors, weight: float) -> float:
    """How often the heart of the colour asked for is among the three nearest to another heart and the colour's name."""
    pairs = [(own, wanted) for own in range(len(COLOURS)) for wanted in range(len(COLOURS)) if own != wanted]
    best = []
    for own, wanted in pairs:
        query = weighted_sum([hearts[own], texts[wanted]], [1, weight])
        gallery = np.concatenate([hearts[[wanted]], np.delete(hearts, [own, wanted], axis=0), others])
        best += ranks(query[None], gallery, [[0]])
    return recall(best, at=3)


def test_a_text_turns_a_picture_towards_it(
    model: DemoModel, hearts: Vectors, picture_vectors: Vectors, rows: list[Emoji]
) -> None:
    texts = model.embed_texts(COLOURS)
    others = picture_vectors[["heart" not in row.name for row in rows]]
    alone, mixed = (found(hearts, texts, others, weight) for weight in (0, 1))
    assert alone < 0.6
    assert mixed > 0.85

"""When `sidecar search` says that nothing is near: for texts without meaning, not for what a newcomer asks for."""

from __future__ import annotations

import random
from collections.abc import Callable
from string import ascii_lowercase

from sidecar.cli.embedding_client import PairScale
from sidecar.cli.nearness import is_nothing_near, match_probability
from sidecar.demo.emoji import Emoji
from tests.semantic.demo_model import DemoModel, Vectors


def test_nothing_is_near_to_random_words_and_something_to_names(
    model: DemoModel,
    rows: list[Emoji],
    name_vectors: Vectors,
    picture_vectors: Vectors,
    record_property: Callable[[str, object], None],
) -> None:
    scale = model.encoder.pair_scale
    assert scale is not None

    def share(queries: Vectors) -> float:
        found = [
            is_nothing_near([match_probability(PairScale(scale.scale, scale.bias), 1 - float(cosine))])
            for cosine in (queries @ picture_vectors.T).max(axis=1)
        ]
        return sum(found) / len(found)

    words = random.Random(1)
    nonsense = [
        " ".join("".join(words.choices(ascii_lowercase, k=words.randint(4, 10))) for _ in range(2)) for _ in range(100)
    ]
    shares = (
        share(model.embed_texts(nonsense)),
        share(name_vectors[[index for index, row in enumerate(rows) if not row.held_out]]),
        share(model.embed_texts(["sad cat", "red heart", "slice of pizza", "flag of japan"])),
    )
    record_property("nothing near: random words, trained names, a newcomer's queries", shares)
    assert shares[0] >= 0.85
    assert shares[1] <= 0.01
    assert shares[2] == 0

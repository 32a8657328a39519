"""Random texts that are hard on a tokenizer: their ids are those of the whole text, whatever part is read.

`pytest tests/faults --chaos-epochs 300 --chaos-seed 7` runs longer.
"""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from tests.model.text.strange_texts import make_tokenizers
from tests.model.text.whole_texts import WholeTexts

EPOCHS = 20


@pytest.mark.long
def test_prefixes_of_strange_texts_give_the_ids_of_the_whole(request: pytest.FixtureRequest, tmp_path: Path) -> None:
    epochs = request.config.getoption("--chaos-epochs", None) or EPOCHS
    seed = request.config.getoption("--chaos-seed", None) or random.randrange(2**32)
    kinds = {name: WholeTexts(*arguments) for name, arguments in make_tokenizers(tmp_path).items()}
    for epoch in range(epochs):
        for name, texts in kinds.items():
            try:
                texts.check_many(random.Random(f"{name} {seed + epoch}"), 1)
            except AssertionError as error:
                error.add_note(f"--chaos-seed {seed + epoch}, {name}")
                raise

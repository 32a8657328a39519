"""The dataset: emoji and their pictures, stored in one file."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from training.corpus import DEBIAN_CLDR, Emoji, read_annotated
from training.rendering import DEBIAN_FONT, load_font, render_distinct

_SEPARATOR = "|"


@dataclass(frozen=True, slots=True)
class Dataset:
    """`pictures` is (n, height, width, 4) uint8 RGBA, one per emoji."""

    emoji: tuple[Emoji, ...]
    pictures: NDArray[np.uint8]

    def save(self, path: Path) -> None:
        np.savez_compressed(
            path,
            pictures=self.pictures,
            characters=np.array([emoji.characters for emoji in self.emoji]),
            names=np.array([emoji.name for emoji in self.emoji]),
            keywords=np.array([_SEPARATOR.join(emoji.keywords) for emoji in self.emoji]),
        )


def make_dataset(cldr: Path = DEBIAN_CLDR, font: Path = DEBIAN_FONT) -> Dataset:
    """Reads names and renders pictures, in some seconds. Raises CorpusError if something is not installed."""
    return Dataset(*render_distinct(read_annotated(cldr), load_font(font)))


def load_dataset(path: Path) -> Dataset:
    """The inverse of `Dataset.save`."""
    with np.load(path, allow_pickle=False) as arrays:
        emoji = tuple(
            Emoji(str(characters), str(name), tuple(filter(None, str(keywords).split(_SEPARATOR))))
            for characters, name, keywords in zip(
                arrays["characters"], arrays["names"], arrays["keywords"], strict=True
            )
        )
        return Dataset(emoji, np.asarray(arrays["pictures"], dtype=np.uint8))

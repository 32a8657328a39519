"""Writes captions from phrases: queries that someone might type to find an emoji."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from training.holdout import Holdout
from training.phrases import PARTLY, Phrases

MAX_PHRASES = 2
"""Most phrases of one caption."""

TEMPLATES = (
    "a photo of {}",
    "a picture of {}",
    "an image of {}",
    "a drawing of {}",
    "a photo of a {}",
    "a picture of a {}",
    "an icon of {}",
    "the {} emoji",
    "{} emoji",
    "emoji of {}",
    "{} icon",
    "{} symbol",
    "a {}",
    "the {}",
    "show me {}",
    "something like {}",
)
_TRIES = 20


@dataclass(frozen=True, slots=True)
class Caption:
    """`body` is the canonical text of its phrases, all of which must be true of an emoji."""

    text: str
    body: str
    phrases: tuple[int, ...]


class CaptionWriter:
    """Draws captions of emoji, reproducibly from a seed."""

    def __init__(self, phrases: Phrases, holdout: Holdout, seed: int) -> None:
        self._phrases = phrases
        self._forbidden = holdout.keywords
        self._random = np.random.default_rng(seed)
        # A phrase that is true of many emoji is drawn less often for each of them.
        self._rarity = 1.0 / np.sqrt(np.maximum((phrases.truth >= PARTLY).sum(axis=1), 1))

    def write(self, emoji: int, templated: bool) -> Caption:
        """One caption of one emoji, which never equals a held-out keyword."""
        for _ in range(_TRIES):
            phrases = self._draw_phrases(emoji)
            body = " ".join(self._phrases.texts[phrase] for phrase in phrases)
            if body not in self._forbidden:
                break
        else:
            phrases = self._phrases.names[emoji][:1]
            body = self._phrases.texts[phrases[0]]
        template = TEMPLATES[int(self._random.integers(len(TEMPLATES)))] if templated else "{}"
        return Caption(template.format(body), body, tuple(phrases))

    def _draw_phrases(self, emoji: int) -> tuple[int, ...]:
        """One or two phrases of an emoji, of random kinds: names, keywords or words of names."""
        names, keywords, words = (
            group[emoji] for group in (self._phrases.names, self._phrases.keywords, self._phrases.words)
        )
        # Names are the most common queries, so they are drawn most.
        kinds: list[tuple[float, Sequence[Sequence[int]]]] = [
            (0.36, [names]),
            (0.30, [keywords]),
            (0.08, [words]),
            (0.10, [keywords, keywords]),
            (0.06, [keywords, names]),
            (0.10, [keywords, words]),
        ]
        possible = [(weight, groups) for weight, groups in kinds if all(groups)]
        weights = np.array([weight for weight, _ in possible])
        groups = possible[int(self._random.choice(len(possible), p=weights / weights.sum()))][1]
        drawn = [self._draw_phrase(group) for group in groups]
        if len(drawn) > 1 and self._random.random() < 0.5:
            drawn.reverse()
        return tuple(dict.fromkeys(drawn))

    def _draw_phrase(self, phrases: Sequence[int]) -> int:
        weights = self._rarity[list(phrases)]
        return int(self._random.choice(phrases, p=weights / weights.sum()))


def write_captions(writer: CaptionWriter, emoji: Sequence[int], captions_per_emoji: int) -> list[list[Caption]]:
    """`captions_per_emoji` captions for each of the `emoji`; those in the second half have a template."""
    plain = captions_per_emoji // 2
    return [[writer.write(index, number >= plain) for number in range(captions_per_emoji)] for index in emoji]

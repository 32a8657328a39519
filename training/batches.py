"""Draws the pictures and captions of one training step, on the device and from a seed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from training.backgrounds import draw_backgrounds
from training.caption_bank import CaptionBank
from training.captions import MAX_PHRASES
from training.compositing import Atlas
from training.corpus import Emoji
from training.degradation import degrade
from training.layout import MAX_OBJECTS, LayoutSampler

# Words of emoji whose mirror image means something else or nothing: letters, flags, arrows, clocks.
_ONE_WAY_WORDS = frozenset(
    {
        "flag",
        "button",
        "arrow",
        "arrows",
        "left",
        "right",
        "clock",
        "oclock",
        "thirty",
        "keycap",
        "letter",
        "letters",
        "input",
        "symbol",
        "sign",
        "mark",
        "japanese",
        "number",
        "up",
        "down",
        "rightwards",
        "leftwards",
        "moon",
        "clef",
        "note",
        "notes",
        "calendar",
        "book",
        "newspaper",
        "page",
        "chart",
        "mahjong",
        "cards",
        "fraktur",
        "copyright",
        "registered",
        "abc",
        "quarter",
        "hundred",
        "roman",
        "parenthesis",
        "bracket",
        "question",
        "exclamation",
    }
)


@dataclass(frozen=True, slots=True)
class Batch:
    """`pixels` (n, 3, side, side) float -1 … 1; `tokens` (2 n, context_length) int64; `truth` (2 n, n) uint8."""

    pixels: torch.Tensor
    tokens: torch.Tensor
    truth: torch.Tensor


def find_flippable(corpus: Sequence[Emoji]) -> torch.Tensor:
    """(emoji,) bool: which keep their meaning when mirrored."""
    return torch.tensor([_ONE_WAY_WORDS.isdisjoint(emoji.words) for emoji in corpus])


class BatchSampler:
    """Draws batches, reproducibly for a seed and a device."""

    def __init__(self, atlas: Atlas, bank: CaptionBank, truth: torch.Tensor, flippable: torch.Tensor) -> None:
        self._atlas, self._bank, self._truth, self._flippable = atlas, bank, truth, flippable

    def draw(self, trained: torch.Tensor, count: int, side: int, generator: torch.Generator) -> Batch:
        """`count` pictures of `trained` emoji, `side` pixels square, and two captions of each."""
        emoji = _shuffle(trained, count * MAX_OBJECTS, generator).view(MAX_OBJECTS, count).T.contiguous()
        layout = LayoutSampler(generator).draw(emoji, self._flippable)
        pixels = self._atlas.paste(draw_backgrounds(count, side, generator), layout)
        pixels = degrade(pixels, generator)
        captions = self._bank.draw(*_choose_objects(layout.emoji, generator), generator)
        return Batch(pixels * 2.0 - 1.0, captions.tokens, rate_captions(captions.phrases, layout.emoji, self._truth))


def _shuffle(trained: torch.Tensor, count: int, generator: torch.Generator) -> torch.Tensor:
    """`count` of the emoji, each about equally often, and repetitions of one never close together."""
    rounds = -(-count // len(trained))
    orders = [torch.randperm(len(trained), generator=generator, device=trained.device) for _ in range(rounds)]
    return trained[torch.cat(orders)[:count]]


def _choose_objects(shown: torch.Tensor, generator: torch.Generator) -> tuple[torch.Tensor, torch.Tensor]:
    """The objects that the captions describe: for each picture one alone, and the same one with another, if any."""
    order = torch.rand(shown.shape, generator=generator, device=shown.device) - 2.0 * (shown >= 0)
    ranked = shown.gather(1, order.argsort(dim=1))
    first, second = ranked[:, 0], ranked[:, 1]
    return torch.cat([first, first]), torch.cat([torch.full_like(second, -1), second])


def rate_captions(phrases: torch.Tensor, shown: torch.Tensor, truth: torch.Tensor) -> torch.Tensor:
    """How true each caption is of each picture, (captions, pictures) uint8.

    A part of a caption is as true of an emoji as the less true of its two phrases, and as true of a picture as of the
    best matching emoji on it. A caption is as true as the least true of its parts.

    `phrases` is (captions, 2 x parts) int64; `shown` (pictures, objects) int64, emoji, or the last column of `truth`
    for none; `truth` (phrases, emoji + 1) uint8.
    """
    parts = truth[phrases.view(len(phrases), -1, MAX_PHRASES)].amin(dim=2)  # (captions, parts, emoji + 1)
    of_objects = parts[:, :, shown.flatten()].view(*parts.shape[:2], *shown.shape)
    return of_objects.amax(dim=3).amin(dim=1)

"""Captions of all emoji, tokenised in advance, from which each step draws on the device."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import torch

from training.captions import MAX_PHRASES, Caption
from training.tokenizer import END_ID


class Tokenize(Protocol):
    """Texts → (n, context_length) int64, terminated and padded with END_ID."""

    def __call__(self, texts: list[str]) -> torch.Tensor: ...


@dataclass(frozen=True, slots=True)
class CaptionBatch:
    """`tokens` is (n, context_length) int64; `phrases` is (n, 4) int64: two phrases about each of two emoji."""

    tokens: torch.Tensor
    phrases: torch.Tensor


class CaptionBank:
    """Tokenised captions of all trained emoji. The first half of each emoji's captions have no template."""

    def __init__(self, captions: dict[int, Sequence[Caption]], emoji_count: int, tokenize: Tokenize) -> None:
        per_emoji = len(next(iter(captions.values())))
        flat = [caption for row in captions.values() for caption in row]
        rows = torch.tensor(list(captions))
        ids = tokenize([caption.text for caption in flat])
        self._context_length = ids.shape[1]
        self._per_emoji = per_emoji
        self._tokens = torch.full((emoji_count, per_emoji, ids.shape[1]), END_ID, dtype=torch.int64)
        self._tokens[rows] = ids.view(len(rows), per_emoji, -1)
        self._lengths = (self._tokens != END_ID).sum(dim=-1)
        phrases = [(*caption.phrases, *[0] * (MAX_PHRASES - len(caption.phrases))) for caption in flat]
        self._phrases = torch.zeros((emoji_count, per_emoji, MAX_PHRASES), dtype=torch.int64)
        self._phrases[rows] = torch.tensor(phrases).view(len(rows), per_emoji, MAX_PHRASES)
        self._and_token = tokenize(["and"])[0, :1]

    def to(self, device: torch.device) -> CaptionBank:
        """Moves everything; returns itself."""
        for name in ("_tokens", "_lengths", "_phrases", "_and_token"):
            setattr(self, name, getattr(self, name).to(device))
        return self

    def draw(self, first: torch.Tensor, second: torch.Tensor, generator: torch.Generator) -> CaptionBatch:
        """A caption for each emoji in `first` (n,), joined with one for that in `second` (n,) unless it is -1."""
        which = torch.randint(self._per_emoji, first.shape, generator=generator, device=first.device)
        plain = torch.randint(self._per_emoji // 2, first.shape, generator=generator, device=first.device)
        has_and = torch.rand(first.shape, generator=generator, device=first.device) < 0.7
        joined = second >= 0
        other = second.clamp(min=0)
        other_lengths = torch.where(joined, self._lengths[other, plain], 0)
        tokens = self._join(
            (self._tokens[first, which], self._lengths[first, which]),
            (joined & has_and).long(),
            (self._tokens[other, plain], other_lengths),
        )
        other_phrases = torch.where(joined[:, None], self._phrases[other, plain], 0)
        return CaptionBatch(tokens, torch.cat([self._phrases[first, which], other_phrases], dim=1))

    def _join(
        self,
        first: tuple[torch.Tensor, torch.Tensor],
        and_lengths: torch.Tensor,
        second: tuple[torch.Tensor, torch.Tensor],
    ) -> torch.Tensor:
        """Concatenates token rows: first caption, `and`, second caption, padding. Lengths may be 0."""
        place = torch.arange(self._context_length, device=and_lengths.device)[None]
        and_starts = first[1][:, None]
        second_starts = and_starts + and_lengths[:, None]
        end = second_starts + second[1][:, None]
        in_second = (place - second_starts).clamp(min=0).expand(len(and_lengths), -1)
        tokens = torch.where(place < second_starts, self._and_token, second[0].gather(1, in_second))
        tokens = torch.where(place < and_starts, first[0], tokens)
        # The last position always ends the text, even a truncated one.
        return torch.where((place < end) & (place < self._context_length - 1), tokens, END_ID)

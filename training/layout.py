"""Random layouts: which emoji are where on each picture of a batch."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch

MAX_OBJECTS = 4
_SINGLES_SHARE = 0.62
_MIN_VISIBLE_SHARE = 0.5
_MAX_ANGLE = math.radians(15)


@dataclass(frozen=True, slots=True)
class Layout:
    """Positions of the objects on each picture. The first `singles` pictures show one object.

    All tensors are (pictures, objects); `centre` and `extent` have a further dimension of 2 (x, y) in fractions of the
    frame. They are float, except `emoji` (int64, -1 for none) and `flipped` (bool).
    """

    emoji: torch.Tensor
    centre: torch.Tensor
    extent: torch.Tensor
    angle: torch.Tensor
    flipped: torch.Tensor
    singles: int


class LayoutSampler:
    """Draws layouts on the device of `generator`."""

    def __init__(self, generator: torch.Generator) -> None:
        self._generator = generator

    def draw(self, emoji: torch.Tensor, flippable: torch.Tensor) -> Layout:
        """`emoji` is (n, 4) int64, the candidates; `flippable` is (all emoji,) bool: which may be mirrored."""
        count = len(emoji)
        singles = round(_SINGLES_SHARE * count)
        centre, extent, shown = self._lay_out(singles, count - singles)
        visible = shown & (_visible_share(centre, extent) >= _MIN_VISIBLE_SHARE)
        visible[:, 0] = True
        angle = self._between(emoji.shape, -_MAX_ANGLE, _MAX_ANGLE) * self._chance(emoji.shape, 0.5)
        flipped = flippable[emoji] & self._chance(emoji.shape, 0.5)
        return Layout(torch.where(visible, emoji, -1), centre, extent, angle, flipped, singles)

    def _lay_out(self, singles: int, several: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Centres, extents and visibility of all objects: single ones first, then rows and scattered objects."""
        ones = self._draw_singles(singles)
        rows, scattered = self._draw_rows(several), self._draw_scattered(several)
        in_row = self._chance((several, 1), 0.5)
        centre = torch.where(in_row[..., None], rows[0], scattered[0])
        extent = torch.where(in_row[..., None], rows[1], scattered[1])
        number = torch.where(in_row, rows[2], scattered[2])
        centre, extent = self._zoom_in(centre, extent)
        objects = torch.arange(MAX_OBJECTS, device=number.device)
        shown = torch.cat([(objects < 1).expand(singles, -1), objects < number])
        return torch.cat([ones[0], centre]), torch.cat([ones[1], extent]), shown

    def _draw_singles(self, count: int) -> tuple[torch.Tensor, torch.Tensor]:
        """One object per picture: half fill the frame or more, as in crops; others are smaller; a few are small."""
        kind = self._rand((count, 1))
        lowest = torch.where(kind < 0.56, 0.75, torch.where(kind < 0.86, 0.35, 0.18))
        highest = torch.where(kind < 0.56, 1.65, torch.where(kind < 0.86, 0.80, 0.38))
        size = lowest * (highest / lowest) ** self._rand((count, 1))
        squash = torch.exp(self._between((count, 1), -0.9, 0.9) * self._chance((count, 1), 0.35))
        extent = size * torch.cat([squash.clamp(max=1.0), (1.0 / squash).clamp(max=1.0)], dim=1)
        room = torch.where(extent > 1.0, (extent - 1.0) / 2 + 0.08, (1.0 - extent) / 2 + 0.1 * extent)
        centre = 0.5 + room * self._between((count, 2), -1.0, 1.0) * ~self._chance((count, 1), 0.2)
        return _for_all_objects(centre), _for_all_objects(extent)

    def _draw_rows(self, count: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Objects in a row or a column, squashed as in a squashed panorama, or less."""
        number = self._integers((count, 1), 2, MAX_OBJECTS)
        along = self._between((count, 1), 0.75, 1.05) / number
        stretch = self._between((count, 1), 1.0, 1.3) * (1 + (number - 1) * self._rand((count, 1)))
        across = (along * stretch).clamp(max=1.0)
        place = (torch.arange(MAX_OBJECTS, device=number.device) + 0.5) / number
        place = place + self._between(place.shape, -0.04, 0.04)
        aside = 0.5 + (1.0 - across) / 2 * self._between(place.shape, -1.0, 1.0)
        centre = torch.stack([place, aside], dim=-1)
        extent = torch.stack([along.expand_as(place), across.expand_as(place)], dim=-1)
        upright = self._chance((count, 1, 1), 0.25)
        return torch.where(upright, centre.flip(-1), centre), torch.where(upright, extent.flip(-1), extent), number

    def _draw_scattered(self, count: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Objects in quarters of the frame."""
        number = self._integers((count, 1), 2, MAX_OBJECTS)
        quarters = self._rand((count, MAX_OBJECTS)).argsort(dim=1)
        corner = torch.stack([quarters % 2, quarters // 2], dim=-1)
        centre = 0.27 + 0.46 * corner + self._between((count, MAX_OBJECTS, 2), -0.07, 0.07)
        extent = self._between((count, MAX_OBJECTS, 1), 0.25, 0.52).expand(-1, -1, 2)
        return centre, extent, number

    def _zoom_in(self, centre: torch.Tensor, extent: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Enlarges half of the layouts around or near the first object, as a crop does."""
        shape = (len(centre), 1, 1)
        factor = 1.0 + 1.2 * self._rand(shape) * self._chance(shape, 0.45)
        slack = 1.0 - 1.0 / factor
        wish = centre[:, :1] - self._between((len(centre), 1, 2), 0.3, 0.7) / factor
        corner = torch.minimum(wish.clamp(min=0.0), slack)
        return (centre - corner) * factor, extent * factor

    def _rand(self, shape: tuple[int, ...]) -> torch.Tensor:
        return torch.rand(shape, generator=self._generator, device=self._generator.device)

    def _between(self, shape: tuple[int, ...], low: float, high: float) -> torch.Tensor:
        return low + (high - low) * self._rand(shape)

    def _chance(self, shape: tuple[int, ...], probability: float) -> torch.Tensor:
        return self._rand(shape) < probability

    def _integers(self, shape: tuple[int, ...], low: int, high: int) -> torch.Tensor:
        return torch.randint(low, high + 1, shape, generator=self._generator, device=self._generator.device)


def _for_all_objects(of_first: torch.Tensor) -> torch.Tensor:
    return of_first[:, None].expand(-1, MAX_OBJECTS, -1)


def _visible_share(centre: torch.Tensor, extent: torch.Tensor) -> torch.Tensor:
    """The share of each object that is within the frame; of the frame, if the object is larger."""
    low, high = (centre - extent / 2).clamp(0, 1), (centre + extent / 2).clamp(0, 1)
    return (high - low).prod(dim=-1) / extent.prod(dim=-1).clamp(max=1.0)

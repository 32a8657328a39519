"""A measured number with its rounds, its baseline and its target."""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

import numpy as np

_COMPARE: Mapping[str, Callable[[float, float], bool]] = {">=": operator.ge, "<=": operator.le}


@dataclass(frozen=True, slots=True)
class Figure:
    """`value` is the median of `rounds`; without rounds, it was measured once, and is shown so.

    `target` is for example '>= 0.6'; None if the number is only reported. `interval`: a confidence interval, shown in
    place of the spread of the rounds. `is_baseline`: what the others of its part are compared with. `is_detail`: in
    figures.json, but neither on the page nor in its pictures.
    """

    name: str
    value: float
    unit: str
    target: str | None = None
    rounds: tuple[float, ...] = ()
    interval: tuple[float, float] | None = None
    is_baseline: bool = False
    is_detail: bool = False

    @property
    def met(self) -> bool | None:
        """None without a target. An interval meets a target that it reaches into."""
        if self.target is None:
            return None
        comparison, limit = self.target.split()
        value = self.value if self.interval is None else self.interval[comparison == ">="]
        return _COMPARE[comparison](value, float(limit.replace(",", "")))

    @property
    def spread(self) -> tuple[float, float] | None:
        """The interval, or the least and the greatest round; None if it was measured once."""
        if self.interval is not None or len(self.rounds) < 2:
            return self.interval
        return min(self.rounds), max(self.rounds)

    def as_json(self) -> dict[str, Any]:
        """Without what is at its default."""
        optional = {
            "rounds": [round(each, 4) for each in self.rounds],
            "interval": None if self.interval is None else [round(each, 4) for each in self.interval],
            "is_baseline": self.is_baseline,
            "is_detail": self.is_detail,
        }
        return {
            "name": self.name,
            "value": round(self.value, 4),
            "unit": self.unit,
            "target": self.target,
            "met": self.met,
            **{name: value for name, value in optional.items() if value},
        }

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Figure:
        interval = values.get("interval")
        return cls(
            values["name"],
            values["value"],
            values["unit"],
            values["target"],
            tuple(values.get("rounds", ())),
            None if interval is None else (interval[0], interval[1]),
            values.get("is_baseline", False),
            values.get("is_detail", False),
        )


def of_rounds(
    name: str, rounds: Iterable[float], unit: str, target: str | None = None, *, is_baseline: bool = False
) -> Figure:
    """The median of the rounds."""
    values = tuple(float(value) for value in rounds)
    return Figure(name, median(values), unit, target, values, is_baseline=is_baseline)


def ratio_of(name: str, ours: Sequence[float], baseline: Sequence[float], target: str | None = None) -> Figure:
    """The median over the rounds of ours / baseline within a round, so that a busy moment affects both."""
    return of_rounds(name, [one / other for one, other in zip(ours, baseline, strict=True)], "ratio", target)


def percentile(values: Iterable[float], part: float) -> float:
    """The value below which a `part` of the values lies; 0.5 is the median."""
    ordered = sorted(values)
    return ordered[int(len(ordered) * part)]


def in_chunks(values: Sequence[float], chunks: int) -> list[Sequence[float]]:
    """The values as consecutive rounds of nearly equal length."""
    return [list(map(float, chunk)) for chunk in np.array_split(np.array(values), chunks)]

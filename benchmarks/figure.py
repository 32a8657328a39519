"""A measured number and its target."""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

_COMPARE: Mapping[str, Callable[[float, float], bool]] = {">=": operator.ge, "<=": operator.le}


@dataclass(frozen=True, slots=True)
class Figure:
    """`target` is for example '>= 0.6'; None if the number is only reported."""

    name: str
    value: float
    unit: str
    target: str | None = None

    @property
    def met(self) -> bool | None:
        if self.target is None:
            return None
        comparison, limit = self.target.split()
        return _COMPARE[comparison](self.value, float(limit.replace(",", "")))

    def as_json(self) -> dict[str, Any]:
        return {**asdict(self), "value": round(self.value, 4), "met": self.met}


def percentile(values: Iterable[float], part: float) -> float:
    """The value below which a `part` of the values lies; 0.5 is the median."""
    ordered = sorted(values)
    return ordered[int(len(ordered) * part)]

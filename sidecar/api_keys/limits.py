"""How often a key may be used: a rate with a burst, and a quota per day."""

from __future__ import annotations

import re
from dataclasses import dataclass

_SECONDS = {"second": 1, "minute": 60, "hour": 3600}
_RATE = re.compile(r"(\d{1,9})\s*/\s*(second|minute|hour)")
_QUOTA = re.compile(r"(\d{1,12})\s*/\s*day")


@dataclass(frozen=True, slots=True)
class Rate:
    """`count` requests per `unit` (second, minute, hour), refilled evenly; at most `burst` at once."""

    count: int
    unit: str
    burst: int

    @property
    def per_second(self) -> float:
        return self.count / _SECONDS[self.unit]

    def __str__(self) -> str:
        at_once = "" if self.burst == self.count else f", {self.burst} at once"
        requests = "1 request" if self.count == 1 else f"{self.count} requests"
        return f"{requests} per {self.unit}{at_once}"


@dataclass(frozen=True, slots=True)
class Quota:
    """`per_day` requests from midnight to midnight, UTC."""

    per_day: int


def parse_rate(text: str, burst: int | None) -> Rate | None:
    """`10/second`, `600/minute` or `5000/hour`; None for anything else. Without a burst, the number is the burst."""
    found = _RATE.fullmatch(text.strip())
    if found is None or int(found[1]) < 1:
        return None
    return Rate(int(found[1]), found[2], burst or int(found[1]))


def parse_quota(text: str) -> Quota | None:
    """`5000/day`; None for anything else."""
    found = _QUOTA.fullmatch(text.strip())
    return Quota(int(found[1])) if found is not None and int(found[1]) > 0 else None

"""What each key has used of its rate and its quota. In memory: per process, and from its start."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from sidecar.api_keys.key import ApiKey
from sidecar.api_keys.limits import Quota, Rate

_DAY_S = 86_400


class Refusal(NamedTuple):
    """Why a key may not be used now: `rate_limited` or `quota_used_up`."""

    code: str
    message: str
    retry_after_s: float


@dataclass(slots=True)
class _Use:
    """`missing`: of the burst, at `at_s`, which is monotonic. `day`: whole days since 1970, UTC."""

    missing: float = 0.0
    at_s: float = 0.0
    day: int = 0
    requests_of_day: int = 0


class KeyUsage:
    """Counts the requests of keys with a rate or a quota. Counters are kept while a key's limits change."""

    def __init__(self) -> None:
        self._uses: dict[bytes, _Use] = {}

    def take(self, key: ApiKey, monotonic_s: float, utc_s: float) -> Refusal | None:
        """Counts a request, or says why it is refused; a refused one is not counted."""
        if key.rate is None and key.quota is None:
            return None
        use = self._uses.setdefault(key.digest, _Use(at_s=monotonic_s))
        _bring_up_to_date(use, key, monotonic_s, utc_s)
        refusal = _over_rate(use, key.rate) or _over_quota(use, key.quota, utc_s)
        if refusal is None:
            use.missing += key.rate is not None
            use.requests_of_day += 1
        return refusal


def _bring_up_to_date(use: _Use, key: ApiKey, monotonic_s: float, utc_s: float) -> None:
    if key.rate is not None:
        refilled = (monotonic_s - use.at_s) * key.rate.per_second
        use.missing = max(min(use.missing, key.rate.burst) - refilled, 0.0)
    use.at_s = monotonic_s
    day = int(utc_s // _DAY_S)
    # A clock that is set back by hours does not fill a quota again; by days: it was wrong before.
    if day > use.day or day < use.day - 1:
        use.day, use.requests_of_day = day, 0


def _over_rate(use: _Use, rate: Rate | None) -> Refusal | None:
    if rate is None or use.missing + 1 <= rate.burst:
        return None
    message = f"The key permits {rate}. Retry-After says when to try again."
    return Refusal("rate_limited", message, (use.missing + 1 - rate.burst) / rate.per_second)


def _over_quota(use: _Use, quota: Quota | None, utc_s: float) -> Refusal | None:
    if quota is None or use.requests_of_day < quota.per_day:
        return None
    message = f"The key's {quota.per_day} requests of today are used up. The next day begins at 00:00 UTC."
    return Refusal("quota_used_up", message, _DAY_S - utc_s % _DAY_S)

"""How long to wait before trying again."""

from __future__ import annotations

import random

FIRST_RETRY_S, LAST_RETRY_S = 2.0, 3600.0
# Between two tries to reach a database that is away, as it grows: rows wait no longer than that when it is back.
DATABASE_RETRY_S = (0.1, 3.0)


class Backoff:
    """Doubles from `first_s` to `last_s`, each delay with ± 25 % jitter, so that sidecars do not move in step."""

    def __init__(self, first_s: float, last_s: float) -> None:
        self._next_s = first_s
        self._last_s = last_s

    def next_s(self) -> float:
        delay_s, self._next_s = self._next_s, min(self._next_s * 2, self._last_s)
        return delay_s * random.uniform(0.75, 1.25)  # noqa: S311 - jitter


def retry_delay_s(attempts: int) -> float:
    """Before the next attempt at a row: 2, 8, 32, 128 s … up to an hour, ± 25 %."""
    return min(FIRST_RETRY_S * 4.0 ** (attempts - 1), LAST_RETRY_S) * random.uniform(0.75, 1.25)  # noqa: S311 - jitter

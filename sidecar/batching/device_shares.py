"""Who leads the next micro-batch: precedence, and the guaranteed parts of the device's time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from sidecar.batching.lane import Lane
from sidecar.batching.micro_batch import MicroBatch

_FORGETTING = 0.98  # the longest recent micro-batch counts half after about 35 others
_MAX_TOTAL = 0.9


class DeviceShares:
    """Counts in seconds on the device, since a micro-batch of texts may take 5 ms and one of pictures 50.

    While a lane waits behind one of higher precedence it earns its share of every second, and pays for its own time,
    also for what it had in micro-batches that others led. It is due while it has something to its credit. Credit and
    debt are bounded by the longest recent micro-batches: neither a quiet hour nor a busy one is remembered.

    For this, queries wait one micro-batch at a time: while one waits, others lead several in a row only as long as
    they have taken less time than all shares together are worth against the last micro-batch that queries led.
    """

    def __init__(self, shares: Mapping[Lane, float]) -> None:
        self._shares = shares
        self._credit_s = dict.fromkeys(shares, 0.0)
        total = min(sum(shares.values()), _MAX_TOTAL)
        self._worth = total / (1 - total)
        self._others_may_begin_s = 0.0  # … before queries come next
        self._longest_s = 0.0

    def leader(self, waiting: Sequence[Lane]) -> Lane:
        """`waiting`: one lane or more, in the order of precedence."""
        first = waiting[0]
        if first is Lane.QUERY and self._others_may_begin_s <= 0:
            return first
        due = [lane for lane in waiting if self._credit_s.get(lane, 0) > 0]
        return max(due, key=self._credit_s.__getitem__, default=first)

    def settle(self, batch: MicroBatch, duration_s: float) -> None:
        """Account for a micro-batch."""
        self._longest_s = max(duration_s, self._longest_s * _FORGETTING)
        if batch.leader is Lane.QUERY:
            self._others_may_begin_s = duration_s * self._worth
        else:
            self._others_may_begin_s -= duration_s
        first, *behind = batch.waiting_lanes
        if first in self._shares:  # it has the device anyway
            self._credit_s[first] = min(self._credit_s[first], 0)
        for lane in behind:
            used_s = duration_s * batch.units_of(lane) / len(batch)
            credit_s = self._credit_s[lane] + self._shares[lane] * duration_s - used_s
            self._credit_s[lane] = min(max(credit_s, -self._longest_s), 2 * self._longest_s)

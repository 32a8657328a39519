"""Who leads the next micro-batch: precedence, and the guaranteed parts of the device's time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from sidecar.batching.lane import Lane
from sidecar.batching.micro_batch import MicroBatch

_MAX_TOTAL = 0.9


class DeviceShares:
    """Counts in seconds on the device, since a micro-batch of texts may take 5 ms and one of pictures 50.

    While a lane waits it earns its share of every second, and pays for its own time, also for what it has in
    micro-batches that others lead. It is due while it has something to its credit, and then leads before long: so
    credit never grows beyond what two micro-batches take. Debt is at most one micro-batch of its own. Neither a quiet
    hour nor a busy one is remembered.

    For this, queries wait one micro-batch at a time: while one waits, others lead several in a row only as long as
    they have taken less time than all shares together are worth against the last micro-batch that queries led.
    """

    def __init__(self, shares: Mapping[Lane, float]) -> None:
        self._shares = shares
        self._credit_s = dict.fromkeys(shares, 0.0)
        total = min(sum(shares.values()), _MAX_TOTAL)
        self._worth = total / (1 - total)
        self._others_may_begin_s = 0.0  # … before queries come next

    def leader(self, waiting: Sequence[Lane]) -> Lane:
        """`waiting`: one lane or more, in the order of precedence."""
        first = waiting[0]
        if first is Lane.QUERY and self._others_may_begin_s <= 0:
            return first
        return next((lane for lane in waiting if self._credit_s.get(lane, 0) > 0), first)

    def settle(self, batch: MicroBatch, duration_s: float) -> None:
        """Account for a micro-batch."""
        if batch.leader is Lane.QUERY:
            self._others_may_begin_s = duration_s * self._worth
        else:
            self._others_may_begin_s -= duration_s
        for lane in batch.waiting_lanes:
            if lane in self._shares:
                used_s = duration_s * batch.units_of(lane) / len(batch)
                before_s = self._credit_s[lane]
                after_s = before_s + self._shares[lane] * duration_s - used_s
                self._credit_s[lane] = max(after_s, min(before_s, -used_s))

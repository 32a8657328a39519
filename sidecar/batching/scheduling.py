"""Who leads the next micro-batch: precedence, and the guaranteed parts of the device's time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from sidecar.batching.job import ROWS, Lane
from sidecar.batching.micro_batch import MicroBatch

_MAX_TOTAL = 0.9


class DeviceShares:
    """Counts in seconds on the device, since a micro-batch of texts may take 5 ms and one of pictures 50.

    While a lane waits it earns its share of every second, and pays for its own time, also for what it has in
    micro-batches that others lead. It is due while it has something to its credit, and then leads before long: so
    credit never grows beyond what two micro-batches take. Debt is at most one micro-batch of its own. Neither a quiet
    hour nor a busy one is remembered.

    INGEST and BACKFILL have one share together. In their time, INGEST goes first and BACKFILL in turn has a share,
    counted in the same way.

    For this, queries wait one micro-batch at a time: while one waits, others lead several in a row only as long as
    they have taken less time than all shares together are worth against the last micro-batch that queries led.
    """

    def __init__(self, shares: Mapping[Lane, float], backfill_share: float = 0.0) -> None:
        """`shares` of the device's time, BACKFILL's in INGEST's; `backfill_share` of what both have."""
        self._shares = shares
        self._backfill_share = backfill_share
        self._backfill_credit_s = 0.0
        self._credit_s = dict.fromkeys(shares, 0.0)
        total = min(sum(shares.values()), _MAX_TOTAL)
        self._worth = total / (1 - total)
        self._others_may_begin_s = 0.0  # … before queries come next

    def leader(self, waiting: Sequence[Lane]) -> Lane:
        """`waiting`: one lane or more, in the order of precedence."""
        first = waiting[0]
        if first is Lane.QUERY and self._others_may_begin_s <= 0:
            return first
        lane = next((lane for lane in waiting if self._credit_s.get(_sharing(lane), 0) > 0), first)
        return self._of_rows(waiting) if lane.is_of_rows else lane

    def _of_rows(self, waiting: Sequence[Lane]) -> Lane:
        if Lane.BACKFILL in waiting and (Lane.INGEST not in waiting or self._backfill_credit_s > 0):
            return Lane.BACKFILL
        return Lane.INGEST

    def settle(self, batch: MicroBatch, duration_s: float) -> None:
        """Account for a micro-batch."""
        if batch.leader is Lane.QUERY:
            self._others_may_begin_s = duration_s * self._worth
        else:
            self._others_may_begin_s -= duration_s
        used_s = {lane: duration_s * batch.units_of(lane) / len(batch) for lane in Lane}
        rows_s = sum(used_s[lane] for lane in ROWS)
        if Lane.BACKFILL in batch.waiting_lanes:
            earned_s = self._backfill_share * rows_s
            self._backfill_credit_s = _settled(self._backfill_credit_s, earned_s, used_s[Lane.BACKFILL])
        used_s[Lane.INGEST] = rows_s
        for lane in {_sharing(lane) for lane in batch.waiting_lanes} & self._shares.keys():
            earned_s = self._shares[lane] * duration_s
            self._credit_s[lane] = _settled(self._credit_s[lane], earned_s, used_s[lane])


def _sharing(lane: Lane) -> Lane:
    """In whose share of the device's time a lane has its part."""
    return Lane.INGEST if lane is Lane.BACKFILL else lane


def _settled(credit_s: float, earned_s: float, used_s: float) -> float:
    return max(credit_s + earned_s - used_s, min(credit_s, -used_s))

"""Which lane leads the next micro-batch: precedence, and guaranteed shares of the devices' time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from sidecar.batching.inputs import Kind
from sidecar.batching.job import ROWS, Lane
from sidecar.batching.micro_batch import MicroBatch

_MAX_TOTAL = 0.9
_NEWEST_SHARE = 0.3  # of the latest duration in the one that is expected


class LaneScheduler:
    """Accounts in seconds of device time, since a micro-batch of texts may take 5 ms and one of pictures 50.

    While a lane waits it earns its share of every second, and pays for its own time, including its items in
    micro-batches that other lanes lead. A lane with credit is due, and soon leads: so credit never exceeds what two
    micro-batches take, and debt never one of the lane's own. A long quiet or busy time is not remembered.

    INGEST and BACKFILL have one share together. In their time INGEST goes first, and BACKFILL has a share of it,
    accounted for in the same way.

    Queries wait for one micro-batch of other lanes at a time. While a query waits, others lead several in a row only as
    long as these have taken less time than all shares together are worth against the last one that queries led.

    With several devices the seconds are those of all of them, and each bound holds once per device. Micro-batches that
    run are taken into account at the time that such ones usually take: otherwise a lane that is due would lead on all
    devices that come free before the first of its micro-batches is paid for.
    """

    def __init__(self, shares: Mapping[Lane, float], backfill_share: float = 0.0, devices: int = 1) -> None:
        """`shares` are fractions of the devices' time, BACKFILL's part of INGEST's; `backfill_share` one of theirs."""
        self._accounts = _Accounts(shares, backfill_share, devices)
        self._running: list[MicroBatch] = []
        self._usual_s: dict[tuple[Lane, Kind], float] = {}  # by leading lane

    def choose(self, waiting: Sequence[Lane]) -> Lane:
        """The lane to lead. `waiting`: one lane or more, in order of precedence."""
        accounts = self._accounts
        if self._running:
            accounts = accounts.copy()
            for batch in self._running:
                accounts.charge(batch, self._usual_s.get((batch.leader, batch.kind), 0.0))
        return accounts.choose(waiting)

    def begin(self, batch: MicroBatch) -> None:
        """Takes account of a micro-batch that runs from now on."""
        self._running.append(batch)

    def charge(self, batch: MicroBatch, duration_s: float) -> None:
        """Accounts for the device time of a finished micro-batch."""
        self._running = [running for running in self._running if running is not batch]
        self._accounts.charge(batch, duration_s)
        key = batch.leader, batch.kind
        usual_s = self._usual_s.get(key, duration_s)
        self._usual_s[key] = usual_s + _NEWEST_SHARE * (duration_s - usual_s)


class _Accounts:
    """Credits and debts of the lanes."""

    def __init__(self, shares: Mapping[Lane, float], backfill_share: float, devices: int) -> None:
        self._shares = shares
        self._backfill_share = backfill_share
        self._devices = devices
        self.backfill_credit_s = 0.0
        self.credit_s = dict.fromkeys(shares, 0.0)
        total = min(sum(shares.values()), _MAX_TOTAL)
        self._worth = total / (1 - total)  # seconds of other lanes for each second of queries
        self._others_may_begin_s = 0.0  # device time in which other lanes may lead before queries do

    def copy(self) -> _Accounts:
        copy = _Accounts(self._shares, self._backfill_share, self._devices)
        copy.backfill_credit_s, copy.credit_s = self.backfill_credit_s, dict(self.credit_s)
        copy._others_may_begin_s = self._others_may_begin_s
        return copy

    def choose(self, waiting: Sequence[Lane]) -> Lane:
        first = waiting[0]
        if first is Lane.QUERY and self._others_may_begin_s <= 0:
            return first
        lane = next((lane for lane in waiting if self.credit_s.get(_account_of(lane), 0) > 0), first)
        return self._choose_row_lane(waiting) if lane.is_of_rows else lane

    def charge(self, batch: MicroBatch, duration_s: float) -> None:
        if batch.leader is Lane.QUERY:
            self._others_may_begin_s = duration_s * self._worth
        else:
            self._others_may_begin_s -= duration_s
        used_s = {lane: duration_s * batch.items_of(lane) / len(batch) for lane in Lane}
        rows_s = sum(used_s[lane] for lane in ROWS)
        if Lane.BACKFILL in batch.waiting_lanes:
            earned_s = self._backfill_share * rows_s
            self.backfill_credit_s = self._balance(self.backfill_credit_s, earned_s, used_s[Lane.BACKFILL])
        used_s[Lane.INGEST] = rows_s
        for lane in {_account_of(lane) for lane in batch.waiting_lanes} & self._shares.keys():
            earned_s = self._shares[lane] * duration_s
            self.credit_s[lane] = self._balance(self.credit_s[lane], earned_s, used_s[lane])

    def _choose_row_lane(self, waiting: Sequence[Lane]) -> Lane:
        if Lane.BACKFILL in waiting and (Lane.INGEST not in waiting or self.backfill_credit_s > 0):
            return Lane.BACKFILL
        return Lane.INGEST

    def _balance(self, credit_s: float, earned_s: float, used_s: float) -> float:
        return max(credit_s + earned_s - used_s, min(credit_s, -used_s * self._devices))


def _account_of(lane: Lane) -> Lane:
    """The lane in whose share of the devices' time this one is counted."""
    return Lane.INGEST if lane is Lane.BACKFILL else lane

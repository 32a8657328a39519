"""Which lane leads the next micro-batch: precedence, and guaranteed shares of the devices' time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

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

    With several devices the seconds are those of all of them, and each bound holds once per device; "in a row" is the
    order in which micro-batches begin. Those that run count already, with the time that such ones usually take:
    otherwise a lane that is due would lead on all devices that come free before its first micro-batch is paid for.
    """

    def __init__(self, shares: Mapping[Lane, float], backfill_share: float = 0.0, devices: int = 1) -> None:
        """`shares` are fractions of the devices' time, BACKFILL's part of INGEST's; `backfill_share` one of theirs."""
        self._shares = shares
        self._backfill_share = backfill_share
        self._devices = devices
        self._credit_s = {**dict.fromkeys(shares, 0.0), Lane.BACKFILL: 0.0}  # BACKFILL's within that of INGEST
        self._pending_s = dict.fromkeys(self._credit_s, 0.0)  # what micro-batches that run will add to it
        total = min(sum(shares.values()), _MAX_TOTAL)
        self._worth = total / (1 - total)  # seconds of other lanes for each second of queries
        self._others_may_begin_s = 0.0  # device time in which other lanes may lead before queries do
        self._led_by_queries = 0
        self._running: list[_Running] = []
        self._usual_s: dict[tuple[Lane, Kind], float] = {}  # by leading lane

    def choose(self, waiting: Sequence[Lane]) -> Lane:
        """The lane to lead. `waiting`: one lane or more, in order of precedence."""
        first = waiting[0]
        if first is Lane.QUERY and self._others_may_begin_s <= 0:
            return first
        lane = next((lane for lane in waiting if self._is_due(_account_of(lane))), first)
        return self._choose_row_lane(waiting) if lane.is_of_rows else lane

    def begin(self, batch: MicroBatch) -> None:
        """Takes account of a micro-batch that runs from now on."""
        expected_s = self._usual_s.get((batch.leader, batch.kind), 0.0)
        self._lead(batch, expected_s)
        changes_s = {lane: earned_s - used_s for lane, (earned_s, used_s) in self._changes(batch, expected_s).items()}
        for lane, change_s in changes_s.items():
            self._pending_s[lane] += change_s
        self._running.append(_Running(batch, expected_s, self._led_by_queries, changes_s))

    def charge(self, batch: MicroBatch, duration_s: float) -> None:
        """Accounts for the device time of a finished micro-batch."""
        running = next((running for running in self._running if running.batch is batch), None)
        if running is None:
            self._lead(batch, duration_s)
        else:
            self._end(running, duration_s)
        for lane, (earned_s, used_s) in self._changes(batch, duration_s).items():
            credit_s = self._credit_s[lane]
            # Time may be used before what earns it has ended on another device: that is no debt to be forgotten.
            most_debt_s = used_s * self._devices + max(self._pending_s[lane], 0.0)
            self._credit_s[lane] = max(credit_s + earned_s - used_s, min(credit_s, -most_debt_s))
        key = batch.leader, batch.kind
        usual_s = self._usual_s.get(key, duration_s)
        self._usual_s[key] = usual_s + _NEWEST_SHARE * (duration_s - usual_s)

    def _is_due(self, account: Lane) -> bool:
        return self._credit_s.get(account, 0.0) + self._pending_s.get(account, 0.0) > 0

    def _choose_row_lane(self, waiting: Sequence[Lane]) -> Lane:
        if Lane.BACKFILL in waiting and (Lane.INGEST not in waiting or self._is_due(Lane.BACKFILL)):
            return Lane.BACKFILL
        return Lane.INGEST

    def _lead(self, batch: MicroBatch, duration_s: float) -> None:
        if batch.leader is Lane.QUERY:
            self._led_by_queries += 1
            self._others_may_begin_s = duration_s * self._worth
        else:
            self._others_may_begin_s -= duration_s

    def _end(self, running: _Running, duration_s: float) -> None:
        """Puts the duration in place of the expected one."""
        self._running.remove(running)
        for lane, change_s in running.changes_s.items():
            self._pending_s[lane] = self._pending_s[lane] - change_s if self._running else 0.0
        if running.led_by_queries == self._led_by_queries:
            is_query = running.batch.leader is Lane.QUERY
            self._others_may_begin_s += (duration_s - running.expected_s) * (self._worth if is_query else -1)

    def _changes(self, batch: MicroBatch, duration_s: float) -> dict[Lane, tuple[float, float]]:
        """By account, what a micro-batch earns it and what it uses. Lanes that did not wait neither earn nor pay."""
        used_s = {lane: duration_s * batch.items_of(lane) / len(batch) for lane in Lane}
        rows_s = sum(used_s[lane] for lane in ROWS)
        waiting = batch.waiting_lanes
        accounts = {_account_of(lane) for lane in waiting} & self._shares.keys()
        changes = {
            lane: (self._shares[lane] * duration_s, rows_s if lane is Lane.INGEST else used_s[lane])
            for lane in accounts
        }
        if Lane.BACKFILL in waiting:
            changes[Lane.BACKFILL] = self._backfill_share * rows_s, used_s[Lane.BACKFILL]
        return changes


@dataclass(frozen=True, slots=True, eq=False)
class _Running:
    """A micro-batch that runs, and what was assumed of it. `led_by_queries`: how many such ones had begun with it."""

    batch: MicroBatch
    expected_s: float
    led_by_queries: int
    changes_s: Mapping[Lane, float]


def _account_of(lane: Lane) -> Lane:
    """The lane in whose share of the devices' time this one is counted."""
    return Lane.INGEST if lane is Lane.BACKFILL else lane

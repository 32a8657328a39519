"""What the device gets at once: units of one group, of one or more jobs."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from sidecar.batching.encoder import Encoder
from sidecar.batching.inputs import Kind, Unit, Work
from sidecar.batching.job import Job, Lane
from sidecar.errors import DeviceError, DeviceOutOfMemory

Rows: TypeAlias = NDArray[np.float32]

NOT_FINITE = "all that it computes is not finite, or zero"


@dataclass(frozen=True, slots=True)
class Part:
    """The units `start` to `stop` of a job."""

    job: Job
    start: int
    stop: int

    def __len__(self) -> int:
        return self.stop - self.start

    @property
    def ends_job(self) -> bool:
        return self.stop == len(self.job.work)


Outcome: TypeAlias = tuple[Part, Rows | DeviceError]


@dataclass(frozen=True, slots=True)
class EncodedBatch:
    """What became of a micro-batch: an outcome for each part, its rows or what went wrong.

    `units`: the different ones. Of them `without_result` have a row of NaN: what the model made of them is not finite,
    or a vector without a direction. `fault`: what left no unit with a result; None: some have one.
    """

    outcomes: Sequence[Outcome]
    units: int
    without_result: int = 0
    fault: DeviceError | None = None


@dataclass(frozen=True, slots=True)
class MicroBatch:
    """`parts` are all of one group, each of another job; at least one, none of them empty.

    `waited`: who had work waiting just before it was taken; `leader` chose the group.
    """

    parts: Sequence[Part]
    leader: Lane
    waited: frozenset[tuple[Lane, Kind]]

    @property
    def kind(self) -> Kind:
        return self.parts[0].job.kind

    def __len__(self) -> int:
        return sum(map(len, self.parts))

    def units_of(self, lane: Lane) -> int:
        return sum(len(part) for part in self.parts if part.job.lane is lane)

    @property
    def waiting_lanes(self) -> list[Lane]:
        """Who waited, in the order of precedence."""
        lanes = {lane for lane, _ in self.waited}
        return [lane for lane in Lane if lane in lanes]

    def encode(self, encoder: Encoder, tries: Tries) -> EncodedBatch:
        """Units that are the same are encoded once. Blocks.

        What does not fit into the device's memory is halved and tried again, down to one unit; `tries` hears of each. A
        device error fails every job, since the unit that caused it is unknown. A unit without a
        result costs no other unit its own: its row is NaN.
        """
        units, places = self._different_units()
        try:
            results = _encode_units(units, encoder, tries)
        except DeviceError as error:
            return EncodedBatch([(part, _own(error)) for part in self.parts], len(units), fault=error)
        without_result = _mark_without_result(units[0][0], results)
        ends = np.cumsum([len(part) for part in self.parts])
        outcomes: list[Outcome] = []
        for part, indices in zip(self.parts, np.split(places, ends[:-1]), strict=True):
            too_large = next((results.faults[index] for index in indices if index in results.faults), None)
            outcomes.append((part, _own(too_large) if too_large else results.rows[indices]))
        worked = len(results.faults) + without_result < len(units)
        fault = None if worked else next(iter(results.faults.values()), DeviceError(NOT_FINITE))
        return EncodedBatch(outcomes, len(units), without_result, fault)

    def _different_units(self) -> tuple[list[Unit], NDArray[np.intp]]:
        """Those to be encoded, and for each unit of the parts its place among them."""
        units: list[Unit] = []
        known: dict[Hashable, int] = {}
        places: list[int] = []
        for part in self.parts:
            work = part.job.work
            for index in range(part.start, part.stop):
                place = known.setdefault(work.key(index), len(units))
                if place == len(units):
                    units.append((work, index))
                places.append(place)
        return units, np.array(places, np.intp)


@dataclass(frozen=True, slots=True)
class _Results:
    """`rows` has one for each unit; `faults` are by the unit's index: its row means nothing."""

    rows: Rows
    faults: dict[int, DeviceOutOfMemory]


def _encode_units(units: Sequence[Unit], encoder: Encoder, tries: Tries) -> _Results:
    work = units[0][0]
    shape = (len(units), *work.row_shape(encoder))
    weight = sum(of.weight(index) for of, index in units)
    try:
        rows = work.encode(encoder, units)
    except DeviceOutOfMemory as error:
        tries.failed.append(weight)
        if len(units) == 1:
            return _Results(np.zeros(shape, np.float32), {0: error})
    else:
        if rows.shape != shape:
            raise RuntimeError(f"The model answered {rows.shape} where {shape} was due. This is a bug.")
        tries.fitted.append(weight)
        return _Results(np.array(rows, np.float32), {})
    middle = len(units) // 2
    left = _encode_units(units[:middle], encoder, tries)
    right = _encode_units(units[middle:], encoder, tries)
    later = {middle + index: error for index, error in right.faults.items()}
    return _Results(np.concatenate([left.rows, right.rows]), left.faults | later)


def _own(error: DeviceError) -> DeviceError:
    """A copy for one waiter: an exception raised in several tasks would collect all their tracebacks."""
    copy = type(error)(str(error))
    copy.__cause__ = error
    return copy


def _mark_without_result(work: Work, results: _Results) -> int:
    """Makes NaN of what is none; returns of how many."""
    without = work.without_result(results.rows)
    without[list(results.faults)] = False
    results.rows[without] = np.nan
    return int(without.sum())


FIRST_PAUSE_S = 15.0
LONGEST_PAUSE_S = 3600.0


@dataclass(frozen=True, slots=True)
class Tries:
    """What was sent to the device at once, by weight: what it had room for, and what it had not."""

    fitted: list[int] = field(default_factory=list)
    failed: list[int] = field(default_factory=list)


class SizeLimits:
    """By kind, as weight. Times are those of time.monotonic(). Not thread-safe; the device thread's.

    The largest part of a micro-batch that did fit, when the whole did not, is the limit; if none did, whatever is less
    than the least of them. After a pause twice as much is
    tried, since the memory may have been somebody else's for a while; each such try that fails doubles the pause, one
    that fits makes it short again.
    """

    def __init__(self, max_weight: int) -> None:
        self._max_weight = max_weight
        self._limits = dict.fromkeys(Kind, max_weight)
        self._pause_s = dict.fromkeys(Kind, FIRST_PAUSE_S)
        self._try_larger_at = dict.fromkeys(Kind, 0.0)

    def limit(self, kind: Kind, now: float) -> int:
        """The most that the next micro-batch may weigh."""
        limit = self._limits[kind]
        return min(limit * 2, self._max_weight) if now >= self._try_larger_at[kind] else limit

    def learn(self, kind: Kind, tries: Tries, now: float) -> None:
        """From a micro-batch and the parts that it was tried in."""
        limit = self._limits[kind]
        if tries.failed:
            largest = max(tries.fitted, default=max(min(tries.failed) - 1, 1))
            if min(tries.failed) <= limit:
                self._limits[kind] = min(largest, limit)
            else:
                self._pause_s[kind] = min(self._pause_s[kind] * 2, LONGEST_PAUSE_S)
            self._try_larger_at[kind] = now + self._pause_s[kind]
        elif (largest := max(tries.fitted, default=0)) > limit:
            self._limits[kind] = largest
            self._pause_s[kind] = FIRST_PAUSE_S
            self._try_larger_at[kind] = now + FIRST_PAUSE_S

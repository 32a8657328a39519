"""A micro-batch: what the device computes in one go, and how large it may be."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from sidecar.batching.encoder import Encoder
from sidecar.batching.inputs import Inputs, Item, Kind
from sidecar.batching.job import JobSlice, Lane
from sidecar.errors import DeviceError, DeviceOutOfMemory

Rows: TypeAlias = NDArray[np.float32]
SliceResult: TypeAlias = tuple[JobSlice, Rows | DeviceError]

NOT_FINITE = "everything it computes is zero or not finite"
FIRST_PAUSE_S = 15.0
LONGEST_PAUSE_S = 3600.0


@dataclass(frozen=True, slots=True)
class MicroBatch:
    """Parts of jobs that are encoded in one call: at least one, none empty, all of one group and of different jobs.

    `leader` is the lane that chose the group; `waiting`: the lanes and kinds that had items just before it was taken.
    `is_retry`: a slice that failed on another device.
    """

    slices: Sequence[JobSlice]
    leader: Lane
    waiting: frozenset[tuple[Lane, Kind]]
    is_retry: bool = False

    @property
    def kind(self) -> Kind:
        return self.slices[0].job.kind

    def __len__(self) -> int:
        return sum(map(len, self.slices))

    def items_of(self, lane: Lane) -> int:
        return sum(len(part) for part in self.slices if part.job.lane is lane)

    @property
    def waiting_lanes(self) -> list[Lane]:
        """In order of precedence."""
        lanes = {lane for lane, _ in self.waiting}
        return [lane for lane in Lane if lane in lanes]

    def encode(self, encoder: Encoder, attempts: FitAttempts) -> EncodedBatch:
        """Encodes each distinct item once. Blocks.

        A batch that does not fit into the device's memory is halved and retried, down to single items; `attempts`
        records each try. Any other device error fails every job, since the item that caused it is unknown. An item
        without a valid result gets a row of NaN and does not affect other items.
        """
        items, positions = self._distinct_items()
        try:
            results = _encode_items(items, encoder, attempts)
        except DeviceError as error:
            return EncodedBatch([(part, _copy(error)) for part in self.slices], len(items), fault=error)
        invalid = _blank_invalid_rows(items[0][0], results)
        ends = np.cumsum([len(part) for part in self.slices])
        slice_results: list[SliceResult] = []
        for part, indices in zip(self.slices, np.split(positions, ends[:-1]), strict=True):
            too_large = next((results.faults[index] for index in indices if index in results.faults), None)
            slice_results.append((part, _copy(too_large) if too_large else results.rows[indices]))
        any_valid = len(results.faults) + invalid < len(items)
        fault = None if any_valid else next(iter(results.faults.values()), DeviceError(NOT_FINITE))
        return EncodedBatch(slice_results, len(items), invalid, fault)

    def _distinct_items(self) -> tuple[list[Item], NDArray[np.intp]]:
        """The items to be encoded, and for each item of the slices its index among them."""
        items: list[Item] = []
        known: dict[Hashable, int] = {}
        positions: list[int] = []
        for part in self.slices:
            inputs = part.job.inputs
            for index in range(part.start, part.stop):
                position = known.setdefault(inputs.key(index), len(items))
                if position == len(items):
                    items.append((inputs, index))
                positions.append(position)
        return items, np.array(positions, np.intp)


@dataclass(frozen=True, slots=True)
class EncodedBatch:
    """The outcome of a micro-batch: for each slice its rows, or the error that its job fails with.

    `items` counts the distinct ones. Of them `invalid` have a row of NaN: their numbers are not finite, or a vector has
    no direction. `fault` is the reason if not a single item has a valid result.
    """

    slice_results: Sequence[SliceResult]
    items: int
    invalid: int = 0
    fault: DeviceError | None = None


@dataclass(frozen=True, slots=True)
class _Results:
    """A row for each item. The row of an item whose index is in `faults` is meaningless."""

    rows: Rows
    faults: dict[int, DeviceOutOfMemory]


def _encode_items(items: Sequence[Item], encoder: Encoder, attempts: FitAttempts) -> _Results:
    inputs = items[0][0]
    shape = (len(items), *inputs.row_shape(encoder))
    weight = sum(of.weight(index) for of, index in items)
    try:
        rows = inputs.encode(encoder, items)
    except DeviceOutOfMemory as error:
        attempts.failed.append(weight)
        if len(items) == 1:
            return _Results(np.zeros(shape, np.float32), {0: error})
    else:
        if rows.shape != shape:
            raise RuntimeError(f"The model answered {rows.shape} where {shape} was due. This is a bug.")
        attempts.fitted.append(weight)
        return _Results(np.array(rows, np.float32), {})
    middle = len(items) // 2
    left = _encode_items(items[:middle], encoder, attempts)
    right = _encode_items(items[middle:], encoder, attempts)
    later = {middle + index: error for index, error in right.faults.items()}
    return _Results(np.concatenate([left.rows, right.rows]), left.faults | later)


def _copy(error: DeviceError) -> DeviceError:
    """A separate exception per caller: one raised in several tasks would collect all their tracebacks."""
    copy = type(error)(str(error))
    copy.__cause__ = error
    return copy


def _blank_invalid_rows(inputs: Inputs, results: _Results) -> int:
    """Sets invalid rows to NaN; returns their number."""
    invalid = inputs.invalid_rows(results.rows)
    invalid[list(results.faults)] = False
    results.rows[invalid] = np.nan
    return int(invalid.sum())


@dataclass(frozen=True, slots=True)
class FitAttempts:
    """Weights of the calls to the device for one micro-batch: those that fitted into memory, and those that did not."""

    fitted: list[int] = field(default_factory=list)
    failed: list[int] = field(default_factory=list)


class SizeLimits:
    """The largest weight of a micro-batch of each kind, learnt from memory running out.

    After a failure the limit is the largest part of the micro-batch that fitted; if none did, one less than the
    smallest that failed. After a pause twice the limit is tried, since another process may have held the memory for a
    while. Each such attempt that fails doubles the pause, one that fits resets it.
    Times are those of time.monotonic(). Not thread-safe; used by the device thread.
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

    def update(self, kind: Kind, attempts: FitAttempts, now: float) -> None:
        """Adjusts the limit of a kind by the attempts that one micro-batch took."""
        limit = self._limits[kind]
        if attempts.failed:
            largest = max(attempts.fitted, default=max(min(attempts.failed) - 1, 1))
            if min(attempts.failed) <= limit:
                self._limits[kind] = min(largest, limit)
            else:
                self._pause_s[kind] = min(self._pause_s[kind] * 2, LONGEST_PAUSE_S)
            self._try_larger_at[kind] = now + self._pause_s[kind]
        elif (largest := max(attempts.fitted, default=0)) > limit:
            self._limits[kind] = largest
            self._pause_s[kind] = FIRST_PAUSE_S
            self._try_larger_at[kind] = now + FIRST_PAUSE_S

"""The bounded queue of one lane, and how a micro-batch is filled from it."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass

from sidecar.batching.inputs import Kind
from sidecar.batching.job import Job, JobSlice


@dataclass(frozen=True, slots=True)
class LaneDepth:
    """What a lane holds, in items. `reserved`: still being prepared; `running`: in micro-batches on the devices."""

    waiting: int
    reserved: int
    running: int
    capacity: int


class LaneQueue:
    """Jobs in order of arrival, bounded by their number of items. An empty lane takes a job of any size.

    With `in_order`, jobs are dispatched in that order too. Otherwise half of a micro-batch's budget is filled by age
    and the rest with the jobs that need least, and kinds take turns: no job waits for a large one to end, and none
    starves.

    Items that are not in the queue yet are counted too. `preparing`: capacity for inputs being prepared, unavailable to
    all others. `reserved`: for the rest of requests prepared in parts, unavailable to new requests only. `blocked`:
    items of jobs that wait until they fit.
    """

    def __init__(self, capacity: int, *, in_order: bool) -> None:
        self.capacity = capacity
        self.waiting = 0
        self.preparing = 0
        self.reserved = 0
        self.blocked = 0
        self._in_order = in_order
        self._jobs: dict[Job, None] = {}
        self._waiting_by_kind = dict.fromkeys(Kind, 0)
        self._led: list[Kind] = []  # the kind that led the latest micro-batch is last
        self._jobs_begun = dict.fromkeys(Kind, 0)

    @property
    def ahead_of_new(self) -> int:
        """Items that are enqueued before those of any new request: reserved and blocked ones."""
        return self.reserved + self.blocked

    def shortfall(self, items: int, ahead: int = 0) -> int:
        """How many items must leave before `items` more fit behind `ahead` others; 0: they fit now."""
        used = self.waiting + self.preparing + ahead
        return min(max(used + items - self.capacity, 0), used)

    def push(self, job: Job) -> None:
        self._jobs[job] = None
        self._count(job.kind, job.waiting)

    def drop(self, job: Job) -> bool:
        """Removes the items of a job that the device has not taken; False if there are none."""
        if job not in self._jobs:
            return False
        del self._jobs[job]
        self._count(job.kind, -job.waiting)
        return True

    def kinds(self) -> list[Kind]:
        """The kinds of the waiting jobs."""
        return [kind for kind, items in self._waiting_by_kind.items() if items]

    def jobs_of(self, kind: Kind) -> int:
        """Number of waiting jobs of a kind."""
        return sum(job.kind is kind for job in self._jobs)

    def items_of(self, kind: Kind) -> int:
        """Number of waiting items of a kind."""
        return self._waiting_by_kind[kind]

    def jobs_begun(self, kind: Kind) -> int:
        """Number of jobs of a kind of which a device has taken the first item, since the start."""
        return self._jobs_begun[kind]

    def next_job(self) -> Job:
        """The oldest job of the kind whose turn it is; its group is that of the lane's next micro-batch."""
        oldest = next(iter(self._jobs))
        if self._in_order:
            return oldest
        kind = min(self.kinds(), key=lambda kind: (self._turn_of(kind), kind is not oldest.kind))
        return next(job for job in self._jobs if job.kind is kind)

    def take(self, group: Hashable, budget: BatchBudget) -> list[JobSlice]:
        """Removes items of a group as far as the budget goes."""
        jobs = [job for job in self._jobs if job.inputs.group == group]
        starts = {job: job.taken for job in jobs}
        if self._in_order:
            _fill_by_age(jobs, budget, keep=0)
        else:
            _fill_by_age(jobs, budget, keep=budget.left // 2)
            for job in sorted(jobs, key=_size):
                budget.take_from(job)
        slices = [JobSlice(job, start, job.taken) for job, start in starts.items() if job.taken > start]
        for part in slices:
            self._count(part.job.kind, -len(part))
            self._jobs_begun[part.job.kind] += part.start == 0
            if not part.job.waiting:
                del self._jobs[part.job]
        return slices

    def end_turn(self, kind: Kind) -> None:
        """Puts a kind that led a micro-batch of this lane behind the other kinds."""
        if kind in self._led:
            self._led.remove(kind)
        self._led.append(kind)

    def _turn_of(self, kind: Kind) -> int:
        return self._led.index(kind) if kind in self._led else -1

    def _count(self, kind: Kind, items: int) -> None:
        self.waiting += items
        self._waiting_by_kind[kind] += items


class BatchBudget:
    """Weight that is left for more items in a micro-batch being filled. Only distinct items count.

    The first item always fits, even if heavier than the budget; otherwise it could never run.
    """

    def __init__(self, size: int) -> None:
        self.left = size
        self._keys: set[Hashable] = set()

    def take_from(self, job: Job, keep: int = 0) -> bool:
        """Takes as many of the job's next items as fit while `keep` stays unused; False if some of them remain."""
        while job.waiting:
            key = job.inputs.key(job.taken)
            if key not in self._keys:
                weight = job.inputs.weight(job.taken)
                if weight > self.left - keep and self._keys:
                    return False
                self._keys.add(key)
                self.left -= weight
            job.taken += 1
        return True


def _fill_by_age(jobs: list[Job], budget: BatchBudget, keep: int) -> None:
    for job in jobs:
        if not budget.take_from(job, keep):
            return


def _size(job: Job) -> int:
    return job.waiting

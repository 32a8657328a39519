"""One bounded queue of jobs, and the choice of those that go next."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass

from sidecar.batching.inputs import Kind
from sidecar.batching.job import Job
from sidecar.batching.micro_batch import Part


class LaneQueue:
    """Jobs in order of arrival. Bounded in units; whatever its size, a job is let into an empty lane.

    With `in_order` that is the order in which they go, too. Else half of a micro-batch's room goes by age and the rest
    to the jobs that need least, and kinds take turns: nobody waits for a large job to end, and none starves.
    """

    def __init__(self, capacity: int, *, in_order: bool) -> None:
        self.capacity = capacity
        self.reserved = 0
        self.promised = 0
        self.at_door = 0
        self.waiting = 0
        self._in_order = in_order
        self._jobs: dict[Job, None] = {}
        self._units_of = dict.fromkeys(Kind, 0)
        self._had_turn: list[Kind] = []  # the latest last

    @property
    def before_new(self) -> int:
        """Units of requests that were let in and go before any new one: promised room, and what is at the door."""
        return self.promised + self.at_door

    def missing_room(self, units: int, before: int = 0) -> int:
        """How many units must leave before `units` more fit behind `before`; 0: they fit now."""
        used = self.waiting + self.reserved + before
        return min(max(used + units - self.capacity, 0), used)

    def push(self, job: Job) -> None:
        self._jobs[job] = None
        self._count(job.kind, job.waiting)

    def drop(self, job: Job) -> bool:
        """Forget what the device has not been given of a job; False if it has it all."""
        if job not in self._jobs:
            return False
        del self._jobs[job]
        self._count(job.kind, -job.waiting)
        return True

    def kinds(self) -> list[Kind]:
        """Those that wait."""
        return [kind for kind, units in self._units_of.items() if units]

    def jobs_of(self, kind: Kind) -> int:
        """How many jobs of a kind wait."""
        return sum(job.kind is kind for job in self._jobs)

    def next_job(self) -> Job:
        """The oldest job, of the kind whose turn it is: the next micro-batch of this lane is made of its group."""
        oldest = next(iter(self._jobs))
        if self._in_order:
            return oldest
        kind = min(self.kinds(), key=lambda kind: (self._turn_of(kind), kind is not oldest.kind))
        return next(job for job in self._jobs if job.kind is kind)

    def take(self, group: Hashable, room: Room) -> list[Part]:
        """Hand out units of a group that fit into the room."""
        jobs = [job for job in self._jobs if job.work.group == group]
        starts = {job: job.taken for job in jobs}
        if self._in_order:
            _fill_by_age(jobs, room, keep=0)
        else:
            _fill_by_age(jobs, room, keep=room.left // 2)
            for job in sorted(jobs, key=_size):
                room.let_in(job)
        parts = [Part(job, start, job.taken) for job, start in starts.items() if job.taken > start]
        for part in parts:
            self._count(part.job.kind, -len(part))
            if not part.job.waiting:
                del self._jobs[part.job]
        return parts

    def end_turn(self, kind: Kind) -> None:
        """The kind led a micro-batch of this lane; the others come first now."""
        if kind in self._had_turn:
            self._had_turn.remove(kind)
        self._had_turn.append(kind)

    def _turn_of(self, kind: Kind) -> int:
        return self._had_turn.index(kind) if kind in self._had_turn else -1

    def _count(self, kind: Kind, units: int) -> None:
        self.waiting += units
        self._units_of[kind] += units


def _fill_by_age(jobs: list[Job], room: Room, keep: int) -> None:
    for job in jobs:
        if not room.let_in(job, keep):
            return


def _size(job: Job) -> int:
    return job.waiting


@dataclass(frozen=True, slots=True)
class LaneDepth:
    """In units: views, or pairs. `reserved`: still being prepared; `running`: in the micro-batch on the device."""

    waiting: int
    reserved: int
    running: int
    capacity: int


class Room:
    """Room for different units of a weight of `size` together. One that is the same as another inside takes none.

    The first one is let in whatever its weight: it could never run otherwise.
    """

    def __init__(self, size: int) -> None:
        self.left = size
        self._inside: set[Hashable] = set()

    def let_in(self, job: Job, keep: int = 0) -> bool:
        """As many of the job's next units as fit, leaving room for `keep`; False if some stay behind."""
        while job.waiting:
            key = job.work.key(job.taken)
            if key not in self._inside:
                weight = job.work.weight(job.taken)
                if weight > self.left - keep and self._inside:
                    return False
                self._inside.add(key)
                self.left -= weight
            job.taken += 1
        return True

"""How much still fits into a micro-batch that is being put together."""

from __future__ import annotations

from collections.abc import Hashable

from sidecar.batching.job import Job


class Room:
    """Room for `size` different units. One that is the same as another inside takes none."""

    def __init__(self, size: int) -> None:
        self.size = size
        self._inside: set[Hashable] = set()

    @property
    def left(self) -> int:
        return self.size - len(self._inside)

    def let_in(self, job: Job, keep: int = 0) -> bool:
        """As many of the job's next units as fit, leaving room for `keep` others; False if some stay behind."""
        while job.waiting:
            key = job.work.key(job.taken)
            if key not in self._inside:
                if self.left <= keep:
                    return False
                self._inside.add(key)
            job.taken += 1
        return True

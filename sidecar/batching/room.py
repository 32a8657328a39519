"""How much still fits into a micro-batch that is being put together."""

from __future__ import annotations

from collections.abc import Hashable

from sidecar.batching.job import Job


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

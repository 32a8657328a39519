"""What building an index takes of the server's memory, and from how many rows on a table needs several indexes."""

from __future__ import annotations

import math
from dataclasses import dataclass

from sidecar.operations.planning import costs
from sidecar.operations.planning.estimate import Estimate, Target
from sidecar.operations.planning.server_memory import ServerMemory


@dataclass(frozen=True, slots=True)
class IndexMemory:
    """`build_s` is with the present maintenance_work_mem.

    `rows_per_partition`: rows whose graph fits into maintenance_work_mem or into effective_cache_size, whichever is
    larger. `partitions`: 1 if all rows do.
    """

    maintenance_work_mem_bytes: int
    effective_cache_bytes: int
    build_s: float
    rows_per_partition: int
    partitions: int


def index_memory(expected: Estimate, target: Target, memory: ServerMemory) -> IndexMemory | None:
    """None without an index, or with one that is not estimated."""
    if target.index in {"none", costs.OTHER_INDEX}:
        return None
    limit = max(memory.build_bytes, memory.cache_bytes)
    fit = costs.rows_in_memory(limit, target.dimensions, target.index)
    rows = expected.rows_to_embed
    return IndexMemory(
        memory.build_bytes,
        memory.cache_bytes,
        costs.build_s(rows, target.dimensions, target.index, memory.build_bytes),
        fit,
        max(1, math.ceil(rows / fit)),
    )

"""What building an index takes of the server's memory, and from how many rows on a table needs several indexes."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sidecar.cli.estimate import Estimate, Target
from sidecar.cli.output import show_duration, show_size
from sidecar.operations.planning import costs

if TYPE_CHECKING:
    from sidecar.operations.planning.server_memory import ServerMemory

_MARGIN = 1.1  # of maintenance_work_mem over what is expected, as `sidecar doctor` has it


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


def describe_index_memory(expected: Estimate, found: IndexMemory) -> dict[str, str]:
    """Lines of `sidecar plan` by their labels."""
    size, present = show_size(expected.graph_bytes), show_size(found.maintenance_work_mem_bytes)
    fits = expected.graph_bytes <= found.maintenance_work_mem_bytes
    memory = f"{size} to build the index" + (
        f"; maintenance_work_mem is {present}"
        if fits
        else f", but maintenance_work_mem is {present}: built in {show_duration(found.build_s)} then. Set it to "
        f"{show_size(round(expected.graph_bytes * _MARGIN))} for the role that builds"
    )
    cache = show_size(max(found.effective_cache_bytes, found.maintenance_work_mem_bytes))
    limit = f"one index fits into memory up to about {_rounded_down(found.rows_per_partition):,} rows ({cache})"
    if found.partitions > 1:
        limit += f": use {found.partitions:,} partitions, or set effective_cache_size to what the machine has"
    return {"memory": memory, "limit": limit}


def _rounded_down(rows: int) -> int:
    """To two digits."""
    digits = str(rows)
    return int(digits[:2].ljust(len(digits), "0"))

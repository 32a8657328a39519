"""The lines of `sidecar plan` about the memory of an index."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sidecar.cli.output import show_duration, show_size

if TYPE_CHECKING:
    from sidecar.operations.planning.estimate import Estimate
    from sidecar.operations.planning.index_memory import IndexMemory

_MARGIN = 1.1  # of maintenance_work_mem over what is expected, as `sidecar doctor` has it


def describe_index_memory(expected: Estimate, found: IndexMemory) -> dict[str, str]:
    """The lines by their labels."""
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

"""What `sidecar plan` says of the index of a large table."""

from __future__ import annotations

import pytest

from sidecar.cli.index_memory import describe_index_memory
from sidecar.operations.planning.estimate import Estimate, Target, estimate
from sidecar.operations.planning.index_memory import IndexMemory, index_memory
from sidecar.operations.planning.server_memory import ServerMemory

GIB = 2**30
TARGET = Target(1152, "halfvec", "halfvec", 0, has_companion=True)


def planned(rows: int, memory: ServerMemory) -> tuple[Estimate, IndexMemory]:
    expected = estimate(rows, [600] * 10, 1.0, TARGET, None)
    found = index_memory(expected, TARGET, memory)
    assert found is not None
    return expected, found


def test_a_hundred_million_rows_on_a_server_with_128_gib() -> None:
    assert describe_index_memory(*planned(10**8, ServerMemory(16 * GIB, 96 * GIB))) == {
        "memory": "281.6 GB to build the index, but maintenance_work_mem is 16.0 GB: built in about 13 days then. "
        "Set it to 309.8 GB for the role that builds",
        "limit": "one index fits into memory up to about 34,000,000 rows (96.0 GB): use 3 partitions, or set "
        "effective_cache_size to what the machine has",
    }


def test_a_million_rows_on_the_same_server() -> None:
    assert describe_index_memory(*planned(10**6, ServerMemory(16 * GIB, 96 * GIB))) == {
        "memory": "2.8 GB to build the index; maintenance_work_mem is 16.0 GB",
        "limit": "one index fits into memory up to about 34,000,000 rows (96.0 GB)",
    }


def test_building_takes_longer_where_the_graph_outgrows_its_memory() -> None:
    expected, fits = planned(10**7, ServerMemory(32 * GIB, 32 * GIB))
    _, outgrows = planned(10**7, ServerMemory(4 * GIB, 32 * GIB))
    assert fits.build_s == pytest.approx(expected.index_build_s)
    assert outgrows.build_s > 4 * fits.build_s
    assert (fits.partitions, outgrows.partitions) == (1, 1)

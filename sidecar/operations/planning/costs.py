"""What a watched table takes as it grows: the formulae of `sidecar plan` and of docs/large-tables.md.

Their constants were measured, on PostgreSQL 18 with pgvector 0.8.5 on two cores, at up to five million rows; the page
says how well they fit and where they stop being true. HNSW is that of pgvector's defaults, m = 16 and ef_construction
= 64.
"""

from __future__ import annotations

import math

_BYTES_OF_A_NUMBER = {"bit": 1 / 8, "halfvec": 2, "vector": 4}

OTHER_INDEX = "other"  # than HNSW without options, for which there are no formulae
_INDEXED = frozenset(_BYTES_OF_A_NUMBER)  # types that HNSW is on; else there is no index to estimate

LEDGER_BYTES = 205  # of a row, with its index
_PAGE_BYTES = 8160  # for tuples, of the 8192 of an index page
_NODE_BYTES = 300  # of an HNSW node, without its vector
_GRAPH_NODE_BYTES = 720  # of a node in memory, while the index is built
_TOAST_THRESHOLD_BYTES = 2000
_TOASTED, _INLINE = 1.21, 1.1  # space of a stored vector, relative to its own bytes

_EVENT_WAL_BYTES = 1060  # event, lease, ledger entry and deletion of the event, of a row without its vector
_VECTOR_WAL = 1.13  # of a stored vector, relative to its own bytes

# Milliseconds of processor time for a row, per doubling of the rows: steps in the graph, and numbers of the vectors.
_BUILD_MS, _BUILD_MS_OF_A_NUMBER = 0.011, {"halfvec": 0.00009, "vector": 0.00012}
BUILD_PROCESSES = 2  # that two cores keep busy, of the three that max_parallel_maintenance_workers = 2 allows
SLOWER_THAN_IN_MEMORY = 4  # a row that is inserted on disk, because the graph has outgrown its memory

SWEEP_PAGE_ROWS, SWEEP_PAUSE_S = 5000, 0.1
_SWEEP_PAGE_S = (0.010, 0.006, 0.006)  # rows, ledger entries, vectors of a companion; all in memory


def vector_bytes(dimensions: int, storage: str) -> float:
    """Bytes of a stored vector."""
    size = _BYTES_OF_A_NUMBER[storage] * dimensions + 8
    return size * (_TOASTED if size > _TOAST_THRESHOLD_BYTES else _INLINE)


def index_bytes(dimensions: int, index: str) -> float:
    """Bytes of a row in the index. Whole nodes fit on a page: three of a halfvec(1152), but one of a vector(1152)."""
    if index not in _INDEXED:
        return 0.0
    nodes = _PAGE_BYTES / (dimensions * _BYTES_OF_A_NUMBER[index] + 8 + _NODE_BYTES)
    return 8192 / (int(nodes) if 1 <= nodes < 6 else nodes)  # small nodes fill the gaps


def graph_bytes(dimensions: int, index: str) -> int:
    """Bytes of a row in memory while the index is built, as sidecar_internal.graph_bytes has it."""
    return 0 if index not in _INDEXED else round(_BYTES_OF_A_NUMBER[index] * dimensions) + _GRAPH_NODE_BYTES


def rows_in_memory(memory_bytes: float, dimensions: int, index: str) -> int:
    """Rows whose graph fits into `memory_bytes`."""
    return int(memory_bytes / graph_bytes(dimensions, index))


def build_s(
    rows: int, dimensions: int, index: str, memory_bytes: float = math.inf, processes: int = BUILD_PROCESSES
) -> float:
    """Seconds that some processes, by default as many as two cores keep busy, build the index.

    Rows beyond `memory_bytes` take several times as long each, and one process does them.
    """
    if index not in _INDEXED or rows < 2:
        return 0.0
    fit = rows if memory_bytes == math.inf else min(rows, rows_in_memory(memory_bytes, dimensions, index))
    ms_per_row = (_BUILD_MS + _BUILD_MS_OF_A_NUMBER[index] * dimensions) * math.log2(rows)
    in_memory = fit / processes
    return (in_memory + SLOWER_THAN_IN_MEMORY * (rows - fit)) * ms_per_row / 1000


def wal_bytes(dimensions: int, storage: str) -> float:
    """Bytes of WAL of a row, from its event to its vector, without an index."""
    return _EVENT_WAL_BYTES + _VECTOR_WAL * _BYTES_OF_A_NUMBER[storage] * dimensions


def sweep_s(rows: int, *, has_companion: bool) -> float:
    """Seconds of a sweep whose pages are in memory: those of the table, of the ledger and of the companion."""
    phases = _SWEEP_PAGE_S if has_companion else _SWEEP_PAGE_S[:2]
    return sum(rows / SWEEP_PAGE_ROWS * (page_s + SWEEP_PAUSE_S) for page_s in phases)

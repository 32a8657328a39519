"""Estimates of the time and space that watching a table takes, computed from what `sidecar plan` found.

The constants were measured on PostgreSQL 18 with pgvector 0.8.5 on two cores; docs/operations.md says how well they
hold elsewhere.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean

# About 64 tokens, which SigLIP reads, of English at four letters each. Only the model's tokenizer knows exactly.
LONG_TEXT_BYTES = 256

_PAGE_BYTES = 8160  # for tuples, of the 8192 of an index page
_NODE_BYTES = 300  # of an HNSW node with m = 16, without its vector
_BUILD_MS_PER_ROW = {"halfvec": 0.70, "vector": 0.93}  # at 1152 dimensions
_BUILD_DIMENSIONS = 1152
_LEDGER_BYTES_PER_ROW = 205
_TOAST_THRESHOLD_BYTES = 2000
_TOASTED, _INLINE = 1.21, 1.1  # space of a stored vector, relative to its own bytes


@dataclass(frozen=True, slots=True)
class Estimate:
    """Totals for all rows of a table. A text counts as one view. `device_s` is None if no rate is known."""

    rows_to_embed: int
    source_bytes: int
    views: int
    views_per_row: float
    device_s: float | None
    vector_bytes: int
    index_bytes: int
    index_build_s: float
    ledger_bytes: int
    rewritten_bytes: int

    @property
    def disk_bytes(self) -> int:
        """Disk space in the end. VACUUM frees the rewritten part for new rows."""
        return self.vector_bytes + self.index_bytes + self.ledger_bytes + self.rewritten_bytes


@dataclass(frozen=True, slots=True)
class Target:
    """Where vectors are stored. `heap_bytes`: of the watched table, whose rows are rewritten; 0 with a companion."""

    dimensions: int
    storage: str
    index: str
    heap_bytes: int


def estimate(
    rows: int, sampled_bytes: Sequence[int | None], views_per_row: float, target: Target, views_per_s: float | None
) -> Estimate:
    """Extrapolates from a sample to all `rows`.

    `sampled_bytes`: sizes of the sampled rows' source; None for rows with nothing to embed.
    """
    non_empty = [size for size in sampled_bytes if size]
    share = len(non_empty) / len(sampled_bytes) if sampled_bytes else 0.0
    to_embed = round(rows * share)
    views = round(to_embed * views_per_row)
    return Estimate(
        rows_to_embed=to_embed,
        source_bytes=round(to_embed * fmean(non_empty)) if non_empty else 0,
        views=views,
        views_per_row=views_per_row,
        device_s=None if views_per_s is None else views / views_per_s,
        vector_bytes=round(to_embed * _vector_bytes(target.dimensions, target.storage)),
        index_bytes=round(to_embed * index_bytes_per_row(target.dimensions, target.index)),
        index_build_s=to_embed * _build_ms_per_row(target) / 1000,
        ledger_bytes=rows * _LEDGER_BYTES_PER_ROW,
        rewritten_bytes=round(target.heap_bytes * share),
    )


@dataclass(frozen=True, slots=True)
class DeviceTime:
    """The time that a typical device takes for all views, at a rate that was measured by `measured_by`."""

    device: str
    views_per_s: float
    device_s: float
    measured_by: str
    source: str


def time_on_devices(views: int, kind: str, model_id: str) -> list[DeviceTime]:
    """The time for `views`, or texts, on devices whose rate was measured with this model; none for other models."""
    from sidecar.operations.planning.device_rates import DEFAULT_MODEL, DEVICE_RATES  # it imports pydantic

    if model_id != DEFAULT_MODEL:
        return []
    return [
        DeviceTime(each.device, rate, views / rate, each.measured_by, each.source)
        for each in DEVICE_RATES
        if (rate := each.rate_of(kind)) is not None
    ]


def describe_long_texts(sampled_bytes: Sequence[int | None]) -> str | None:
    """How many of the sampled texts are longer than a model reads, as far as their size tells. None if none is."""
    sizes = [size for size in sampled_bytes if size]
    number = sum(size > LONG_TEXT_BYTES for size in sizes)
    if number == 0:
        return None
    verb = "is" if number == 1 else "are"
    return f"about {number:,} of {len(sizes):,} texts {verb} longer than the model reads (64 tokens, some 250 letters)"


def index_bytes_per_row(dimensions: int, index: str) -> float:
    """Whole nodes fit on a page: three of a halfvec with 1152 dimensions, but only one of a vector."""
    if index == "none":
        return 0.0
    nodes = _PAGE_BYTES / (dimensions * (2 if index == "halfvec" else 4) + 8 + _NODE_BYTES)
    return 8192 / (int(nodes) if 1 <= nodes < 6 else nodes)  # small nodes fill the gaps


def _build_ms_per_row(target: Target) -> float:
    return _BUILD_MS_PER_ROW.get(target.index, 0.0) * target.dimensions / _BUILD_DIMENSIONS


def _vector_bytes(dimensions: int, storage: str) -> float:
    size = (2 if storage == "halfvec" else 4) * dimensions + 8
    return size * (_TOASTED if size > _TOAST_THRESHOLD_BYTES else _INLINE)

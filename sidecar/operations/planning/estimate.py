"""Estimates of the time and space that watching a table takes, computed from a survey of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean

from sidecar.operations.planning import costs

DEFAULT_CONTEXT_LENGTH = 64  # tokens of a text that the default model reads
LETTERS_PER_TOKEN = 4  # of English. Only the model's tokenizer knows exactly


@dataclass(frozen=True, slots=True)
class Estimate:
    """Totals for all rows of a table. A text counts as one view. `device_s` is None if no rate is known.

    `index_build_s`: in one process, with memory for `graph_bytes`. `wal_bytes`: of the first filling, without the
    index. `sweep_s`: of one pass that looks for changes without an event.
    """

    rows_to_embed: int
    source_bytes: int
    views: int
    views_per_row: float
    device_s: float | None
    vector_bytes: int
    index_bytes: int
    index_build_s: float
    graph_bytes: int
    ledger_bytes: int
    rewritten_bytes: int
    wal_bytes: int
    sweep_s: float

    @property
    def disk_bytes(self) -> int:
        """Disk space in the end. VACUUM frees the rewritten part for new rows."""
        return self.vector_bytes + self.index_bytes + self.ledger_bytes + self.rewritten_bytes

    @property
    def headroom_bytes(self) -> int:
        """Free disk space that REINDEX needs later, for a second index beside the first."""
        return self.index_bytes


@dataclass(frozen=True, slots=True)
class Target:
    """Where vectors are stored. `heap_bytes`: of the watched table, whose rows are rewritten without a companion."""

    dimensions: int
    storage: str
    index: str
    heap_bytes: int
    has_companion: bool = False


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
        vector_bytes=round(to_embed * costs.vector_bytes(target.dimensions, target.storage)),
        index_bytes=round(to_embed * costs.index_bytes(target.dimensions, target.index)),
        index_build_s=costs.build_s(to_embed, target.dimensions, target.index),
        graph_bytes=to_embed * costs.graph_bytes(target.dimensions, target.index),
        ledger_bytes=rows * costs.LEDGER_BYTES,
        rewritten_bytes=0 if target.has_companion else round(target.heap_bytes * share),
        wal_bytes=round(to_embed * costs.wal_bytes(target.dimensions, target.storage)),
        sweep_s=costs.sweep_s(rows, has_companion=target.has_companion),
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


def count_long_texts(sampled_bytes: Sequence[int | None], context_length: int = DEFAULT_CONTEXT_LENGTH) -> int:
    """How many of the sampled texts are longer than a model of `context_length` reads, as far as their size tells."""
    return sum((size or 0) > context_length * LETTERS_PER_TOKEN for size in sampled_bytes)


def describe_long_texts(sampled_bytes: Sequence[int | None]) -> str | None:
    """The sentence with the number of those that are longer than the default model reads; None if none is."""
    sizes = [size for size in sampled_bytes if size]
    number = count_long_texts(sizes)
    if number == 0:
        return None
    verb = "is" if number == 1 else "are"
    reads = f"the default model reads ({DEFAULT_CONTEXT_LENGTH} tokens, some 250 letters)"
    return f"about {number:,} of {len(sizes):,} texts {verb} longer than {reads}"

"""All of the part `serving`, in order."""

from __future__ import annotations

import tempfile
from pathlib import Path

from benchmarks.figure import Figure
from benchmarks.serving.concurrency import measure_client_ceiling, measure_concurrency, measure_windows
from benchmarks.serving.device import BatchTimedEncoder
from benchmarks.serving.mixed_load import measure_mixed_load
from benchmarks.serving.overhead import measure_overhead
from benchmarks.serving.overload import measure_overload
from benchmarks.serving.processes import Bench
from benchmarks.serving.scale import Scale
from sidecar.app import load_siglip
from sidecar.config import Settings
from tests.servers import Server

BATCH_MS = 20.0


async def measure_serving(server: Server, scale: Scale) -> list[Figure]:
    """Against the timed device with targets, then the same against the demo's model without."""
    with tempfile.TemporaryDirectory() as directory:
        bench = Bench(Path(directory), BATCH_MS)
        encoder = BatchTimedEncoder(BATCH_MS)
        figures = [
            *await measure_client_ceiling(bench, scale),
            *await measure_concurrency(bench, scale, encoder),
            *await measure_windows(bench, scale),
            *await measure_overhead(bench, scale, encoder),
            *await measure_mixed_load(bench, scale, server),
            *await measure_overload(bench, encoder, scale.overload),
        ]
        if scale.demo is not None:
            figures += await _measure_demo(server, scale.demo, Path(directory))
    return figures


async def _measure_demo(server: Server, scale: Scale, directory: Path) -> list[Figure]:
    bench = Bench(directory, batch_ms=None)
    encoder = load_siglip(Settings(vision_model_id="demo", require_cuda=False))
    return [
        *await measure_concurrency(bench, scale, encoder),
        *await measure_overhead(bench, scale, encoder),
        *await measure_mixed_load(bench, scale, server),
        *await measure_overload(bench, encoder, scale.overload),
    ]

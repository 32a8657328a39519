"""The part `serving`: all its measurements, in order."""

from __future__ import annotations

import tempfile
from pathlib import Path

from benchmarks.figure import Figure
from benchmarks.serving.concurrency import measure_client_ceiling, measure_concurrency, measure_windows
from benchmarks.serving.device import BatchTimedEncoder
from benchmarks.serving.mixed_load import measure_mixed_load
from benchmarks.serving.overhead import measure_overhead
from benchmarks.serving.overload import measure_overload
from benchmarks.serving.scale import Scale
from benchmarks.serving.server_process import Bench, server_process
from sidecar.app import load_embedding_model
from sidecar.batching.encoder import Encoder
from sidecar.config import Settings
from tests.servers import Server

BATCH_MS = 20.0


async def measure_serving(server: Server, scale: Scale) -> list[Figure]:
    """Measure with the timed device, with targets, then with the demo's model, without them."""
    with tempfile.TemporaryDirectory() as directory:
        bench = Bench(Path(directory), BATCH_MS)
        figures = await measure_client_ceiling(bench, scale)
        figures += await _measure_all(bench, scale, BatchTimedEncoder(BATCH_MS), server)
        if scale.demo is not None:
            model = load_embedding_model(Settings(vision_model_id="demo", require_cuda=False))
            figures += await _measure_all(Bench(Path(directory), None, pinned=False), scale.demo, model, server)
    return figures


async def _measure_all(bench: Bench, scale: Scale, encoder: Encoder, server: Server) -> list[Figure]:
    figures: list[Figure] = []
    with server_process(bench, "sidecar") as default:
        figures += await measure_concurrency(bench, scale, encoder, default)
        figures += await measure_overhead(bench, scale, encoder, default)
    figures += await measure_windows(bench, scale)
    figures += await measure_mixed_load(bench, scale, server)
    figures += await measure_overload(bench, encoder, scale.overload)
    return figures

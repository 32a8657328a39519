"""Measurements of requests over HTTP, in order: with the timed device, and with the demo's model on the CPU."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from benchmarks.figure import Figure
from benchmarks.serving.concurrency import measure_client_ceiling, measure_concurrency, measure_windows
from benchmarks.serving.device import BatchTimedEncoder
from benchmarks.serving.mixed_load import measure_mixed_load
from benchmarks.serving.overhead import measure_overhead
from benchmarks.serving.overload import measure_overload
from benchmarks.serving.scale import Overload, Scale
from benchmarks.serving.server_process import Bench, server_process
from sidecar.app import load_embedding_model
from sidecar.batching.encoder import Encoder
from sidecar.config import Settings
from tests.servers import Server

BATCH_MS = 20.0

_SHOWN = {
    "32 clients, naive endpoint (one forward a request)",
    "32 clients, sidecar",
    "32 clients, sidecar / naive endpoint",
    "32 clients, p95, naive endpoint",
    "32 clients, p95, sidecar",
    "32 clients / one client, of what the device gains, BATCH_MAX_VIEWS 32",
    "one text, bare encoder call, p50",
    "one text over HTTP, p50",
    "HTTP + batching over a bare encoder call, one text, p50",
    "one client, text query p95, idle",
    "one client, text query p95, during ingest of pictures",
    "ingest beside 32 clients",
    "overload, a refusal, p50",
    "overload, goodput / capacity",
}
"""On the page although they have no target, for comparison; figures.json has the rest."""


async def measure_serving(server: Server, scale: Scale) -> list[Figure]:
    """Everything but the overload, with the timed device."""
    with tempfile.TemporaryDirectory() as directory:
        bench = Bench(Path(directory), BATCH_MS)
        figures = await measure_client_ceiling(bench, scale)
        figures += await _measure_requests(bench, scale, BatchTimedEncoder(BATCH_MS), server)
    return _with_details(figures)


async def measure_overloaded(overload: Overload) -> list[Figure]:
    """The overload with the timed device."""
    with tempfile.TemporaryDirectory() as directory:
        bench = Bench(Path(directory), BATCH_MS)
        return _with_details(await measure_overload(bench, BatchTimedEncoder(BATCH_MS), overload))


async def measure_with_model(server: Server, scale: Scale) -> list[Figure]:
    """Everything with the demo's model on the CPU, without targets."""
    with tempfile.TemporaryDirectory() as directory:
        bench = Bench(Path(directory), None, pinned=False)
        model = load_embedding_model(Settings(vision_model_id="demo", require_cuda=False))[0]
        figures = await _measure_requests(bench, scale, model, server)
        figures += await measure_overload(bench, model, scale.overload)
    return _with_details(figures)


async def _measure_requests(bench: Bench, scale: Scale, encoder: Encoder, server: Server) -> list[Figure]:
    figures: list[Figure] = []
    with server_process(bench, "sidecar") as default:
        figures += await measure_concurrency(bench, scale, encoder, default)
        figures += await measure_overhead(bench, scale, encoder, default)
    figures += await measure_windows(bench, scale)
    return figures + await measure_mixed_load(bench, scale, server)


def _with_details(figures: Sequence[Figure]) -> list[Figure]:
    return [
        replace(figure, is_detail=figure.target is None and figure.name not in _SHOWN and figure.interval is None)
        for figure in figures
    ]

"""Time that HTTP and batching add to one call of the encoder."""

from __future__ import annotations

import asyncio
import time

import numpy as np

from benchmarks.figure import Figure
from benchmarks.serving.client import Answer, connect
from benchmarks.serving.load import requests
from benchmarks.serving.scale import Scale
from benchmarks.serving.server_process import Bench, ServerProcess, client_core
from sidecar.batching.encoder import Encoder

_WARM_CALLS = 5


async def measure_overhead(bench: Bench, scale: Scale, encoder: Encoder, server: ServerProcess) -> list[Figure]:
    """A request and a bare call with tokenising in turns, one text at a time."""
    texts = requests()
    requested: list[float] = []
    called: list[float] = []
    with client_core(bench):
        connection = await connect(server.port)
        for number in range(_WARM_CALLS + scale.overhead_calls):
            answered: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
            connection.send(next(texts), answered.set_result)
            answer = await answered
            if answer.status != 200:
                raise RuntimeError(f"A single request was answered with {answer.status}.")
            requested.append(answer.latency_s)
            began = time.perf_counter()
            encoder.encode_texts(encoder.prepare_texts([f"a photo of bicycle number {number}"]))
            called.append(time.perf_counter() - began)
        connection.close()
    request_ms, call_ms = (1000 * np.percentile(times[_WARM_CALLS:], 50) for times in (requested, called))
    return [
        Figure("one text, bare encoder call, p50", float(call_ms), "ms"),
        Figure("one text over HTTP, p50", float(request_ms), "ms"),
        Figure(
            "HTTP + batching over a bare encoder call, one text, p50",
            float(request_ms - call_ms),
            "ms",
            "<= 2" if bench.is_timed else None,
        ),
    ]

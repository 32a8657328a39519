"""Time that HTTP and batching add to one call of the encoder."""

from __future__ import annotations

import asyncio
import time
from statistics import median

from benchmarks.figure import Figure, in_chunks, of_rounds
from benchmarks.serving.client import Answer, connect
from benchmarks.serving.load import requests
from benchmarks.serving.scale import Scale
from benchmarks.serving.server_process import Bench, ServerProcess, client_core
from sidecar.batching.encoder import Encoder

_WARM_CALLS, _ROUNDS = 5, 5


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
    request_ms, call_ms = (
        [1000 * median(part) for part in in_chunks(times[_WARM_CALLS:], _ROUNDS)] for times in (requested, called)
    )
    added_ms = [request - call for request, call in zip(request_ms, call_ms, strict=True)]
    return [
        of_rounds("one text, bare encoder call, p50", call_ms, "ms", is_baseline=True),
        of_rounds("one text over HTTP, p50", request_ms, "ms"),
        of_rounds(
            "HTTP + batching over a bare encoder call, one text, p50",
            added_ms,
            "ms",
            "<= 1.5" if bench.is_timed else None,
        ),
    ]

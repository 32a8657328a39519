"""Ten times as many requests as the device can answer, in an open loop."""

from __future__ import annotations

import time
from collections.abc import Sequence

import numpy as np

from benchmarks.figure import Figure
from benchmarks.serving.concurrency import measure_device
from benchmarks.serving.load import Load, open_loop, requests
from benchmarks.serving.scale import Overload
from benchmarks.serving.server_process import Bench, client_core, server_process
from sidecar.batching.encoder import Encoder
from sidecar.settings import MIB

TIMES_CAPACITY = 10
BLOCKS = 20
_T_95 = 2.101  # the quantile of Student's distribution with BLOCKS - 2 degrees of freedom
_CAPACITY_S = 0.5
_CACHE_BYTES = MIB  # full within seconds; the default size would keep filling, and look like a leak
# Open from the start: the server keeps 15 KiB for each, which would look like a leak if they came one by one.
_CONNECTIONS_PER_PLACE = 4
_SETTLED = 1 / 6  # of the run: before, the queue is filling and the allocator still growing


async def measure_overload(bench: Bench, encoder: Encoder, overload: Overload) -> list[Figure]:
    """Capacity is the rate of the encoder alone with full micro-batches, before and after the run."""
    resident: list[tuple[float, float]] = []
    settings = {
        "batch_max_views": overload.max_views,
        "query_queue_views": overload.queue_views,
        "query_cache_bytes": _CACHE_BYTES,
    }
    with server_process(bench, "sidecar", **settings) as server, client_core(bench):

        def watch_memory() -> None:
            resident.append((time.perf_counter(), server.resident_mib()))

        before = _requests_per_s(encoder, overload)
        cpu_s = server.cpu_s()
        rate_per_s = TIMES_CAPACITY * before
        connections = _CONNECTIONS_PER_PLACE * overload.queue_views
        load = await open_loop(
            server.port, requests(overload.texts), rate_per_s, overload.seconds, watch_memory, connections
        )
        watch_memory()
        cpu_us = (server.cpu_s() - cpu_s) / len(load.answers) * 1e6
        capacity = (before + _requests_per_s(encoder, overload)) / 2
    figures = [*_figures(load, capacity, bench), *_memory(resident[int(len(resident) * _SETTLED) :], bench)]
    figures.append(Figure("overload, the server's CPU time for a request, most of them refused", cpu_us, "us"))
    return figures


def _requests_per_s(encoder: Encoder, overload: Overload) -> float:
    return measure_device(encoder, overload.max_views, _CAPACITY_S).texts_per_s / overload.texts


def _figures(load: Load, capacity: float, bench: Bench) -> list[Figure]:
    rejected = load.count(429)
    without_retry_after = sum(answer.status == 429 and not answer.has_retry_after for answer in load.answers)
    rejections_ms = [answer.latency_s * 1000 for answer in load.answers if answer.status == 429]
    timed = bench.is_timed
    return [
        Figure("overload, arrivals / capacity", len(load.answers) / load.duration_s / capacity, "ratio"),
        Figure("overload, goodput / capacity", load.answered_per_s / capacity, "ratio", ">= 0.9" if timed else None),
        Figure("overload, refused with 429", rejected / len(load.answers), "of the requests"),
        Figure("overload, refusals without Retry-After", without_retry_after, "answers", "<= 0" if timed else None),
        Figure(
            "overload, neither 200 nor 429, or no answer",
            len(load.answers) - load.count(200) - rejected,
            "answers",
            "<= 0" if timed else None,
        ),
        Figure("overload, a refusal, p50", float(np.percentile(rejections_ms or [0], 50)), "ms"),
        Figure("overload, a refusal, p95", float(np.percentile(rejections_ms or [0], 95)), "ms"),
        Figure("overload, an answer with its wait in the queue, p95", load.latency_ms(95), "ms"),
        Figure("overload, a request was sent too late by, p99", load.late_ms, "ms"),
    ]


def _memory(resident: Sequence[tuple[float, float]], bench: Bench) -> list[Figure]:
    """Resident memory at the end, and its growth over the settled part of the run."""
    growth, interval = fit_growth(resident)
    return [
        Figure("overload, resident memory of the server", resident[-1][1], "MiB"),
        Figure(
            "overload, growth of resident memory",
            growth,
            "MiB/min",
            "<= 0" if bench.is_timed else None,
            interval=interval,
        ),
    ]


def fit_growth(resident: Sequence[tuple[float, float]]) -> tuple[float, tuple[float, float]]:
    """Slope in MiB a minute of (seconds, MiB), by least squares, and its confidence interval of 95 %.

    The line is fitted to the means of BLOCKS blocks: memory grows in steps, so samples a second apart are not
    independent, and the interval of a line through all of them would be too narrow.
    """
    blocks = [block.mean(axis=0) for block in np.array_split(np.array(resident), BLOCKS) if len(block)]
    seconds, mib = np.array(blocks).T
    minutes = (seconds - seconds.mean()) / 60
    slope = float(minutes @ mib / (minutes @ minutes))
    rest = mib - mib.mean() - slope * minutes
    error = float(np.sqrt(rest @ rest / (len(blocks) - 2) / (minutes @ minutes))) if len(blocks) > 2 else float("inf")
    return slope, (slope - _T_95 * error, slope + _T_95 * error)

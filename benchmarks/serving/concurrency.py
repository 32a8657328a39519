"""Many clients against one, compared with the gain of the device itself and with a naive endpoint."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from typing import TypeAlias

from benchmarks.figure import Figure, of_rounds
from benchmarks.serving.load import closed_loop
from benchmarks.serving.scale import Scale
from benchmarks.serving.server_process import Bench, ServerProcess, client_core, server_process
from sidecar.batching.encoder import Encoder

CLIENTS = 32
MAX_VIEWS = 8
DEFAULT_MAX_VIEWS = 32
_WARM_UP_CLIENTS = 4
TARGET = ">= 0.9"


@dataclass(frozen=True, slots=True)
class Speed:
    """`p95_ms` is that of one call or request."""

    texts_per_s: float
    p95_ms: float


Measure: TypeAlias = Callable[[], Awaitable[Speed]]


class Rounds:
    """Speeds measured in interleaved rounds: `speeds[name]` has one per round."""

    def __init__(self, speeds: Mapping[str, Sequence[Speed]]) -> None:
        self._speeds = speeds

    def texts_per_s(self, name: str) -> list[float]:
        return [speed.texts_per_s for speed in self._speeds[name]]

    def p95_ms(self, name: str) -> list[float]:
        return [speed.p95_ms for speed in self._speeds[name]]

    def ratio(self, name: str, to: str) -> list[float]:
        """Of the rates within a round."""
        return divided(self.texts_per_s(name), self.texts_per_s(to))


def divided(rates: Sequence[float], others: Sequence[float]) -> list[float]:
    return [rate / other for rate, other in zip(rates, others, strict=True)]


async def measure_in_rounds(measures: Mapping[str, Measure], rounds: int) -> Rounds:
    speeds: dict[str, list[Speed]] = {name: [] for name in measures}
    for _ in range(rounds):
        for name, measure in measures.items():
            speeds[name].append(await measure())
    return Rounds(speeds)


async def measure_client_ceiling(bench: Bench, scale: Scale) -> list[Figure]:
    """The most that the client can do; it must be far above the other rates for these to mean anything."""
    with server_process(bench, "canned") as canned, client_core(bench):
        speed = await _run_clients(canned.port, CLIENTS, scale.round_s)
    name = f"ceiling of the client itself, {CLIENTS} clients, canned answers"
    return [Figure(name, speed.texts_per_s, "requests/s")]


async def measure_concurrency(bench: Bench, scale: Scale, encoder: Encoder, default: ServerProcess) -> list[Figure]:
    """Naive endpoint, sidecar and bare encoder in interleaved rounds. `default` is a sidecar with default settings."""
    with (
        server_process(bench, "naive") as naive,
        server_process(bench, "sidecar", batch_max_views=MAX_VIEWS) as sidecar,
        client_core(bench),
    ):
        for server in (naive, sidecar, default):
            await _run_clients(server.port, _WARM_UP_CLIENTS, scale.round_s / 4)
        measures: dict[str, Measure] = {
            "naive, one": partial(_run_clients, naive.port, 1, scale.round_s),
            "sidecar, one": partial(_run_clients, sidecar.port, 1, scale.round_s),
            "device, one": partial(_call_encoder, encoder, 1, scale.round_s / 2),
            "naive": partial(_run_clients, naive.port, CLIENTS, scale.round_s),
            "sidecar": partial(_run_clients, sidecar.port, CLIENTS, scale.round_s),
            "device": partial(_call_encoder, encoder, MAX_VIEWS, scale.round_s / 2),
            "default": partial(_run_clients, default.port, CLIENTS, scale.round_s),
            "device, default": partial(_call_encoder, encoder, DEFAULT_MAX_VIEWS, scale.round_s / 2),
        }
        rounds = await measure_in_rounds(measures, scale.rounds)
    return _figures(rounds, bench)


def _figures(rounds: Rounds, bench: Bench) -> list[Figure]:
    gain, device_gain = rounds.ratio("sidecar", "sidecar, one"), rounds.ratio("device", "device, one")
    default_gain = rounds.ratio("default", "sidecar, one")
    target = TARGET if bench.is_timed else None
    many = f"{CLIENTS} clients"
    return [
        of_rounds("one client, naive endpoint", rounds.texts_per_s("naive, one"), "texts/s"),
        of_rounds("one client, sidecar", rounds.texts_per_s("sidecar, one"), "texts/s"),
        of_rounds(
            f"{many}, naive endpoint (one forward a request)", rounds.texts_per_s("naive"), "texts/s", is_baseline=True
        ),
        of_rounds(f"{many}, sidecar", rounds.texts_per_s("sidecar"), "texts/s"),
        of_rounds(f"{many}, sidecar / naive endpoint", rounds.ratio("sidecar", "naive"), "ratio"),
        of_rounds(f"{many}, p95, naive endpoint", rounds.p95_ms("naive"), "ms", is_baseline=True),
        of_rounds(f"{many}, p95, sidecar", rounds.p95_ms("sidecar"), "ms"),
        of_rounds(f"device alone, {MAX_VIEWS} texts at once / one", device_gain, "ratio"),
        of_rounds(f"{many} / one client, sidecar", gain, "ratio"),
        of_rounds(f"{many} / one client, of what the device gains", divided(gain, device_gain), "ratio", target),
        of_rounds(f"{many}, of the device's own texts/s", rounds.ratio("sidecar", "device"), "ratio", target),
        of_rounds(f"{many}, sidecar, BATCH_MAX_VIEWS {DEFAULT_MAX_VIEWS}", rounds.texts_per_s("default"), "texts/s"),
        of_rounds(
            f"{many} / one client, of what the device gains, BATCH_MAX_VIEWS {DEFAULT_MAX_VIEWS}",
            divided(default_gain, rounds.ratio("device, default", "device, one")),
            "ratio",
        ),
    ]


async def measure_windows(bench: Bench, scale: Scale) -> list[Figure]:
    """The same clients with several windows: the effect of GATHERING (batcher.py), and of waiting longer."""
    with ExitStack() as servers:
        measures: dict[str, Measure] = {}
        for window_ms in scale.windows_ms:
            server = servers.enter_context(server_process(bench, "sidecar", batch_window_ms=window_ms))
            name = f"{CLIENTS} clients, BATCH_MAX_VIEWS {DEFAULT_MAX_VIEWS}, BATCH_WINDOW_MS {window_ms}"
            measures[name] = partial(_run_clients, server.port, CLIENTS, scale.round_s / 2)
        servers.enter_context(client_core(bench))
        rounds = await measure_in_rounds(measures, 2 * scale.rounds)
    return [of_rounds(name, rounds.texts_per_s(name), "texts/s") for name in measures]


async def _run_clients(port: int, clients: int, seconds: float) -> Speed:
    load = await closed_loop(port, clients, seconds)
    load.check_all_answered()
    return Speed(load.answered_per_s, load.latency_ms(95))


async def _call_encoder(encoder: Encoder, texts: int, seconds: float) -> Speed:
    """Call the encoder itself, one micro-batch after another."""
    return measure_device(encoder, texts, seconds)


def measure_device(encoder: Encoder, texts: int, seconds: float) -> Speed:
    """Call the encoder with micro-batches of that many texts, tokenised beforehand. Blocks for `seconds`."""
    prepared = encoder.prepare_texts([f"a photo of bicycle number {number}" for number in range(texts)])
    began = time.perf_counter()
    calls = 0
    while (passed := time.perf_counter() - began) < seconds:
        encoder.encode_texts(prepared)
        calls += 1
    return Speed(calls * texts / passed, passed / calls * 1000)

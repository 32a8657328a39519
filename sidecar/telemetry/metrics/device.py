"""Metrics of the device: its name and precision, the micro-batches that it runs, and its memory."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Protocol, runtime_checkable

from prometheus_client import CollectorRegistry, Counter, Gauge
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from sidecar.telemetry.metrics.instruments import DURATION_BUCKETS_S, VIEW_BUCKETS, BulkHistogram, PreinitialisedCounter

_KINDS = ("text", "picture", "pair")


@runtime_checkable
class DeviceFacts(Protocol):
    """What an encoder may report about its device. Optional: without it, the metrics have fewer values."""

    @property
    def device_name(self) -> str:
        """The GPU's product name, else `cpu` or `mps`."""
        ...

    @property
    def precision(self) -> str:
        """`bf16`, `fp16` or `fp32`."""
        ...

    def device_memory(self) -> Mapping[str, int]:
        """Bytes by state: allocated, reserved, free, total; empty if unknown. Any thread may call."""
        ...


class DeviceMetrics:
    """Micro-batches by kind (text, picture, pair), and the loaded model."""

    def __init__(self, registry: CollectorRegistry) -> None:
        def counter(name: str, documentation: str) -> PreinitialisedCounter:
            return PreinitialisedCounter(name, documentation, "kind", _KINDS, registry)

        def histogram(name: str, documentation: str, buckets: tuple[float, ...]) -> BulkHistogram:
            return BulkHistogram(name, documentation, ["kind"], buckets, registry)

        self.batch_views = histogram("sidecar_micro_batch_views", "Views or pairs per micro-batch.", VIEW_BUCKETS)
        self.batch_seconds = histogram(
            "sidecar_micro_batch_duration_seconds", "Time that a micro-batch occupies the device.", DURATION_BUCKETS_S
        )
        self.encoded = Counter(
            "sidecar_device_views_total",
            "Views or pairs sent to the device.",
            ["kind", "lane"],
            registry=registry,
        )
        self.duplicates = counter(
            "sidecar_duplicate_views_total", "Views not encoded because the micro-batch held an identical one."
        )
        self.errors = counter("sidecar_device_errors_total", "Micro-batches that failed on the device.")
        self.out_of_memory = counter(
            "sidecar_device_out_of_memory_total", "Micro-batches too large for the device's memory."
        )
        self.not_finite = counter(
            "sidecar_results_not_finite_total", "Texts, views or pairs for which the model computed no finite numbers."
        )
        self.trouble = Gauge(
            "sidecar_device_trouble",
            "1: no device works, /readyz answers 503, and the process exits unless one recovers.",
            registry=registry,
        )
        self.working = Gauge(
            "sidecar_device_working",
            "1: the device takes part; 0: it is failing, hanging or lost. Others go on without it.",
            ["device"],
            registry=registry,
        )
        self._busy = Counter(
            "sidecar_device_busy_seconds_total",
            "Time that micro-batches occupied the device.",
            ["device"],
            registry=registry,
        )
        self._retries = Counter(
            "sidecar_device_retries_total",
            "Inputs that failed on the device and were tried again on another one.",
            ["device"],
            registry=registry,
        )
        self.memory = _MemoryGauge(registry)
        self._model = Gauge(
            "sidecar_model_info",
            "1 for the loaded model. Vectors can be compared only if their fingerprints are equal.",
            ["model", "fingerprint", "precision", "device", "dimensions"],
            registry=registry,
        )

    def set_model(self, model: str, fingerprint: str, dimensions: int, encoders: Mapping[str, object]) -> None:
        """`encoders`: by name of their device. Precision, product and memory are known of those with DeviceFacts."""
        facts = {device: encoder for device, encoder in encoders.items() if isinstance(encoder, DeviceFacts)}
        for precision, name in {(each.precision, each.device_name) for each in facts.values()} or {("", "")}:
            self._model.labels(model, fingerprint, precision, name, str(dimensions)).set(1)
        self.memory.read = {device: each.device_memory for device, each in facts.items()}
        for device in encoders:
            self._busy.labels(device)
            self._retries.labels(device)

    def record_use(self, device: str, duration_s: float, retries: int) -> None:
        """Counts a micro-batch."""
        self._busy.labels(device).inc(duration_s)
        self._retries.labels(device).inc(retries)


class _MemoryGauge(Collector):
    """Memory of each GPU, read at each scrape. On a CPU it is empty: see process_resident_memory_bytes."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.read: Mapping[str, Callable[[], Mapping[str, int]]] = {}
        registry.register(self)

    def describe(self) -> Iterator[Metric]:
        yield self._family()

    def collect(self) -> Iterator[Metric]:
        family = self._family()
        for device, read in self.read.items():
            for state, size_bytes in read().items():
                family.add_metric([device, state], size_bytes)
        yield family

    def _family(self) -> GaugeMetricFamily:
        text = "GPU memory, by state: allocated and reserved by this process, free and total of the GPU."
        return GaugeMetricFamily("sidecar_device_memory_bytes", text, labels=["device", "state"])

"""Export of spans to a collector in the background. If it is slow or down, that costs one log line a minute."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Sequence
from urllib.parse import urlsplit

from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.util.re import parse_env_headers
from pydantic import SecretStr

logger = logging.getLogger(__name__)

_WARN_INTERVAL_S = 60.0
_MAX_QUEUED_SPANS = 8192  # some 20 MB; beyond that the newest are dropped
_MAX_BATCH_SPANS = 512
_EXPORT_TIMEOUT_S = 10.0
# These log every failed attempt, of which _ReportingExporter warns once a minute.
_LOGGERS = ("opentelemetry.exporter.otlp.proto.http.trace_exporter", "opentelemetry.sdk._shared_internal")


class SpanExport:
    """Sends spans in batches, in a thread. Its `processor` is for the tracer provider."""

    def __init__(self, endpoint: str, headers: SecretStr | None) -> None:
        self._reason = _CaptureLastMessage()
        for name in _LOGGERS:
            logging.getLogger(name).addFilter(self._reason)
        self._exporter = _ReportingExporter(endpoint, headers, self._reason)
        self.processor = BatchSpanProcessor(
            self._exporter, max_queue_size=_MAX_QUEUED_SPANS, max_export_batch_size=_MAX_BATCH_SPANS
        )

    def close(self, timeout_s: float) -> None:
        """Sends the queued spans, for at most `timeout_s`. Blocks."""
        closing = threading.Thread(target=self.processor.shutdown, name="trace-export-closing", daemon=True)
        closing.start()
        closing.join(0.8 * timeout_s)
        self._exporter.shutdown()  # stops retries of an export in flight
        closing.join(0.2 * timeout_s)
        for name in _LOGGERS:
            logging.getLogger(name).removeFilter(self._reason)


class _ReportingExporter(SpanExporter):
    """Exports spans, counts lost ones and warns of them once a minute. Used by one thread at a time."""

    def __init__(self, endpoint: str, headers: SecretStr | None, reason: _CaptureLastMessage) -> None:
        self._reason = reason
        parts = urlsplit(endpoint)
        self._collector = f"{parts.scheme}://{parts.hostname}:{parts.port or (443 if parts.scheme == 'https' else 80)}"
        self._exporter = OTLPSpanExporter(
            endpoint=f"{endpoint.rstrip('/')}/v1/traces",
            headers=parse_env_headers(headers.get_secret_value(), liberal=True) if headers else None,
            timeout=_EXPORT_TIMEOUT_S,
        )
        self._lost = 0
        self._warned_at = float("-inf")
        self._closed = threading.Event()

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        if self._closed.is_set():
            return SpanExportResult.FAILURE
        result = self._exporter.export(spans)
        if result is SpanExportResult.SUCCESS:
            if self._lost:
                logger.info("%s takes traces again; %d spans were lost", self._collector, self._lost)
            self._lost, self._warned_at = 0, float("-inf")
        else:
            self._lost += len(spans)
            self._warn()
        return result

    def shutdown(self) -> None:
        """May be called again."""
        if not self._closed.is_set():
            self._closed.set()
            self._exporter.shutdown()  # type: ignore[no-untyped-call]

    def _warn(self) -> None:
        if time.monotonic() - self._warned_at >= _WARN_INTERVAL_S:
            self._warned_at = time.monotonic()
            logger.warning(
                "%s takes no traces, %d spans are lost so far: %s", self._collector, self._lost, self._reason.text
            )


class _CaptureLastMessage(logging.Filter):
    """Suppresses the log records of the exporter, and keeps the last message as the reason of a failure."""

    def __init__(self) -> None:
        super().__init__()
        self.text = "no reason given"

    def filter(self, record: logging.LogRecord) -> bool:
        self.text = record.getMessage()
        return False

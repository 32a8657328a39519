"""The export of traces when the process stops."""

from __future__ import annotations

import time
from pathlib import Path

import httpx

from tests.collector import running_collector
from tests.integration.server.process import sidecar_process
from tests.ports import find_free_port

PROGRAM = ("-m", "tests.integration.server.program", "hash")
SHUTDOWN_TIMEOUT_S = 4  # what sidecar_process gives


def test_the_last_spans_are_exported_before_it_exits(tmp_path: Path) -> None:
    with (
        running_collector() as collector,
        sidecar_process(
            tmp_path, PROGRAM, OTEL_EXPORTER_OTLP_ENDPOINT=collector.url, OTEL_SERVICE_NAME="search"
        ) as process,
    ):
        process.await_ready()
        assert httpx.post(f"{process.url}/embed/text", json={"text": "a"}).status_code == 200
        assert collector.named("POST /embed/text") == []  # they go in batches
        process.stop()
        assert process.exit_code() == 0
        assert collector.one("POST /embed/text").resource["service.name"] == "search"


def test_a_collector_that_is_down_affects_neither_requests_nor_shutdown(tmp_path: Path) -> None:
    port = find_free_port()
    with sidecar_process(tmp_path, PROGRAM, OTEL_EXPORTER_OTLP_ENDPOINT=f"http://127.0.0.1:{port}") as process:
        process.await_ready()
        with httpx.Client(base_url=process.url) as client:
            answers = [client.post("/embed/text", json={"text": str(number)}) for number in range(200)]
        process.stop()
        began_s = time.monotonic()
        assert process.exit_code() == 0
        assert time.monotonic() - began_s < SHUTDOWN_TIMEOUT_S
    assert {answer.status_code for answer in answers} == {200}
    assert "Traceback" not in process.log
    assert process.log.count("takes no traces") <= 1
    assert process.log.count("opentelemetry") == 0


def test_a_collector_that_hangs_does_not_delay_the_exit(tmp_path: Path) -> None:
    with running_collector() as collector:
        collector.may_respond.clear()
        with sidecar_process(tmp_path, PROGRAM, OTEL_EXPORTER_OTLP_ENDPOINT=collector.url) as process:
            process.await_ready()
            assert httpx.post(f"{process.url}/embed/text", json={"text": "a"}).status_code == 200
            process.stop()
            began_s = time.monotonic()
            assert process.exit_code() == 0
            assert time.monotonic() - began_s < SHUTDOWN_TIMEOUT_S

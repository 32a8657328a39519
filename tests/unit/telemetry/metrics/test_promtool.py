"""Prometheus's linter checks a page on which every metric has a sample."""

from __future__ import annotations

import shutil
import subprocess

import pytest

from sidecar.app import make_telemetry
from sidecar.config import Settings
from sidecar.telemetry.metrics.watches import WatchReading
from sidecar.telemetry.objectives import Objectives
from sidecar.telemetry.telemetry import Stage, Telemetry
from sidecar.telemetry.traces import BatchedJob, MicroBatchReport
from tests.scrape import read

READING = WatchReading(
    "public.items.embedding", 1, 1, 1, 1, 0.5, 1.0, broken=True, paused=True, rows_per_s=3.0, recall=0.9
)


def complete_telemetry() -> Telemetry:
    """Telemetry with at least one sample of every metric."""
    telemetry = make_telemetry(Settings(), Objectives(Settings()))
    for stage in Stage:
        with telemetry.stage(stage, "ingest", "claim"):
            pass
    telemetry.request_started()
    telemetry.request_done("/embed/text", "POST", 200, 0.1)
    telemetry.micro_batch_done(MicroBatchReport("text", 1, 0.02, [BatchedJob("query", 1, 0.01, None)], "DeviceError"))
    telemetry.events_done('public."odd\n\\name".é', {("failed", "not_a_picture"): 1})
    telemetry.vectors_committed("public.items.embedding", [0.1], [0.2])
    telemetry.set_listener_connected(connected=True)
    telemetry.sql_query_answered("embedded", 0.02)
    telemetry.access_denied("rate_limited", "shop")
    telemetry.metrics.watches.set_readings([READING])
    telemetry.metrics.lanes.set_depth("query", waiting=1, reserved=1, running=1, capacity=3)
    telemetry.metrics.device.set_model("model", "fingerprint", 16, {"cuda:0": None})
    telemetry.metrics.device.memory.read = {"cuda:0": lambda: {"allocated": 5}}
    telemetry.metrics.device.working.labels("cuda:0").set(1)
    return telemetry


@pytest.mark.skipif(shutil.which("promtool") is None, reason="promtool is not installed (Debian: prometheus)")
def test_promtool_finds_no_fault_in_any_metric() -> None:
    page, _ = complete_telemetry().metrics.expose("")
    assert [name for name, family in read(page.decode()).families.items() if not family.samples] == []
    checked = subprocess.run(["promtool", "check", "metrics"], input=page, capture_output=True, check=False)
    assert (checked.returncode, checked.stdout + checked.stderr) == (0, b"")

"""Metrics of the model and its device."""

from __future__ import annotations

import pytest
import torch

from sidecar.model.device import read_device_memory
from sidecar.model.open_clip_encoder import OpenClipEncoder
from sidecar.telemetry.metrics.device import DeviceFacts
from sidecar.telemetry.metrics.registry import Metrics
from tests.scrape import read_registry


def test_the_metrics_name_the_model_its_device_and_its_precision(tiny_encoder: OpenClipEncoder) -> None:
    assert isinstance(tiny_encoder, DeviceFacts)
    encoder, metrics = tiny_encoder, Metrics()
    metrics.device.set_model(encoder.model_id, encoder.fingerprint, encoder.dimensions, {"cuda:0": encoder})
    page = read_registry(metrics.registry)
    labels = {"model": encoder.model_id, "fingerprint": encoder.fingerprint, "precision": "fp32", "device": "cpu"}
    assert page.value("sidecar_model_info", **labels, dimensions=str(encoder.dimensions)) == 1
    assert page.by("sidecar_device_memory_bytes", "state") == {}


def test_a_failed_gpu_does_not_affect_other_metrics() -> None:
    assert read_device_memory(torch.device("cuda:99")) == {}


@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU")
def test_a_gpu_reports_its_memory() -> None:
    device = torch.device("cuda:0")
    before = read_device_memory(device)
    held = torch.zeros(1 << 24, dtype=torch.uint8, device=device)
    after = read_device_memory(device)
    assert after["allocated"] - before["allocated"] >= held.numel()
    assert after["allocated"] <= after["reserved"] <= after["total"]
    assert after["free"] <= after["total"]

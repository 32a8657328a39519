"""What `sidecar export` prints of the comparison."""

from __future__ import annotations

from pathlib import Path

import pytest

from sidecar.cli.export import print_parity, serving_command
from sidecar.config import load_settings
from sidecar.model.exports.parity import Parity


def test_every_figure_of_the_comparison_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    print_parity(Parity("openvino", "bf16", 0.99998, 0.99993, 0.995, 1e-7, 1.61))
    assert capsys.readouterr().out == (
        "openvino in bf16, beside PyTorch in fp32 on this machine's CPU:\n"
        "    texts     cosine at least 0.999980\n"
        "    pictures  cosine at least 0.999930\n"
        "    searches  99.5% of the ten nearest pictures are the same\n"
        "    speed     1.61 times as many pictures per second\n"
    )


def test_the_command_that_serves_an_export_names_its_model() -> None:
    """Variables before a command are gone after it: `VISION_MODEL_ID=demo sidecar export`."""
    settings = load_settings({"VISION_MODEL_ID": "demo", "REQUIRE_CUDA": "0"})
    assert serving_command(settings, Path("my export")) == (
        "ENCODER_BACKEND=onnx EXPORT_DIR='my export' VISION_MODEL_ID=demo REQUIRE_CUDA=0 sidecar serve"
    )
    assert "REQUIRE_CUDA" not in serving_command(load_settings({}), Path("export"))

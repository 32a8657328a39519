"""benchmarks/gpu.py runs its own code on the CPU, where some of the ways exist and others are reported to fail."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import orjson
import pytest
import torch

from benchmarks.gpu import main

WAYS = ("eager", "graphs", "as served", "onnx")


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a GPU")
def test_without_a_gpu_it_says_so_and_how_to_try_it() -> None:
    with pytest.raises(SystemExit) as ended:
        main([])
    assert ended.value.code == (
        "ERROR: REQUIRE_CUDA=1: PyTorch finds no CUDA GPU on this machine\n"
        "HINT: To try the script without one: python -m benchmarks.gpu --device cpu --model demo --quick"
    )


def test_a_file_that_cannot_be_written_is_refused_before_anything_is_measured(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["--device", "cpu", "--model", "demo", "--quick", "--only", "eager", "--json", "/nowhere/figures.json"])
    assert ended.value.code == 2
    assert "--json: there is no folder /nowhere" in capsys.readouterr().err


@pytest.mark.timeout(300)
def test_each_way_is_timed_and_compared_or_says_why_it_failed(tmp_path: Path) -> None:
    file = tmp_path / "figures.json"
    options = ("--device", "cpu", "--model", "demo", "--quick", "--only", ",".join(WAYS), "--json", str(file))
    command = [sys.executable, "-m", "benchmarks.gpu", *options]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr
    report = orjson.loads(file.read_bytes())
    assert tuple(report["ways"]) == WAYS
    for name in ("eager", "as served"):
        way = report["ways"][name]
        assert way["failures"] == []
        assert min(way["least_cosine_to_fp32"].values()) > 0.9999
        assert all(set(way["batches"][kind]) == {"1", "3"} for kind in ("texts", "pictures"))
    for name, reason in (("graphs", "cuda"), ("onnx", "no --export DIR was given: write one with sidecar export")):
        (failure,) = report["ways"][name]["failures"]
        assert reason in failure.lower() or reason == failure
        assert f"{name}: {failure}" in ended.stdout
    goals = {figure["target"] for figure in report["figures"] if figure["target"]}
    assert goals == {">= 640", ">= 85", ">= 6,000", "<= 2", ">= 0.95"}
    assert all(figure["value"] > 0 for figure in report["figures"])

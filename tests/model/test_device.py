from __future__ import annotations

import logging
from pathlib import Path

import pytest
import torch

from sidecar.errors import ConfigurationError
from sidecar.model.device import ComputeDevice, choose_device, choose_devices, choose_gpus
from tests.model.variants import settings_for

pytestmark = pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a GPU")


def warnings_of(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]


def test_fp16_on_a_cpu_falls_back_with_a_warning(caplog: pytest.LogCaptureFixture) -> None:
    assert choose_device(settings_for(Path("any"), MODEL_PRECISION="fp16")).precision == "fp32"
    assert warnings_of(caplog) == ["MODEL_PRECISION=fp16: slower than fp32 on a CPU and no more exact, using fp32"]


def test_bf16_is_used_on_a_cpu_that_computes_it_natively(caplog: pytest.LogCaptureFixture) -> None:
    native = torch.cpu.get_capabilities().get("avx512_bf16") or torch.cpu.get_capabilities().get("amx_bf16")
    chosen = choose_device(settings_for(Path("any"), MODEL_PRECISION="bf16"))
    if native:
        assert (chosen.precision, chosen.dtype, warnings_of(caplog)) == ("bf16", torch.bfloat16, [])
    else:
        assert chosen.precision == "fp32"
        assert warnings_of(caplog) == ["MODEL_PRECISION=bf16: cpu does not compute bf16 natively, using fp32"]


def test_a_missing_gpu_is_ignored_with_a_warning(caplog: pytest.LogCaptureFixture) -> None:
    chosen = choose_device(settings_for(Path("any"), CUDA_DEVICE="cuda:1"))
    assert chosen.device.type in ("cpu", "mps")
    assert warnings_of(caplog)[0].startswith("CUDA_DEVICE=cuda:1 is ignored")


def test_a_cpu_with_bf16_matrices_uses_them_for_large_models_unless_told_otherwise() -> None:
    has_matrices = bool(torch.cpu.get_capabilities().get("amx_bf16"))
    unset = choose_device(settings_for(Path("any")))
    assert unset.for_model(877_960_000).precision == ("bf16" if has_matrices else "fp32")
    assert unset.for_model(15_000_000).precision == "fp32"
    assert choose_device(settings_for(Path("any"), MODEL_PRECISION="fp32")).for_model(877_960_000).precision == "fp32"


@pytest.mark.parametrize(("parameters", "precision"), [(877_960_000, "bf16"), (15_000_000, "fp32")])
def test_the_number_format_follows_the_size_of_the_model(parameters: int, precision: str) -> None:
    assert ComputeDevice(torch.device("cpu"), "fp32", True).for_model(parameters).precision == precision
    assert ComputeDevice(torch.device("cpu"), "fp32").for_model(parameters).precision == "fp32"


@pytest.mark.parametrize("wanted", ["all", "cuda:0,cuda:2"])
def test_without_gpus_several_are_the_cpu_with_a_warning(wanted: str, caplog: pytest.LogCaptureFixture) -> None:
    assert [device.device.type for device in choose_devices(settings_for(Path("any"), CUDA_DEVICE=wanted))] == ["cpu"]
    assert warnings_of(caplog) == [f"CUDA_DEVICE={wanted} is ignored: PyTorch finds no CUDA GPU, using cpu"]


@pytest.mark.parametrize(
    ("wanted", "chosen"),
    [
        ("", ["cuda:0"]),
        ("cuda", ["cuda:0"]),
        ("CUDA:2", ["cuda:2"]),
        ("all", ["cuda:0", "cuda:1", "cuda:2"]),
        ("cuda:2, cuda:0", ["cuda:2", "cuda:0"]),
    ],
)
def test_cuda_device_names_gpus(wanted: str, chosen: list[str]) -> None:
    assert choose_gpus(settings_for(Path("any"), CUDA_DEVICE=wanted), 3) == chosen


def test_gpus_that_are_not_there_are_refused_with_those_that_are() -> None:
    settings = settings_for(Path("any"), CUDA_DEVICE="cuda:1,cuda:3,cuda:4")
    with pytest.raises(ConfigurationError) as caught:
        choose_gpus(settings, 3)
    missing = "CUDA_DEVICE='cuda:1,cuda:3,cuda:4': there is no cuda:3 and no cuda:4 here"
    assert caught.value.problems == [f"{missing}; allowed: cuda:0, cuda:1, cuda:2, all"]


def test_a_gpu_that_is_named_twice_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="CUDA_DEVICE='cuda:1,cuda:1': cuda:1 is named twice"):
        settings_for(Path("any"), CUDA_DEVICE="cuda:1,cuda:1")

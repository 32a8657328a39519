"""Chooses the device and the number format to compute in, and reads the device's memory."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch

from sidecar.config import Settings
from sidecar.errors import ConfigurationError
from sidecar.model.precision import Precision

logger = logging.getLogger(__name__)

_DTYPES: dict[Precision, torch.dtype] = {"bf16": torch.bfloat16, "fp16": torch.float16, "fp32": torch.float32}

# Parameters from which a CPU with AMX computes in bf16. Of So400m (878 million) a picture took a quarter of the time of
# fp32; of the demo's model most of the time goes into small steps, and fp32 is exact. With AVX-512's bf16 alone
# PyTorch's products were no faster (0.95 of fp32's rate; with AMX 5.7).
_LARGE_MODEL = 100_000_000

_NO_CUDA = (
    "REQUIRE_CUDA=1: PyTorch finds no CUDA GPU on this machine\n"
    "HINT: Check the driver with nvidia-smi, and that PyTorch is a CUDA build; or run on the CPU with REQUIRE_CUDA=0, "
    "which is much slower (VISION_MODEL_ID=demo is made for it)."
)


@dataclass(frozen=True, slots=True)
class ComputeDevice:
    """A device and the number format used on it, which for a large model may be bf16 instead."""

    device: torch.device
    precision: Precision
    prefers_bf16_if_large: bool = False

    def for_model(self, parameters: int) -> ComputeDevice:
        """The same device; computes a model with many `parameters` in bf16 where that is faster."""
        if self.prefers_bf16_if_large and parameters >= _LARGE_MODEL:
            return ComputeDevice(self.device, "bf16")
        return ComputeDevice(self.device, self.precision)

    @property
    def dtype(self) -> torch.dtype:
        return _DTYPES[self.precision]

    @property
    def memory_format(self) -> torch.memory_format:
        """Of weights and pictures: channels last on GPUs, which are fast in it.

        Not on a CPU: with AVX2 alone oneDNN's convolutions in it are inexact. On equal pixels one picture of five
        agreed with the same model in double precision to a cosine of 0.993; in the contiguous format all did to 1.000.
        """
        return torch.channels_last if self.device.type == "cuda" else torch.contiguous_format

    @property
    def id(self) -> str:
        """`cuda:0`, `cpu` or `mps`."""
        return str(self.device)

    @contextmanager
    def current(self) -> Iterator[None]:
        """Makes a GPU the current one of this thread: what is allocated, compiled or recorded then belongs to it."""
        if self.device.type != "cuda":
            yield
            return
        with torch.cuda.device(self.device):
            yield

    @property
    def name(self) -> str:
        """Name for display: the GPU's product name, else `cpu` or `mps`."""
        return torch.cuda.get_device_name(self.device) if self.device.type == "cuda" else self.device.type


def choose_devices(settings: Settings) -> list[ComputeDevice]:
    """The CUDA GPUs that the settings name, if there is any; otherwise, with `REQUIRE_CUDA=0`, MPS or the CPU.

    All compute in the same precision. Cheap, so that a wrong setting is reported before the model is loaded. Raises
    ConfigurationError.
    """
    devices = _choose_hardware(settings)
    chosen = _choose_precision(settings.model_precision, devices)
    prefers_bf16 = settings.model_precision is None and _is_cpu_for_bf16(devices[0])
    return [ComputeDevice(device, chosen, prefers_bf16) for device in devices]


def choose_device(settings: Settings) -> ComputeDevice:
    """The first of `choose_devices`."""
    return choose_devices(settings)[0]


def _is_cpu_for_bf16(device: torch.device) -> bool:
    return device.type == "cpu" and bool(torch.cpu.get_capabilities().get("amx_bf16"))


def _choose_hardware(settings: Settings) -> list[torch.device]:
    if torch.cuda.is_available():
        return [torch.device(name) for name in choose_gpus(settings, torch.cuda.device_count())]
    if settings.require_cuda:
        raise ConfigurationError([_NO_CUDA])
    device = torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    if settings.cuda_device is not None:
        logger.warning("CUDA_DEVICE=%s is ignored: PyTorch finds no CUDA GPU, using %s", settings.cuda_device, device)
    return [device]


def choose_gpus(settings: Settings, count: int) -> list[str]:
    """The names of the GPUs that CUDA_DEVICE names, of the `count` that there are; the first one if unset.

    Raises ConfigurationError if there is no such GPU.
    """
    present = [f"cuda:{number}" for number in range(count)]
    if settings.cuda_devices == ("all",):
        return present
    if missing := [name for name in settings.cuda_devices if name not in present]:
        problem = f"CUDA_DEVICE={settings.cuda_device!r}: there is no {' and no '.join(missing)} here"
        raise ConfigurationError([f"{problem}; allowed: {', '.join(present)}{', all' if count > 1 else ''}"])
    return list(settings.cuda_devices)


def _choose_precision(wanted: Precision | None, devices: Sequence[torch.device]) -> Precision:
    """If unset, bf16 on GPUs that all compute it natively, else fp32, which `for_model` may change on a CPU."""
    device = devices[0]
    without_bf16 = [device for device in devices if not computes_bf16(device)] if wanted != "fp32" else []
    if wanted is None:
        if 0 < len(without_bf16) < len(devices):
            logger.warning(
                "CUDA_DEVICE: %s does not compute bf16 natively, so all GPUs compute in fp32, which is slower; "
                "MODEL_PRECISION=fp16 is another choice",
                " and ".join(map(str, without_bf16)),
            )
        return "bf16" if device.type == "cuda" and not without_bf16 else "fp32"
    if wanted == "bf16" and without_bf16:
        fallback: Precision = "fp32" if device.type == "cpu" else "fp16"
        logger.warning("MODEL_PRECISION=bf16: %s does not compute bf16 natively, using %s", without_bf16[0], fallback)
        return fallback
    if wanted == "fp16" and device.type == "cpu":
        logger.warning("MODEL_PRECISION=fp16: slower than fp32 on a CPU and no more exact, using fp32")
        return "fp32"
    return wanted


def computes_bf16(device: torch.device) -> bool:
    """Whether the device has bf16 products of its own."""
    if device.type == "cuda":
        return torch.cuda.get_device_capability(device) >= (8, 0)
    if device.type == "mps":
        return torch.backends.mps.is_macos_or_newer(14, 0)
    capabilities = torch.cpu.get_capabilities()
    return any(capabilities.get(name) for name in ("avx512_bf16", "amx_bf16", "bf16"))


def read_device_memory(device: torch.device) -> Mapping[str, int]:
    """Memory in bytes by state, for the metrics; empty for the CPU. Thread-safe.

    `allocated` and `reserved` are this process's; `free` and `total` are the device's, which others may use too.
    Empty also for a device that has failed: the other metrics are needed then more than ever.
    """
    try:
        return _read_memory(device)
    except RuntimeError as error:
        logger.debug("The device does not report its memory: %s", error)
        return {}


def _read_memory(device: torch.device) -> Mapping[str, int]:
    if device.type == "cuda":
        free, total = torch.cuda.mem_get_info(device)
        return {
            "allocated": torch.cuda.memory_allocated(device),
            "reserved": torch.cuda.memory_reserved(device),
            "free": free,
            "total": total,
        }
    if device.type == "mps":
        return {
            "allocated": torch.mps.current_allocated_memory(),
            "reserved": torch.mps.driver_allocated_memory(),
            "total": torch.mps.recommended_max_memory(),
        }
    return {}

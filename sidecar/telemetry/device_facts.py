"""What an encoder may tell of its device, besides encoding on it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol, runtime_checkable


@runtime_checkable
class DeviceFacts(Protocol):
    """An encoder without it is served just the same."""

    @property
    def device_name(self) -> str:
        """The GPU's product name, else `cpu` or `mps`."""
        ...

    @property
    def precision(self) -> str:
        """`bf16`, `fp16` or `fp32`."""
        ...

    def device_memory(self) -> Mapping[str, int]:
        """Bytes, by state: allocated, reserved, free, total. Any thread may ask. Empty where nothing is counted."""
        ...

"""The devices of the process: one copy of the model on each, and which of them work."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeVar, runtime_checkable

from sidecar.batching.device_health import DeviceHealth, HealthLimits, guard_devices
from sidecar.batching.encoder import Encoder
from sidecar.errors import ModelError

Result = TypeVar("Result")


@runtime_checkable
class _HasDeviceId(Protocol):
    """An encoder that names its device: `cuda:0`, `cpu` or `mps`."""

    @property
    def device_id(self) -> str: ...


@dataclass(frozen=True, slots=True)
class Device:
    """A device with its copy of the model. `number` counts from 0; `name` is `cuda:0`, `cpu` or `mps`."""

    number: int
    name: str
    encoder: Encoder
    health: DeviceHealth


@dataclass(frozen=True, slots=True)
class DeviceState:
    """A device, for display. `trouble`: why it is not used, None while it works."""

    device: str
    trouble: str | None


class Devices:
    """All devices. The process can be relied upon while at least one works, and ends once all are given up."""

    def __init__(self, encoders: Sequence[Encoder], limits: HealthLimits | None = None) -> None:
        """One encoder or more, copies of one model. Raises ModelError if their vectors cannot be compared."""
        _check_fingerprints(encoders)
        names = _names_of(encoders)
        self._all = [
            Device(number, name, encoder, self._health_of(number, name if len(names) > 1 else "", limits))
            for number, (name, encoder) in enumerate(zip(names, encoders, strict=True))
        ]

    def __len__(self) -> int:
        return len(self._all)

    def __iter__(self) -> Iterator[Device]:
        return iter(self._all)

    def __getitem__(self, number: int) -> Device:
        return self._all[number]

    @property
    def encoder(self) -> Encoder:
        """The first copy: for what is equal in all of them, and for preparing inputs."""
        return self._all[0].encoder

    @property
    def working(self) -> list[Device]:
        return [device for device in self._all if device.health.trouble is None]

    @property
    def trouble(self) -> str | None:
        """Why no device can be relied upon; None while one works."""
        troubles = [device.health.describe() for device in self._all]
        return "; ".join(troubles) if all(troubles) else None

    @property
    def states(self) -> list[DeviceState]:
        return [DeviceState(device.name, device.health.trouble) for device in self._all]

    def other_works(self, device: Device) -> bool:
        """Whether a device besides this one works."""
        return any(other is not device and other.health.trouble is None for other in self._all)

    def may_take(self, device: Device) -> bool:
        """Whether a device may take work: not in trouble, unless all are."""
        return device.health.trouble is None or not self.other_works(device)

    async def guard(self, work: Awaitable[Result], on_check: Callable[[], object] = lambda: None) -> Result:
        """The result of `work`. Once all devices are given up, cancels `work` and raises DeviceLost."""
        return await guard_devices([device.health for device in self._all], work, on_check)

    def _health_of(self, number: int, name: str, limits: HealthLimits | None) -> DeviceHealth:
        def others() -> list[str]:
            return [device.name for device in self.working if device.number != number]

        return DeviceHealth(limits, name, others)


def _names_of(encoders: Sequence[Encoder]) -> list[str]:
    names = [each.device_id if isinstance(each, _HasDeviceId) else f"device:{n}" for n, each in enumerate(encoders)]
    return names if len(set(names)) == len(names) else [f"{name}#{n}" for n, name in enumerate(names)]


def _check_fingerprints(encoders: Sequence[Encoder]) -> None:
    fingerprints = sorted({encoder.fingerprint for encoder in encoders})
    if len(fingerprints) > 1:
        raise ModelError(
            f"the devices hold different models, with the fingerprints {', '.join(fingerprints)}: their vectors cannot "
            "be compared. Did the model's files change while they were being loaded?"
        )

"""The CPUs that this process may use, and its NVIDIA GPUs.

CPUs are those of its affinity, as far as the quota of its control group goes.

A container limited to two CPUs of a host with 64 sees all 64 in `os.cpu_count()` and in its affinity; threads for each
of them would use up its quota early in every period, and then all stand still.
"""

from __future__ import annotations

import math
import os
import platform
from collections.abc import Iterator
from pathlib import Path

_GROUPS = "proc/self/cgroup"
_MOUNT = "sys/fs/cgroup"


def count_cpus(root: Path = Path("/")) -> int:
    """At least 1. Part of a CPU counts as one. `root`: of the file system with the control groups."""
    return max(1, math.ceil(min(_count_affinity(), _read_quota(root))))


def count_cpus_of_quota(root: Path = Path("/")) -> int | None:
    """`count_cpus` if a quota makes it less than the affinity; None if not. Libraries know the affinity only."""
    cpus = count_cpus(root)
    return cpus if cpus < _count_affinity() else None


def count_gpus(root: Path = Path("/")) -> int:
    """NVIDIA GPUs whose device files are here; a container has those of its own. 0 if there are none.

    Asks no library, which would take seconds to load: good enough to choose sizes by.
    """
    return sum(path.name.removeprefix("nvidia").isdigit() for path in (root / "dev").glob("nvidia[0-9]*"))


def _count_affinity() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _read_quota(root: Path) -> float:
    """CPUs by the least quota of the process's control groups, infinite if there is none."""
    return min((quota for folder in _find_groups(root) for quota in _quotas(folder)), default=math.inf)


def _find_groups(root: Path) -> Iterator[Path]:
    """The folders of the process's groups and of those around them, whose quotas apply too.

    In a container the path may be that of the host, which is not visible there: its own group is then at the top.
    """
    try:
        lines = (root / _GROUPS).read_text().splitlines()
    except OSError:
        return
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if controllers and "cpu" not in controllers.split(","):
            continue
        top = root / _MOUNT / controllers if controllers else root / _MOUNT
        group = top / path.lstrip("/")
        yield group
        yield from (folder for folder in group.parents if folder.is_relative_to(top))


def sums_int8_exactly(root: Path = Path("/"), machine: str = platform.machine()) -> bool:
    """Whether products of unsigned with signed bytes are summed in 32 bits.

    On x86 without VNNI two products are summed in 16 bits, which overflow: the int8 demo's vectors then agree with the
    model's to a cosine of 0.986 only. True for other processors; False for an x86 that does not say what it has.
    """
    if machine.lower() not in {"x86_64", "amd64"}:
        return True
    try:
        return "vnni" in (root / "proc/cpuinfo").read_text()
    except OSError:
        return False


def _quotas(folder: Path) -> Iterator[float]:
    """The quota of one group, in version 2 of control groups or in version 1."""
    for read in (_read_cpu_max, _read_cfs):
        try:
            quota, period = read(folder)
        except (OSError, ValueError):  # no such file, or "max"
            continue
        if quota > 0 and period > 0:  # version 1 writes -1 for none
            yield quota / period


def _read_cpu_max(folder: Path) -> tuple[int, int]:
    quota, period = (folder / "cpu.max").read_text().split()
    return int(quota), int(period)


def _read_cfs(folder: Path) -> tuple[int, int]:
    quota, period = (int((folder / f"cpu.cfs_{name}_us").read_text()) for name in ("quota", "period"))
    return quota, period
